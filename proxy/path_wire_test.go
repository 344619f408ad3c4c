package proxy_test

import (
	"bufio"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// pathRig has a guarded and a public place, whose origin says which target it got.
func pathRig(t *testing.T, on proxy.Listener, guard proxy.Route) string {
	t.Helper()
	testutil.CheckLeaks(t)
	origin := testutil.Listen(t)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Target", r.RequestURI)
	})}
	go srv.Serve(origin) //nolint:errcheck // until it is closed
	t.Cleanup(func() { srv.Close() })
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
	to := proxy.To(upstream.New(e, upstream.Options{Backends: []upstream.Backend{{Address: origin.Addr().String()}}}))
	guard.To = to
	guard.Path = "/admin"
	guard.Filters = []*proxy.Filter{proxy.SetFields(nil, map[string]string{"X-Route": "guarded"})}
	open := proxy.Route{Name: "open", To: to, Filters: []*proxy.Filter{
		proxy.SetFields(nil, map[string]string{"X-Route": "open"}),
	}}
	snapshot, err := proxy.NewSnapshot([]proxy.Route{guard, open}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := proxy.New(e, snapshot)
	s := session.NewServer(e, p.Service(&on), session.ServerOptions{})
	l, err := e.Listen(engine.ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}}, s.Accept)
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	t.Cleanup(func() { stop(t, e) })
	return l.Addr().String()
}

// askPath returns the route that took a target, the target that the origin saw, and the status.
func askPath(t *testing.T, addr, target string) (route, seen string, status int) {
	t.Helper()
	w := testutil.Dial(t, addr)
	w.Send("GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(w.Conn()), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	w.Close()
	return resp.Header.Get("X-Route"), resp.Header.Get("X-Target"), resp.StatusCode
}

// RFC 3986 §6.2.2: no spelling of a path gets around its route.
func TestPath_routesSeeWhatOriginsSee(t *testing.T) {
	addr := pathRig(t, proxy.Listener{}, proxy.Route{Name: "guarded"})
	for target, want := range map[string]string{
		"/admin": "guarded", "/admin/x?q=/../": "guarded", "/public/../admin": "guarded", "/%61dmin": "guarded",
		"/public/%2e%2E/admin/x": "guarded", "/./admin": "guarded", "/../admin": "guarded",
		"/a/b/../../admin/": "guarded",
		"/admin/../public":  "open", "/adminx": "open", "/a%2Fb": "open", "//a": "open", "/a;b/c": "open",
		"/x?y=/../admin": "open", "/.well-known/x": "open", "/%2561dmin": "open", "/admin//x": "guarded",
	} {
		route, seen, status := askPath(t, addr, target)
		if route != want || seen != target || status != 200 {
			t.Errorf("%s: %d, route %q, origin saw %q; want %q", target, status, route, seen, want)
		}
	}
	for _, target := range []string{
		"//admin", "/%2fadmin", "/public/..%2fadmin", "/public%2f..%2fadmin", `/public/..\admin`, `/\admin`,
		"/public/..%5cadmin",
		"/public//../admin", "/public/..;/admin", "/admin%2fx", "/public/%2e%2e;x/admin", "/a/.%2f",
	} {
		if route, _, status := askPath(t, addr, target); status != 400 {
			t.Errorf("%s: %d by route %q, want 400", target, status, route)
		}
	}
}

func TestPath_forwardedResolved(t *testing.T) {
	addr := pathRig(t, proxy.Listener{Paths: proxy.PathsForwarded}, proxy.Route{})
	for target, want := range map[string]string{
		"/public/../admin/%7ex?q=%7e/../": "/admin/~x?q=%7e/../",
		"/a//b/%2F/./c":                   "/a//b/%2F/c",
		"/plain":                          "/plain",
	} {
		if _, seen, status := askPath(t, addr, target); seen != want || status != 200 {
			t.Errorf("%s: %d %q, want %q", target, status, seen, want)
		}
	}
}

func TestPath_raw(t *testing.T) {
	addr := pathRig(t, proxy.Listener{Paths: proxy.PathsRaw}, proxy.Route{})
	for _, target := range []string{"/public/../admin", "//admin", "/public/..%2fadmin"} {
		if route, seen, _ := askPath(t, addr, target); route != "open" || seen != target {
			t.Errorf("%s: %q %q", target, route, seen)
		}
	}
}

// A prefix that is put before a path cannot be left by dots.
func TestPath_rewritesResolved(t *testing.T) {
	addr := pathRig(t, proxy.Listener{}, proxy.Route{Rewrite: &proxy.Rewrite{StripPrefix: "/admin", AddPrefix: "/app"}})
	for target, want := range map[string]string{
		"/public/../admin/x":          "/app/x",
		"/admin/a/../b?" + "c=/../":   "/app/b?c=/../",
		"/%61dmin/%2e%2e/admin/" + "": "/app/",
	} {
		if _, seen, _ := askPath(t, addr, target); seen != want {
			t.Errorf("%s: %q, want %q", target, seen, want)
		}
	}
	if _, seen, _ := askPath(t, addr, "/admin/"+strings.Repeat("../", 3)+"admin/x"); seen != "/app/x" {
		t.Error(seen)
	}
}
