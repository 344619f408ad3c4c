package server

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
)

// A dry run and a server agree on random requests to the file of the routing tests: the same backend gets the same
// head, or the client gets the same answer.
func TestDryRun_agreesWithAServer(t *testing.T) {
	testutil.OnlyPlain(t)
	api, users := mirror(t, "api"), mirror(t, "users")
	cfg := parse(t, "global.worker_threads = 2\n"+fmt.Sprintf(routingFile, api, users))
	s := serve(t, cfg, Options{})
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 3))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	sent, answered := 0, 0
	for range 300 {
		method := pick("GET", "GET", "POST", "PURGE", "TRACE", "OPTIONS", "BREW")
		target := pick("/", "/v1/x", "/v1", "/find/it", "/find", "/moved/x", "/scheme", "/%66ind/a/../b",
			"/v1/..%2fx", "/é", "*") + pick("", "", "?old=1", "?old=%31&x", "?a=b")
		wire := method + " " + target + " HTTP/1.1\r\n" +
			pick("", "Host: h\r\n", "Host: q.example.com\r\n", "Host: a.example.com:80\r\n",
				"Host: c.a.example.com\r\n", "Host: b.a.example.com\r\n", "Host: old.example.com\r\n", "Host: h\r\n") +
			pick("", "", "X-Rule: 1\r\n", "X-Beta: 1\r\nUser-Agent: curl\r\n") +
			pick("", "X-Forwarded-For: 1.2.3.4\r\n", "X_Forwarded_For: 1\r\n") +
			pick("", "Max-Forwards: 0\r\n", "Max-Forwards: x\r\n") +
			pick("", "", "Content-Length: 0\r\n", "Via: "+strings.Repeat("1.1 edge, ", 9)+"x\r\n") + "\r\n"
		got, err := DryRun(cfg, &DryRequest{
			Listener: &cfg.Listeners[0], Wire: []byte(wire), Client: netip.MustParseAddrPort("127.0.0.1:1"),
		})
		if err != nil {
			t.Fatalf("seed %d: %q: %v", seed, wire, err)
		}
		conn := testutil.Dial(t, addr)
		conn.Send(wire)
		resp, body := conn.ReadResponse(method)
		conn.Close()
		if got.Sent == nil {
			answered++
			wantSameAnswer(t, wire, got, resp)
			continue
		}
		sent++
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(got.Sent)))
		if err != nil {
			t.Fatalf("seed %d: %q: %v", seed, got.Sent, err)
		}
		name := strings.Fields(body + " ?")[0]
		if to := cfg.Upstreams[got.Route.Dest.Upstream].Name; name != to && !(to == "own" && name == "api") {
			t.Errorf("seed %d: %q: sent to %s, dry run %s", seed, wire, name, to)
		}
		if want := mirrored(name, r); body != want {
			t.Errorf("seed %d: %q: the backend got %q, dry run says %q", seed, wire, body, want)
		}
	}
	if sent < 30 || answered < 30 {
		t.Errorf("seed %d: %d sent, %d answered", seed, sent, answered)
	}
}

func wantSameAnswer(t *testing.T, wire string, got *DryResult, resp *http.Response) {
	t.Helper()
	wantEqual(t, got.Status, resp.StatusCode, "dry run of %q", wire)
	for _, name := range []string{"Location", "Allow", "Proxy-Status"} {
		if want := resp.Header.Get(name); got.Fields[name] != want {
			t.Errorf("%q: %s %q, dry run %q", wire, name, want, got.Fields[name])
		}
	}
	if failed := resp.Header.Get("Proxy-Status") != ""; failed != (got.Reason != "") || failed != (got.Text != "") {
		t.Errorf("%q: failed %v, reason %q, %q", wire, failed, got.Reason, got.Text)
	}
}

