package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const limitsConf = `
upstream_defaults.load_balancing = "round_robin"
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/api", dest = "api" },
	{ pattern = "/impatient", dest = "impatient" },
	{ pattern = "/lineless", dest = "lineless" },
]
[upstreams.api]
backends = [{ address = %[1]q }, { address = %[2]q }]
breaker = { max_requests = 2 }
pool = { queue_timeout = "1m" }
[upstreams.impatient]
backends = [{ address = %[1]q }]
breaker = { max_requests = 1 }
pool = { queue_timeout = "10ms" }
[upstreams.lineless]
backends = [{ address = %[1]q }]
breaker = { max_requests = 1, max_pending = 0 }
`

const retryLimitConf = `
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [{ pattern = "/", dest = "api" }]
[upstreams.api]
backends = [{ address = %q }, { address = %q, backup = true }]
breaker = { max_retries = 1 }
retry = { on = [503], budget = "off", attempts = 1 }
`

// holding is a backend that answers when it is told to, and notes how many requests it had at most.
type holding struct {
	address   string
	now, most atomic.Int32
	asked     atomic.Int32
	last      atomic.Value // the path that was asked for last
	goOn      chan struct{}
}

func newHolding(t *testing.T) *holding {
	h := &holding{goOn: make(chan struct{})}
	h.address, _ = countingOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		h.last.Store(r.URL.Path)
		h.asked.Add(1)
		n := h.now.Add(1)
		for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
		}
		select {
		case <-h.goOn:
		case <-r.Context().Done():
		}
		h.now.Add(-1)
		_, _ = io.WriteString(w, "well")
	})
	return h
}

// Requests above the limit of their backends wait, and are served in the end; where they may not wait they are answered
// 503 with the name of the limit. A reload changes the limits and takes no request away.
func TestServer_limitsRequests(t *testing.T) {
	first, second := newHolding(t), newHolding(t)
	s := start(t, Options{}, quiet+limitsConf, first.address, second.address)
	url, c := urlOf(t, s, "web"), http.DefaultClient
	var all sync.WaitGroup
	var well atomic.Int32
	ask := func(path string) {
		all.Go(func() {
			if resp, body := testutil.Get(t, c, url+path); resp.StatusCode == 200 && body == "well" {
				well.Add(1)
			}
		})
	}
	for range 10 {
		ask("/api")
	}
	ask("/impatient")
	ask("/lineless")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return first.now.Load() == 4 && second.now.Load() == 2 && counter(s, "edge_breaker_waiting") == 6
	})
	wantCounter(t, s, 1, "edge_breaker_open", "api")
	for path, want := range map[string]string{"/impatient": "max_requests 1", "/lineless": "max_pending 0"} {
		resp, _ := testutil.Get(t, c, url+path)
		status, after := resp.Header.Get("Proxy-Status"), resp.Header.Get("Retry-After")
		if resp.StatusCode != 503 || status != `edge; error=connection_limit_reached; details="`+want+`"` ||
			!strings.Contains("123", after) || after == "" {
			t.Errorf("%s: %d %q, Retry-After %q", path, resp.StatusCode, status, after)
		}
	}
	for _, of := range []struct {
		name, label string
		want        float64
	}{
		{"edge_shed_total", "max_requests", 1}, {"edge_shed_total", "max_pending", 1},
		{"edge_breaker_refused_total", "queue_timeout", 1}, {"edge_breaker_refused_total", "max_pending", 1},
		{"edge_breaker_queued_total", "api", 6},
	} {
		wantCounter(t, s, of.want, of.name, of.label)
	}
	change := func(to string) {
		apply(t, s, quiet+strings.Replace(limitsConf, "max_requests = 2", to, 1), first.address, second.address)
	}
	change("max_requests = 3")
	testutil.Eventually(t, testutil.Patience, func() bool { return first.now.Load() == 5 && second.now.Load() == 3 })
	if first.most.Load() != 5 || second.most.Load() != 3 {
		t.Errorf("at most %d and %d at a time", first.most.Load(), second.most.Load())
	}
	change("max_retries = 2") // none of requests: those that wait go on
	testutil.Eventually(t, testutil.Patience, func() bool { return first.now.Load()+second.now.Load() == 12 })
	close(first.goOn)
	close(second.goOn)
	all.Wait()
	if well.Load() != 12 {
		t.Errorf("%d were served", well.Load())
	}
	if n := counter(s, "edge_breaker_queued_total", "api"); n < 6 {
		t.Errorf("after the reload %v have waited", n)
	}
}

