package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
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
	e := newEngine(t, engine.Options{Reactors: 1})
	to := proxy.To(upstream.New(e, upstream.Options{Backends: backend.Of(origin.Addr().String())}), nil)
	guard.To = to
	guard.Path = "/admin"
	guard.Filters = []*proxy.Filter{setFields(nil, map[string]string{"X-Route": "guarded"})}
	open := proxy.Route{Name: "open", To: to, Filters: []*proxy.Filter{
		setFields(nil, map[string]string{"X-Route": "open"}),
	}}
	return serve(t, e, &on, session.ServerOptions{}, []proxy.Route{guard, open}).addr()
}

// askPath returns the route that took a target, the target that the origin saw, and the status.
func askPath(t *testing.T, addr, target string) (route, seen string, status int) {
	t.Helper()
	resp := rawGet(t, addr, target)
	return resp.Header.Get("X-Route"), resp.Header.Get("X-Target"), resp.StatusCode
}

// rawGet asks for a target as it is written, and returns the head of the answer.
func rawGet(t *testing.T, addr, target string) *http.Response {
	t.Helper()
	w := testutil.Dial(t, addr)
	defer w.Close()
	w.Send("GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	resp, _ := w.ReadResponse("GET")
	return resp
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
	addr := pathRig(t, proxy.Listener{Paths: route.PathsForwarded}, proxy.Route{})
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
	addr := pathRig(t, proxy.Listener{Paths: route.PathsRaw}, proxy.Route{})
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

// Some origins take "/;/admin", "/admin;x/a" and "/public/..;/admin" for a path below /admin. Each listener says what
// it makes of that.
func TestPath_parameters(t *testing.T) {
	const refused = "400"
	all := map[string][3]string{ // kept, stripped, refused
		"/;/admin/x":                {refused, refused, refused},
		"/;x=1/admin/x":             {refused, refused, refused},
		"/./;/admin/x":              {refused, refused, refused},
		"/x/%2e%2e/;/admin":         {refused, refused, refused},
		"/x/..;/admin":              {refused, refused, refused},
		"/x/.;y/../admin":           {refused, refused, refused},
		"/x/%2e.;y=1/admin":         {refused, refused, refused},
		"/x/..%3by=1/admin":         {refused, refused, refused},
		"/%3b/admin":                {refused, refused, refused},
		"/%3B;/admin":               {refused, refused, refused},
		"/x/;/../admin":             {refused, refused, refused},
		"/x%2f;/admin":              {refused, refused, refused},
		"/x\\..;/admin":             {refused, refused, refused},
		"/x/..;":                    {refused, refused, refused},
		"/admin;x=1/x":              {"open", "guarded", refused},
		"/admin;/x":                 {"open", "guarded", refused},
		"/admin;x=1":                {"open", "guarded", refused},
		"/%61dmin;x=%2e%2e/x":       {"open", "guarded", refused},
		"/x/../admin;x=1;y=2/x":     {"open", "guarded", refused},
		"/admin%3bx=1/x":            {"open", refused, refused},
		"/public;x=%2f..%2fadmin/x": {refused, refused, refused},
		"/public;x=/../admin/x":     {"guarded", "guarded", refused},
		"/admin/a;b/c":              {"guarded", "guarded", refused},
		"/admin/;x":                 {"guarded", "guarded", refused},
		"/a;v=1/b":                  {"open", "open", refused},
		"/a%3bv/b":                  {"open", "open", refused},
		"/a...;v/.b;":               {"open", "open", refused},
		"/;jsessionid=1":            {"open", "open", refused},
		"/a/;jsessionid=1?x=;/;":    {"open", "open", refused},
		"/a?x=/;/admin":             {"open", "open", "open"},
	}
	for way := range 3 {
		addr := pathRig(t, proxy.Listener{Parameters: route.Parameters(way)}, proxy.Route{Name: "guarded"})
		for target, want := range all {
			route, seen, status := askPath(t, addr, target)
			if status == 400 {
				route, seen = refused, target
			}
			if route != want[way] || seen != target {
				t.Errorf("%d, %s: %d, route %q, origin saw %q; want %q", way, target, status, route, seen, want[way])
			}
		}
	}
}

// A path that is changed on its way is sent on as routes saw it; one that they see as it came has parameters like any
// other text.
func TestPath_parametersOfPathsThatChange(t *testing.T) {
	kept, stripped := route.ParametersKept, route.ParametersStripped
	guard := proxy.Route{Rewrite: &proxy.Rewrite{StripPrefix: "/admin", AddPrefix: "/app"}}
	for _, c := range []struct {
		on           proxy.Listener
		target, want string
	}{
		{proxy.Listener{Parameters: kept}, "/admin/a;b=%7e/c;d?e;f", "/app/a;b=~/c;d?e;f"},
		{proxy.Listener{Parameters: stripped}, "/admin;x/a;b=%7e/%7ec;d?e;f", "/app/a/~c?e;f"},
		{proxy.Listener{Parameters: stripped}, "/x;y/../admin;x", "/app"},
		{proxy.Listener{Parameters: stripped}, "/a;b/%7e", "/a;b/%7e"},
		{proxy.Listener{Parameters: kept, Paths: route.PathsForwarded}, "/a;b/./%7e", "/a;b/~"},
		{proxy.Listener{Parameters: stripped, Paths: route.PathsForwarded}, "/a;b/./%7e;", "/a/~"},
		{proxy.Listener{Parameters: kept, Paths: route.PathsRaw}, "/;/admin/x", "/;/admin/x"},
		{proxy.Listener{Parameters: stripped, Paths: route.PathsRaw}, "/a;b", "/a;b"},
		{proxy.Listener{Parameters: route.ParametersRefused, Paths: route.PathsRaw}, "/a;b", ""},
	} {
		if _, seen, _ := askPath(t, pathRig(t, c.on, guard), c.target); seen != c.want {
			t.Errorf("%+v, %s: the origin saw %q, want %q", c.on, c.target, seen, c.want)
		}
	}
}

// A filter sees the path that the route saw, in every phase, whatever the client wrote and the route makes of it.
func TestPath_filtersSeeWhatRoutesSee(t *testing.T) {
	note := func(field string) func(x *proxy.Exchange) proxy.Verdict {
		return func(x *proxy.Exchange) proxy.Verdict {
			x.Request.Set(field, string(x.Path()))
			return proxy.Next
		}
	}
	show := &proxy.Filter{
		BeforeRoute: note("X-Before"), Request: note("X-Request"),
		Response: func(x *proxy.Exchange) proxy.Verdict {
			for _, field := range []string{"X-Before", "X-Request"} {
				x.Response.Set(field, x.Request.Get(field))
			}
			x.Response.Set("X-Response", string(x.Path()))
			return proxy.Next
		},
	}
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{{Rewrite: &proxy.Rewrite{AddPrefix: "/inside"}, To: proxy.Answer(200, "", "ok")}}
	}, show)
	for target, want := range map[string]string{
		"/": "/", "/tea": "/tea", "/%74ea": "/tea", "/x/../tea?a=b": "/tea",
		"/a%2Fb%3f": "/a%2Fb%3F", "/tea/?x": "/tea/", "/x/%2e%2e/%74ea": "/tea",
	} {
		resp := rawGet(t, r.addr(), target)
		for _, field := range []string{"X-Before", "X-Request", "X-Response"} {
			if got := resp.Header.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", target, field, got, want)
			}
		}
	}
}