// What a listener asks of a request comes before the routes, and what is said of them tells which one took it.
func TestDryRun_listenerAndRoutes(t *testing.T) {
	cfg := parse(t, `
routes = [
	{ pattern = "/a/*", listener = "inner", dest = "status:200" },
	{ pattern = "/b/*", dest = "localhost:1", buffer_request = "1m" },
]
[[listeners]]
name = "web"
listen = "127.0.0.1:0"
redirect_to_https = true
trusted_proxies = ["10.0.0.0/8"]
limits.body_size = "1k"
[[listeners]]
name = "inner"
listen = "127.0.0.1:0"
underscores = "refuse"
`)
	client := netip.MustParseAddrPort("10.1.2.3:1")
	for _, c := range []struct {
		listener     int
		fields, path string
		status       int
		reason, why  string
	}{
		{0, "", "/a/x", 308, "", ""},
		{0, "X-Forwarded-Proto: https\r\n", "/a/x", 404, "edge:route", "listener path"},
		{0, "X-Forwarded-Proto: https\r\nContent-Length: 2000\r\n", "/a", 413, "edge:request_body", ""},
		{1, "", "/a/x", 200, "", "takes path"},
		{1, "A_b: 1\r\n", "/a/x", 400, "client:underscore", ""},
		{1, "Content-Length: 2000\r\n", "/b/x", 0, "", "path takes"},
		{1, "Content-Length: 2000000\r\n", "/b/x", 413, "edge:request_body", "path takes"},
	} {
		wire := "POST " + c.path + " HTTP/1.1\r\nHost: h\r\n" + c.fields + "\r\n"
		got, err := DryRun(cfg, &DryRequest{Listener: &cfg.Listeners[c.listener], Wire: []byte(wire), Client: client})
		if err != nil {
			t.Fatalf("%q: %v", wire, err)
		}
		why := ""
		for _, e := range got.Routes {
			why += " " + e.Why.String()
			if (e.Why == route.Takes) != (e.Value == got.Route) {
				t.Errorf("%q: route %s ended by %s", wire, e.Value.Name, e.Why)
			}
		}
		if got.Status != c.status || got.Reason != c.reason || strings.TrimSpace(why) != c.why {
			t.Errorf("%q: %d %q%q, want %d %q %q", wire, got.Status, got.Reason, why, c.status, c.reason, c.why)
		}
		sent := strings.Contains(string(got.Sent), "\r\nX-Forwarded-For: 10.1.2.3\r\n")
		wantEqual(t, sent, c.status == 0, "%q: sent %q", wire, got.Sent)
	}
}

// The backend that a dry run names for the key of a request is the one that a server sends it to.
func TestDryRun_byKey(t *testing.T) {
	for _, method := range []string{
		"ketama\"\nhash_key = \"query:id", "ketama\"\nhash_key = \"{query.id}{path}",
		"maglev\"\nhash_key = \"path", "ip_hash",
	} {
		var backends []string
		for i := range 4 {
			backends = append(backends, fmt.Sprintf("{ address = %q, weight = %d }", mirror(t, fmt.Sprint(i)), 1+i%2))
		}
		backends = append(backends, `{ address = "127.0.0.1:1", backup = true }`)
		cfg := parse(t, "global.worker_threads = 2\n"+quiet+web+`
[upstreams.keyed]
backends = [`+strings.Join(backends, ", ")+`]
load_balancing = "`+method+`"
[[routes]]
pattern = "/*"
dest = "keyed"
`)
		addr := strings.TrimPrefix(urlOf(t, serve(t, cfg, Options{}), "web"), "http://")
		for i := range 20 {
			wire := fmt.Sprintf("GET /%d?id=%d HTTP/1.1\r\nHost: h\r\n\r\n", i, i*i)
			got, err := DryRun(cfg, &DryRequest{
				Listener: &cfg.Listeners[0], Wire: []byte(wire), Client: netip.MustParseAddrPort("127.0.0.1:1"),
			})
			testutil.Must(t, err)
			conn := testutil.Dial(t, addr)
			conn.Send(wire)
			_, body := conn.ReadResponse("GET")
			conn.Close()
			if want, _, _ := strings.Cut(body, " "); fmt.Sprint(got.Backend) != want {
				t.Errorf("%s: %q went to %s, dry run %d", method, wire, want, got.Backend)
			}
		}
	}
}