// Retries above their limit are not made: the client gets the failure.
func TestServer_limitsRetries(t *testing.T) {
	second := newHolding(t)
	bad, _ := countingOrigin(t, sorry)
	s := start(t, Options{}, quiet+retryLimitConf, bad, second.address)
	url, c := urlOf(t, s, "web"), http.DefaultClient
	held := make(chan int, 1)
	go func() {
		resp, _ := testutil.Get(t, c, url+"/")
		held <- resp.StatusCode
	}()
	testutil.Eventually(t, testutil.Patience, func() bool { return second.now.Load() == 1 })
	if resp, body := testutil.Get(t, c, url+"/"); resp.StatusCode != 503 || body != "sorry" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	wantCounter(t, s, 1, "edge_breaker_retries_denied_total")
	close(second.goOn)
	if status := <-held; status != 200 {
		t.Errorf("the retry was answered %d", status)
	}
	for range 3 { // a retry that has ended makes room for another
		if resp, _ := testutil.Get(t, c, url+"/"); resp.StatusCode != 200 {
			t.Errorf("%d", resp.StatusCode)
		}
	}
}

// adaptiveConf has one event loop: several may go beyond the limit by what they have not told each other yet.
const adaptiveConf = `
global.worker_threads = 1
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/usual", dest = "api" },
	{ pattern = "/first", dest = "api", priority = 0 },
	{ pattern = "/last", dest = "api", priority = 3 },
	{ pattern = "/impatient", dest = "impatient" },
]
upstreams.api = { backends = [{ address = %[1]q }], breaker = { adaptive = true }, pool = { queue_timeout = "1m" } }
[upstreams.impatient]
backends = [{ address = %[2]q }]
breaker = { adaptive = true }
pool = { queue_timeout = "10ms" }
`

// Before anything is known the limit is 20. The classes of requests have their parts of it: 14 of the last, 19 of the
// usual ones, all of the first, which also pass those that wait.
func TestServer_shedsByPriority(t *testing.T) {
	h, other := newHolding(t), newHolding(t)
	s := serve(t, parse(t, fmt.Sprintf(quiet+adaptiveConf, h.address, other.address)), Options{})
	url := urlOf(t, s, "web")
	var all sync.WaitGroup
	ask := func(path string, n int) {
		for range n {
			all.Go(func() {
				if resp, _ := testutil.Get(t, http.DefaultClient, url+path); resp.StatusCode != 200 {
					t.Errorf("%s: %d", path, resp.StatusCode)
				}
			})
		}
	}
	settled := func(now int32, waiting float64) {
		t.Helper()
		testutil.Eventually(t, testutil.Patience, func() bool {
			return h.now.Load() == now && counter(s, "edge_breaker_waiting", "api") == waiting
		})
	}
	ask("/last", 16)
	settled(14, 2)
	ask("/usual", 8)
	settled(19, 5)
	ask("/first", 2)
	settled(20, 6)
	if limit, now := counter(s, "edge_breaker_limit", "api"), counter(s, "edge_breaker_requests", "api"); limit != 20 ||
		now != 20 {
		t.Errorf("%v of %v requests", now, limit)
	}
	h.goOn <- struct{}{}
	testutil.Eventually(t, testutil.Patience, func() bool { return h.last.Load() == "/first" && h.asked.Load() == 21 })
	close(h.goOn)
	all.Wait()

	var refused atomic.Int32
	for range 24 {
		all.Go(func() {
			resp, _ := testutil.Get(t, http.DefaultClient, url+"/impatient")
			if status := resp.Header.Get("Proxy-Status"); resp.StatusCode == 503 {
				if want := `edge; error=connection_limit_reached; details="concurrency 19/20"`; status != want {
					t.Errorf("%q, want %q", status, want)
				}
				refused.Add(1)
			}
		})
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return refused.Load() == 5 })
	close(other.goOn)
	all.Wait()
	if n := counter(s, "edge_shed_total", "concurrency"); n != 5 || refused.Load() != 5 {
		t.Errorf("%v were shed, and %d refused", n, refused.Load())
	}
}

