package proxybench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	uploadBytes = 1 << 20
	smallBytes  = 128 // of the answer at /small
	largePath   = "/cached/1m"
)

// Names of peers.
const (
	floorName   = "floor"
	edgeName    = "edge"
	nginxName   = "nginx"
	haproxyName = "haproxy"
	h2oName     = "h2o"
	caddyName   = "caddy"
	envoyName   = "envoy"
	beforeName  = "before"
	quicGoName  = "quic-go"
	gtlsName    = "gtlsserver"
)

// What peers do beside proxying, in the scenarios that name them.
const (
	withCache = "+cache"
	withFiles = "+files"
	withGzip  = "+gzip"
	withHosts = "+hosts"
	withHTTP3 = "+h3"

	ownName = edgeName + "+own" // answers by itself
)

var features = []string{withCache, withFiles, withGzip, withHosts, withHTTP3}

// each are names of peers that do one of features.
func each(with string, names ...string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name + with
	}
	return out
}

// Proto is what a client speaks with the proxy. The origin speaks HTTP/1.1 without TLS, always.
type Proto uint8

// The protocols of clients.
const (
	H1    Proto = iota // HTTP/1.1
	H2C                // HTTP/2 by prior knowledge
	H1TLS              // HTTP/1.1 over TLS 1.3
	H2TLS              // HTTP/2 over TLS 1.3
	H3                 // HTTP/3
)

func (p Proto) secure() bool { return p >= H1TLS }
func (p Proto) h2() bool     { return p == H2C || p == H2TLS }

// Scenario is one kind of load. Immutable.
type Scenario struct {
	Name        string
	What        string
	Path        string // "": /small
	Proto       Proto
	Streams     int    // of HTTP/2 and HTTP/3: requests in progress on a connection
	Group       string // of TLS: full handshakes with this key exchange, by our own generator; "": as the client likes
	Connections int
	Pipeline    int      // requests sent at once; 0 is 1
	Body        int      // bytes of a request body; > 0 makes it a POST
	Fields      []string // header fields beside Host
	Reconnect   bool     // a connection per request
	Ours        bool     // edge-bench itself makes the load: it tells the 99.9th percentile
	Rate        int      // of an open loop: requests a second, each at its own time; Ours

	// Scenarios that not all peers run have these.
	Peers    []string // names of the peers that run it, the floor aside; nil: all peers that keep no answers
	Beside   string   // name of a peer: a column has the ratios to its cost
	Counted  bool     // the load counts the answers: some peers do not ask the origin
	Hits     bool     // Counted, and no request reaches the origin
	Zipped   bool     // the answers are compressed
	Hosts    int      // each request is for the next of so many hosts
	Numbered bool     // each request has another query, so that no cache has its answer
}