// A Diff says that connections to backends end where a reload makes another pool, and nowhere else: each key of the
// reference page is tried.
func TestDiff_touchesThePoolsThatEnd(t *testing.T) {
	t.Parallel()
	var page bytes.Buffer
	testutil.Must(t, config.Reference(&page))
	header := regexp.MustCompile("^## (?:`(\\[+)(routes|upstreams.NAME)\\])?")
	tried, ended := 0, 0
	section := ""
	for lines := bufio.NewScanner(&page); lines.Scan(); {
		if m := header.FindStringSubmatch(lines.Text()); m != nil {
			section = m[2]
		}
		row := referenceRow.FindStringSubmatch(lines.Text())
		if section == "" || row == nil {
			continue
		}
		example := referenceExample.FindStringSubmatch(row[2])
		if example == nil {
			continue
		}
		base := quiet + "routes = [{ name = \"r\", pattern = \"/*\", dest = \"u\" }]\n[upstreams.u]\n" +
			"backends = [{ address = \"127.0.0.1:1\" }]\n"
		if section == "routes" {
			base = quiet + "upstreams.u.backends = [{ address = \"127.0.0.1:1\" }]\n[[routes]]\nname = \"r\"\n" +
				"pattern = \"/*\"\ndest = \"u\"\n"
		}
		next, _ := config.Parse("test.toml", []byte(base+row[1]+" = "+example[1]+"\n"))
		if next == nil {
			continue // it needs more than itself
		}
		s, err := New(parse(t, base), Options{StateDir: t.TempDir()})
		testutil.Must(t, err)
		before := s.pools()
		d, err := s.Apply(next)
		after := s.pools()
		_ = s.Stop()
		if err != nil {
			continue // a file that it names does not exist
		}
		tried++
		ends := slices.ContainsFunc(before, func(u *upstream.Upstream) bool { return !slices.Contains(after, u) })
		told := slices.ContainsFunc(d.Entries, func(e changes.Entry) bool { return len(e.Touches) > 0 })
		if ends != told {
			t.Errorf("%s = %s in [%s]: the pool ends: %v, told %v: %+v", row[1], example[1], section, ends, told,
				d.Entries)
		}
		if ends {
			ended++
		}
	}
	if tried < 40 || ended < 10 {
		t.Errorf("%d keys were tried, by %d of them the pool ended", tried, ended)
	}
}

// pools returns the pools of connections.
func (s *Server) pools() []*upstream.Upstream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.upstreams.now.upstreams))
}

// A plan counts the connections that it touches, and changes nothing.
func TestPlan_countsConnections(t *testing.T) {
	addr, _ := origin(t, "a")
	const file = quiet + `[[listeners]]
name = "web"
listen = ["127.0.0.1:0"%s]
[[routes]]
name = "r"
pattern = "/*"
dest = "u"
[upstreams.u]
%s
backends = [{ address = %q }]
`
	second := testutil.FreeAddr(t)
	s := start(t, Options{}, file, `, "`+second+`"`, "", addr)
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	if status, _ := getBy(t, c, "http://"+second+"/"); status != 200 {
		t.Fatalf("status %d", status)
	}
	next := parse(t, "global.worker_threads = 3\n"+fmt.Sprintf(file, "", "pool.idle = 7", addr))
	var got strings.Builder
	d := s.Plan(next)
	testutil.Must(t, d.Render(&got))
	want := "~ global: worker_threads\n~ listener web: listen\n    - " + second +
		"\n    connections of clients (1): served to their end\n~ upstream u: pool.idle\n" +
		"    connections to backends: idle ones (1) are closed, busy ones (0) are drained\n" +
		"after a restart or an upgrade alone: worker_threads\nconnections of clients: none is closed\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	wantStatus(t, c, "http://"+second+"/", 200, "after the plan")
	if d := apply(t, s, file, `, "`+second+`"`, "", addr); !d.Empty() {
		t.Errorf("the plan has changed something: %+v", d)
	}
}