// originOf returns a client, and a server that answers by h. Both speak a version of HTTP without TLS.
func originOf(t *testing.T, version string, h http.HandlerFunc) (c *http.Client, addr string) {
	t.Helper()
	p := new(http.Protocols)
	p.SetHTTP1(version == "h1")
	p.SetUnencryptedHTTP2(version == "h2")
	l := testutil.Listen(t)
	o := &http.Server{Handler: h, Protocols: p, MaxHeaderBytes: 4 << 20}
	go o.Serve(l) //nolint:errcheck // ends with the listener
	t.Cleanup(func() { o.Close() })
	transport := &http.Transport{Protocols: p, MaxResponseHeaderBytes: 4 << 20, DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, l.Addr().String()
}

// The keys of a listener say how long a request line and a field may be, up to 1 MiB, and the default refuses longer
// ones.
func TestLimits_requestLineAndField(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"h1", "h2"} {
		for _, c := range []struct {
			name, limits  string
			target, field int
			want          int
		}{
			{"default", "", 7000, 15000, 200},
			{"default, long target", "", 20000, 0, 414},
			{"default, long field", "", 0, 20000, 431},
			{"long target", `target_size = "64k", header_size = "128k"`, 60000, 0, 200},
			{"longer target", `target_size = "64k", header_size = "128k"`, 70000, 0, 414},
			{"long field", `field_size = "64k", header_size = "128k"`, 0, 60000, 200},
			{"longer field", `field_size = "64k", header_size = "128k"`, 0, 70000, 431},
			{"head too large", `target_size = "100k", field_size = "100k", header_size = "128k"`, 70000, 70000, 431},
			{"1 MiB of target", `target_size = "1m", header_size = "1m"`, 1<<20 - 1000, 0, 200},
			{"1 MiB of field", `field_size = "1m", header_size = "1m"`, 0, 1<<20 - 1000, 200},
			{"small", `target_size = "1k", field_size = "1k"`, 1100, 0, 414},
		} {
			t.Run(version+" "+c.name, func(t *testing.T) {
				client, addr := originOf(t, version, func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprint(w, len(r.URL.RawQuery), " ", len(r.Header.Get("X-Long"))) //nolint:errcheck // the client
				})
				s := start(t, Options{}, quiet+`
listeners = [{ name = "web", listen = "127.0.0.1:0", protocols = ["h1", "h2"], limits = { %s } }]
upstreams.u = { backends = [{ address = %q }], protocol = %q }
routes = [{ pattern = "/*", dest = "u" }]
`, c.limits, addr, version)
				r, err := http.NewRequest("GET", urlOf(t, s, "web")+"/?"+strings.Repeat("q", c.target), nil)
				testutil.Must(t, err)
				r.Header.Set("X-Long", strings.Repeat("x", c.field))
				resp, err := client.Do(r)
				if err != nil && c.want == 431 && strings.HasSuffix(err.Error(), "peer's advertised limit") {
					return // the client of HTTP/2 has read what edge takes, and does not send more
				} else if err != nil {
					t.Fatal(err)
				}
				body := bodyOf(t, resp)
				want := fmt.Sprint(c.target, " ", c.field)
				if resp.StatusCode != c.want || c.want == 200 && body != want {
					t.Errorf("%s %.200q, want %d %q", resp.Status, body, c.want, want)
				}
			})
		}
	}
}

// The keys of an upstream bound the heads of answers to requests and to checks. A larger head is answered 502.
func TestLimits_headsOfAnswers(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"h1", "h2"} {
		for _, c := range []struct {
			name, limits string
			count, size  int // of the fields
			want         int
		}{
			{"default", "", 80, 100, 200},
			{"default, many fields", "", 150, 10, 502},
			{"default, large head", "", 12, 4000, 502},
			{"default, large field", "", 1, 20000, 502},
			{"many fields", `header_count = 500`, 150, 10, 200},
			{"too many fields", `header_count = 120`, 150, 10, 502},
			{"large head", `header_size = "128k"`, 12, 4000, 200},
			{"too large head", `header_size = "40k"`, 12, 4000, 502},
			{"large field", `header_size = "128k", field_size = "32k"`, 1, 20000, 200},
			{"too large field", `header_size = "128k", field_size = "17k"`, 1, 20000, 502},
			{"1 MiB", `header_size = "1m", field_size = "1m"`, 1, 1<<20 - 2000, 200},
		} {
			t.Run(version+" "+c.name, func(t *testing.T) {
				t.Parallel() // each waits for a check; one that fails first leaves the backend to requests, by panic
				client, addr := originOf(t, version, func(w http.ResponseWriter, r *http.Request) {
					for i := range c.count {
						w.Header().Add("Set-Cookie", fmt.Sprint("c", i, "=", strings.Repeat("y", c.size)))
					}
					fmt.Fprint(w, "ok") //nolint:errcheck // the client says
				})
				s := start(t, Options{}, quiet+`
listeners = [{ name = "web", listen = "127.0.0.1:0", protocols = ["h1", "h2"] }]
routes = [{ pattern = "/*", dest = "u" }]
[upstreams.u]
backends = [{ address = %q }]
protocol = %q
panic = "100%%"
limits = { %s }
health_check = { interval = "1s", timeout = "1s", fall = 100 }
`, addr, version, c.limits)
				resp, body := testutil.Get(t, client, urlOf(t, s, "web"))
				if cookies := len(resp.Header.Values("Set-Cookie")); resp.StatusCode != c.want ||
					c.want == 200 && (body != "ok" || cookies != c.count) {
					t.Errorf("%s %.200q with %d cookies, want %d with %d", resp.Status, body, cookies, c.want, c.count)
				}
				testutil.Eventually(t, testutil.Patience, func() bool {
					return counter(s, "edge_check_results_total", "u", "passed") > 0 ||
						c.want == 502 && counter(s, "edge_check_results_total", "u", "protocol") > 0
				}, "checks do not end as requests do")
			})
		}
	}
}