// Scenarios are all there are, in the order they run.
var Scenarios = []Scenario{
	{Name: "small", What: "64 connections, 128-byte answers", Connections: 64},
	{Name: "small1", What: "1 connection, 128-byte answers", Connections: 1},
	{Name: "small1000", What: "1000 connections, 128-byte answers", Connections: 1000},
	crowdScenario("small4000", 4000, nginxName, haproxyName),
	crowdScenario("small10k", 9900, nginxName), // a relay has two descriptors for each, and 20,000 are a common limit
	{Name: "open1000", What: "1000 connections, 20,000 requests a second, each at its own time", Connections: 1000,
		Peers: []string{beforeName, edgeName, nginxName, haproxyName}, Ours: true, Rate: 20_000},
	{Name: "browser", What: "64 connections, a browser's request head, 128-byte answers", Connections: 64,
		Fields: browserFields},
	{Name: "16k", What: "64 connections, 16 KiB answers", Path: "/16k", Connections: 64},
	{Name: "1m", What: "16 connections, 1 MiB answers", Path: "/1m", Connections: 16},
	{Name: "upload", What: "16 connections, 1 MiB request bodies", Path: "/upload", Connections: 16, Body: uploadBytes},
	{Name: "close", What: "64 clients, a connection per request, 128-byte answers", Connections: 64, Reconnect: true},
	{Name: "chunked", What: "64 connections, chunked answers, 4 chunks of 4 KiB", Path: "/chunked", Connections: 64},
	{Name: "pipeline16", What: "64 connections, 16 requests pipelined, 128-byte answers", Connections: 64,
		Pipeline: 16},
	{Name: "h2c", What: "HTTP/2 without TLS, 16 connections with 16 streams each, 128-byte answers", Proto: H2C,
		Connections: 16, Streams: 16},
	{Name: "tls", What: "TLS, 64 connections, 128-byte answers", Proto: H1TLS, Connections: 64},
	{Name: "tls16k", What: "TLS, 64 connections, 16 KiB answers", Path: "/16k", Proto: H1TLS, Connections: 64},
	{Name: "tlsclose", What: "TLS, 64 clients, a resumed connection per request", Proto: H1TLS, Connections: 64,
		Reconnect: true},
	{Name: "tlsfull", What: "TLS, 16 clients, a full handshake per request, X25519", Proto: H1TLS, Connections: 16,
		Reconnect: true, Group: "X25519"},
	{Name: "tlsfullpq", What: "TLS, 16 clients, a full handshake per request, X25519MLKEM768", Proto: H1TLS,
		Connections: 16, Reconnect: true, Group: "X25519MLKEM768"},
	{Name: "h2", What: "HTTP/2 over TLS, 16 connections with 16 streams each, 128-byte answers", Proto: H2TLS,
		Connections: 16, Streams: 16},
	{Name: "h2x64", What: "HTTP/2 over TLS, 64 connections with 1 stream each, 128-byte answers", Proto: H2TLS,
		Connections: 64, Streams: 1},
	hitScenario("1k", ownName, append(each(withCache, beforeName, edgeName, nginxName, haproxyName), ownName)),
	hitScenario("16k", "", each(withCache, beforeName, edgeName, nginxName, haproxyName)),
	hitScenario("64k", "", each(withCache, beforeName, edgeName, nginxName, haproxyName)),
	hitScenario("256k", "", each(withCache, beforeName, edgeName, nginxName)),
	hitScenario("1m", "", each(withCache, beforeName, edgeName, nginxName)),
	missScenario("1k"),
	missScenario("16k"),
	missScenario("1m"),
	http3Scenario("h3", "16 connections with 16 streams each, 128-byte answers",
		Scenario{Connections: 16, Streams: 16}),
	http3Scenario("h3x64", "64 connections with 1 stream each, 128-byte answers",
		Scenario{Connections: 64, Streams: 1}),
	http3Scenario("h3-1m", "16 connections, 1 MiB answers", Scenario{Connections: 16, Streams: 1, Path: largePath}),
	http3Scenario("h3full", "16 clients, a full handshake per request, X25519",
		Scenario{Connections: 16, Streams: 1, Reconnect: true, Group: "X25519"}),
	fileScenario("1k", 64),
	fileScenario("16k", 64),
	fileScenario("1m", 8),
	{Name: "gzip", What: "64 connections, answers of 16 KiB of JSON, compressed by gzip", Path: "/json",
		Connections: 64, Fields: []string{"Accept-Encoding: gzip"}, Ours: true, Zipped: true,
		Peers: each(withGzip, beforeName, edgeName, nginxName, haproxyName, caddyName, envoyName)},
	{Name: "hosts", What: "64 connections, each request for another of 10,000 hosts, a route each", Connections: 64,
		Ours: true, Hosts: hostCount, Beside: edgeName,
		Peers: append(each(withHosts, beforeName, edgeName, nginxName, haproxyName, caddyName, envoyName), edgeName)},
}

func crowdScenario(name string, connections int, others ...string) Scenario {
	return Scenario{Name: name, What: fmt.Sprintf("%d connections, 128-byte answers", connections),
		Connections: connections, Peers: append([]string{beforeName, edgeName}, others...), Ours: true}
}

func fileScenario(size string, connections int) Scenario {
	return Scenario{Name: "file-" + size, What: fmt.Sprintf("%d connections, a file of %s", connections, size),
		Path: "/cached/" + size, Connections: connections, Beside: nginxName + withFiles, Counted: true, Hits: true,
		Peers: each(withFiles, beforeName, edgeName, nginxName, h2oName, caddyName)}
}

