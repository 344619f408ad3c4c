package proxy_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

func TestMain(m *testing.M) {
	// Backends that fail are part of these tests, and their lines only hide what failed.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// rig is a proxy with one listener on a port of its own.
type rig struct {
	engine *engine.Engine
	proxy  *proxy.Proxy
	url    string
}

func newRig(t *testing.T, routes func(e *engine.Engine) []proxy.Route, filters ...*proxy.Filter) *rig {
	t.Helper()
	return newRigWith(t, engine.Options{Reactors: 2}, routes, filters...)
}

func newRigWith(
	t *testing.T, o engine.Options, routes func(*engine.Engine) []proxy.Route, filters ...*proxy.Filter,
) *rig {
	t.Helper()
	e := newEngine(t, o)
	on := &proxy.Listener{Name: "test"}
	return serve(t, e, on, session.ServerOptions{H2C: true}, routes(e), filters...)
}

// serve starts e with a proxy of routes and filters, whose one listener is on.
func serve(
	t testing.TB, e *engine.Engine, on *proxy.Listener, o session.ServerOptions, routes []proxy.Route,
	filters ...*proxy.Filter,
) *rig {
	t.Helper()
	p := proxy.New(e, newSnapshot(t, routes, filters...))
	return &rig{e, p, "http://" + listen(t, e, session.NewServer(e, p.Service(on), o).Accept)}
}

func newEngine(t testing.TB, o engine.Options) *engine.Engine {
	t.Helper()
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newSnapshot(t testing.TB, routes []proxy.Route, filters ...*proxy.Filter) *proxy.Snapshot {
	t.Helper()
	s, err := proxy.NewSnapshot(routes, filters)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listen has e take connections at a free port until the test ends, starts it, and returns the address.
func listen(t testing.TB, e *engine.Engine, accept func(*engine.Conn) engine.Handler) string {
	t.Helper()
	addr := bind(t, e, accept)
	start(t, e)
	return addr
}

// bind has e take connections at a free port once it is started, and returns the address.
func bind(t testing.TB, e *engine.Engine, accept func(*engine.Conn) engine.Handler) string {
	t.Helper()
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	l, err := e.Listen(engine.ListenOptions{Addr: addr}, accept)
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// start starts e, and stops it when the test ends.
func start(t testing.TB, e *engine.Engine) {
	e.Start()
	t.Cleanup(func() { stop(t, e) })
}

// stop stops e, which must have given back all memory by then.
func stop(t testing.TB, e *engine.Engine) {
	e.Stop()
	for _, r := range e.Reactors() { // the reactors have ended: this goroutine owns them
		if n := r.Stats().BufBytes; n != 0 {
			t.Errorf("%d bytes are held by an engine that has stopped", n)
		}
	}
}

// stats adds up the proxy's counters.
func (r *rig) stats() (sum proxy.Stats) {
	for _, reactor := range r.engine.Reactors() {
		got := make(chan proxy.Stats, 1)
		reactor.Post(&engine.Task{Run: func(reactor *engine.Reactor) { got <- r.proxy.Stats(reactor) }})
		s := <-got
		sum.Exchanges += s.Exchanges
		sum.Own += s.Own
		sum.Cut += s.Cut
		sum.Language.Cut += s.Language.Cut
		sum.ClientGone += s.ClientGone
		sum.Retries += s.Retries
		sum.Failovers += s.Failovers
		sum.LateResumes += s.LateResumes
		sum.Panics += s.Panics
		sum.Shed += s.Shed
		sum.TooLarge += s.TooLarge
		sum.Refused += s.Refused
		sum.Active += s.Active
		sum.BodiesCut += s.BodiesCut
		sum.Subs += s.Subs
		sum.SubsDropped += s.SubsDropped
	}
	return sum
}

func to(e *engine.Engine, addresses ...string) proxy.Destination {
	o := upstream.Options{Name: "origin", Backends: backend.Of(addresses...)}
	return proxy.To(upstream.New(e, o), nil)
}

func TestProxy_passesRequestsAndAnswers(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.URL, " ", r.Host, " ", r.Header.Get("X-Forwarded-For")))
		if r.URL.Path == "/stream" {
			for range 3 {
				w.Write([]byte(strings.Repeat("x", 1000)))
				w.(http.Flusher).Flush()
			}
		}
		w.Write(body)
	}))
	defer origin.Close()
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{Name: "all", To: to(e, origin.Listener.Addr().String())}}
	})
	big := strings.Repeat("0123456789", 400_000)
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/", "", ""},
		{"POST", "/small", "hello", "hello"},
		{"POST", "/big", big, big},
		{"GET", "/stream", "", strings.Repeat("x", 3000)},
		{"HEAD", "/stream", "", ""},
	} {
		for range 3 {
			req, _ := http.NewRequest(c.method, r.url+c.path+"?q=1", strings.NewReader(c.body))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatalf("%s %s: %v", c.method, c.path, err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || string(got) != c.want {
				t.Fatalf("%s %s: %d, %d bytes, %v", c.method, c.path, resp.StatusCode, len(got), err)
			}
			want := c.method + " " + c.path + "?q=1 " + r.addr() + " 127.0.0.1"
			if resp.Header.Get("X-Seen") != want || resp.Header.Get("Via") != "1.1 edge" {
				t.Fatalf("%s %s: %v", c.method, c.path, resp.Header)
			}
		}
	}
}

func TestProxy_answersWhenNobodyElseDoes(t *testing.T) {
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{
			{Name: "dead", Path: "/dead", To: to(e, "127.0.0.1:1")},
			{Name: "teapot", Path: "/tea", To: proxy.Answer(418, "text/plain", "short and stout")},
		}
	})
	for _, c := range []struct {
		path   string
		status int
		proxy  string
	}{
		{"/", 404, "edge; error=destination_not_found"},
		{"/dead", 502, "edge; error=connection_refused"},
		{"/tea", 418, ""},
	} {
		resp, body := testutil.Get(t, http.DefaultClient, r.url+c.path)
		if resp.StatusCode != c.status || resp.Header.Get("Proxy-Status") != c.proxy {
			t.Errorf("%s: %d %v %s", c.path, resp.StatusCode, resp.Header, body)
		}
	}
}