// curled brings what curl gets, meanwhile.
func curled(t *testing.T, url string) chan string {
	got := make(chan string, 1)
	go func() {
		out, err := exec.Command("curl", "--noproxy", "*", "-si", url).CombinedOutput()
		if err != nil {
			t.Error(err)
		}
		got <- string(out)
	}()
	return got
}

// wantLimited fails unless answer says that there was no connection to a backend.
func wantLimited(t *testing.T, answer string) {
	t.Helper()
	for _, part := range []string{" 503 ", "Proxy-Status: edge; error=connection_limit_reached", "Retry-After: 1"} {
		wantPart(t, answer, part)
	}
}

// The limits of pool and retry hold, are counted, and are told to a client of somebody else. Where the queue is full,
// nobody's time is up.
func TestServer_limitsOfTheConnectionsToBackends(t *testing.T) {
	testutil.CheckLeaks(t)
	asked, open := make(chan bool, 10), make(chan bool)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-open
		fmt.Fprint(w, "ok")
	}))
	testutil.CloseServer(t, h)
	s := start(t, Options{}, quiet+web+`
routes = [
	{ pattern = "/*", dest = "api" },
	{ pattern = "/hasty", dest = "hasty" },
]
[upstreams.api]
backends = [{ address = %[1]q }]
pool = { max_per_backend = 1, queue = 1, queue_timeout = "10m", max_requests = 2, max_lifetime = "1h" }
retry = { buffer = "1k" }
[upstreams.hasty]
backends = [{ address = %[1]q }]
pool = { max_per_backend = 1, queue = 1, queue_timeout = "100ms" }
`, h.Listener.Addr())
	curl := func(path string) chan string { return curled(t, urlOf(t, s, "web")+path) }
	first := curl("/")
	<-asked
	second := curl("/")
	waitCounter(t, s, 1, "edge_upstream_waiting", "api")
	wantLimited(t, <-curl("/")) // the queue is full
	hasty := curl("/hasty")
	<-asked
	wantLimited(t, <-curl("/hasty")) // its time is up
	close(open)
	answers := []string{<-first, <-second, <-hasty}
	waitCounter(t, s, 0, "edge_upstream_connections", "api")
	for _, answer := range append(answers, <-curl("/")) {
		wantPrefix(t, answer, "HTTP/1.1 200 ")
	}
	for name, want := range map[string]float64{
		"edge_upstream_queued_total": 1, "edge_upstream_aged_total": 1, "edge_upstream_dials_total": 2,
	} {
		wantCounter(t, s, want, name, "api")
	}
	for of, limit := range map[string]string{"api": "queue", "hasty": "queue_timeout"} {
		wantCounter(t, s, 1, "edge_upstream_queue_refused_total", of, limit)
	}
}