// http3Scenario is a load over HTTP/3. The peer "edge" is asked over TCP instead: its column is what HTTP/3 costs
// beside it. Peers that are no proxies answer by themselves.
func http3Scenario(name, what string, s Scenario) Scenario {
	s.Name, s.What, s.Proto, s.Counted, s.Beside = name, "HTTP/3, "+what, H3, true, edgeName
	s.Peers = append(each(withHTTP3, beforeName, edgeName, nginxName, haproxyName, caddyName, envoyName),
		edgeName, quicGoName, gtlsName)
	return s
}

// overTCP is s for a peer without HTTP/3.
func (s Scenario) overTCP() Scenario {
	if s.Proto = H2TLS; s.Reconnect { // no generator makes a connection of HTTP/2 for each request
		s.Proto = H1TLS
	}
	return s
}

func hitScenario(size, beside string, peers []string) Scenario {
	return Scenario{Name: "cache-" + size, What: "64 connections, answers of " + size + " from the cache",
		Path: "/cached/" + size, Connections: 64, Peers: peers, Beside: beside, Counted: true, Hits: true}
}

func missScenario(size string) Scenario {
	return Scenario{Name: "cache-miss-" + size, What: "64 connections, answers of " + size + " that are stored",
		Path: "/cached/" + size, Connections: 64, Numbered: true, Beside: edgeName,
		Peers: append(each(withCache, beforeName, edgeName, nginxName), edgeName)}
}

// reference is what the floor, which knows neither TLS nor HTTP/2 nor a cache, is asked instead of s: how fast the
// machine is now.
func (s Scenario) reference() Scenario {
	if s.Proto == H1 && !s.Hits {
		return s
	}
	return Scenarios[0]
}

// browserFields make, with Host, a head of 12 fields and about 650 bytes.
var browserFields = []string{
	"Connection: keep-alive",
	"Cache-Control: max-age=0",
	`sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"`,
	"sec-ch-ua-mobile: ?0",
	"Upgrade-Insecure-Requests: 1",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
	"Sec-Fetch-Site: same-origin",
	"Referer: http://www.example.com/articles/2024/",
	"Accept-Encoding: gzip, deflate, br",
	"Cookie: sid=3f9a1c77d2b84e0f9b1d; theme=dark; _ga=GA1.2.1023456789.1700000000",
}

// FindScenarios returns the named ones in the order they run; no name means all.
func FindScenarios(names []string) ([]Scenario, error) {
	return pick(Scenarios, names, "scenario", func(s Scenario) string { return s.Name })
}

// fields are the header fields beside Host.
func (s Scenario) fields() []string {
	if s.Reconnect {
		return append([]string{"Connection: close"}, s.Fields...)
	}
	return s.Fields
}

// script is the Lua that wrk needs for s; empty when its flags do.
func (s Scenario) script() string {
	var b strings.Builder
	if s.Body > 0 {
		fmt.Fprintf(&b, "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", %d)\n", s.Body)
	}
	if s.Pipeline > 1 {
		fmt.Fprintf(&b, `init = function(args)
  local one = {}
  for i = 1, %d do one[i] = wrk.format() end
  batch = table.concat(one)
end
request = function() return batch end
`, s.Pipeline)
	}
	return b.String()
}

// settle is how long connections take to be made, generously.
func (s Scenario) settle() time.Duration {
	return 200*time.Millisecond + time.Duration(s.Connections)*300*time.Microsecond
}

// pick returns the members of all that names lists, in the order of all.
func pick[T any](all []T, names []string, kind string, nameOf func(T) string) ([]T, error) {
	if len(names) == 0 {
		return all, nil
	}
	var picked []T
	var known []string
	for _, m := range all {
		known = append(known, nameOf(m))
		if slices.Contains(names, nameOf(m)) {
			picked = append(picked, m)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("unknown %s %q; there are %s", kind, n, strings.Join(known, ", "))
		}
	}
	return picked, nil
}