// A reload that adds a backend or changes a weight keeps the connections to those that stay; one that takes a backend
// away closes those to that one alone.
func TestApply_keepsConnectionsToBackendsThatStay(t *testing.T) {
	one, toOne := origin(t, "one")
	two, toTwo := origin(t, "two")
	o := Options{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	_, port, _ := net.SplitHostPort(two)
	two = "two.test:" + port // is up with the reload that adds it
	file := func(backends string) string {
		return quiet + "global.worker_threads = 1\nhttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"upstreams.api = { load_balancing = \"round_robin\", backends = [" + backends + "] }\n" +
			"routes = [{ pattern = \"/*\", dest = \"api\" }]\n"
	}
	s := serve(t, parse(t, file(fmt.Sprintf("{ address = %q }", one))), o)
	get(t, s, "web", "/")
	for _, step := range []struct{ backends, want string }{
		{fmt.Sprintf("{ address = %q }, { address = %q }", one, two), "one one two two"},
		{fmt.Sprintf("{ address = %q, weight = 3 }, { address = %q }", one, two), "one one one two"},
		{fmt.Sprintf("{ address = %q, weight = 3 }", one), "one one one one"},
	} {
		mustApply(t, s, parse(t, file(step.backends)))
		var got []string
		for range 4 {
			_, body := get(t, s, "web", "/")
			name, _, _ := strings.Cut(body, " ")
			got = append(got, name)
		}
		if slices.Sort(got); strings.Join(got, " ") != step.want {
			t.Errorf("answered by %v, want %s", got, step.want)
		}
		if toOne.Load() != 1 || toTwo.Load() > 1 {
			t.Errorf("%d and %d connections, want one to each", toOne.Load(), toTwo.Load())
		}
	}
	waitCounter(t, s, 1, "edge_upstream_connections", "api", "idle")
}

// idleClients are ways to hold a connection without asking for anything.
var idleClients = []struct {
	name     string
	listener string
	idle     func(t *testing.T, c net.Conn)
	farewell string // what the connection ends with
	secured  bool
	from     net.IP // nil: any
}{
	{name: "that said nothing", listener: `protocols = ["h1"]`, idle: func(*testing.T, net.Conn) {}},
	{name: "that may say either version", listener: `protocols = ["h1", "h2"]`, idle: func(*testing.T, net.Conn) {}},
	{name: "that said nothing to TLS", secured: true, idle: func(*testing.T, net.Conn) {}},
	{name: "that sent no header", listener: `proxy_protocol = { from = ["127.0.0.2"] }`,
		from: net.IPv4(127, 0, 0, 2), idle: func(*testing.T, net.Conn) {}},
	{name: "that were answered", idle: func(t *testing.T, c net.Conn) {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		testutil.Must(t, err)
		resp.Body.Close()
	}},
	{name: "of HTTP/2", listener: `protocols = ["h1", "h2"]`, farewell: "\x00\x00\x00\x00\x00\x00\x00\x00",
		idle: func(t *testing.T, c net.Conn) {
			fmt.Fprint(c, http2.ClientPreface)
			testutil.Must(t, http2.NewFramer(c, c).WriteSettings())
		}},
}

// Clients that hold all places and do nothing do not lock others out.
func TestLimits_idleConnectionsYieldToNewcomers(t *testing.T) {
	t.Parallel()
	for _, how := range idleClients {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			listener := "[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" + how.listener
			if how.secured {
				listener = secured(t, testutil.NewAuthority(t), t.TempDir())
			}
			s := start(t, Options{}, "%stls.handshake_timeout = \"10m\"\n%s\n"+
				"limits = { connections = 4, header_timeout = \"10m\" }\n%s", quiet, listener, all200)
			addr := s.Addresses()[0].Addr.String()
			var idle []net.Conn
			for range 4 {
				c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: how.from}}).Dial("tcp", addr)
				testutil.Must(t, err)
				defer c.Close()
				how.idle(t, c)
				idle = append(idle, c)
			}
			testutil.Eventually(t, testutil.Patience, func() bool { return s.Conns() == len(idle) })
			begun := time.Now()
			for range 6 {
				ask(t, addr, how.secured)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("newcomers were served after %v", took)
			}
			if n := counter(s, "edge_connections_yielded_total"); n == 0 {
				t.Error("no connection has yielded")
			}
			var ends []string
			for _, c := range idle {
				c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) //nolint:errcheck // the read says so
				if rest, err := io.ReadAll(c); err == nil {
					ends = append(ends, string(rest))
				}
			}
			if len(ends) == 0 || !strings.HasSuffix(ends[0], how.farewell) {
				t.Errorf("the ends of idle connections: %q", ends)
			}
		})
	}
}

// ask asks on a connection of its own, which it closes.
func ask(t *testing.T, addr string, secured bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	testutil.Must(t, err)
	if secured {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "example.org"})
	}
	if resp, err := askOnce(conn, ""); err != nil || resp.StatusCode != 200 {
		t.Fatalf("a newcomer: %v, %v", resp, err)
	}
}
