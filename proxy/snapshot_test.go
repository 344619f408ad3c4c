package proxy_test

import (
	"cmp"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// What is wrong in itself is an error that names the route or the filter.
func TestNewSnapshot_namesWhatIsWrong(t *testing.T) {
	ok := proxy.Answer(200, "", "")
	late := &proxy.Filter{Blocking: proxy.PhaseRequest}
	early := &proxy.Filter{Name: "first", BeforeRoute: func(*proxy.Exchange) proxy.Verdict { return proxy.Next }}
	for want, c := range map[string]struct {
		routes  []proxy.Route
		filters []*proxy.Filter
	}{
		`filter 2 of 2 is nil`:              {nil, []*proxy.Filter{{}, nil}},
		`route "api": filter 1 of 1 is nil`: {[]proxy.Route{{Name: "api", To: ok, Filters: []*proxy.Filter{nil}}}, nil},
		`filter 1 of 1: Blocking names a phase that the filter has no function for`: {nil, []*proxy.Filter{late}},
		`route 1 of 1 (/*): filter "first": the phase BeforeRoute is for filters of all routes`: {
			[]proxy.Route{{To: ok, Filters: []*proxy.Filter{early}}}, nil},
		`route 2 of 2 (a.test/api/*): it leads nowhere: To is nil`: {
			[]proxy.Route{{To: ok}, {Host: "a.test", Path: "/api"}}, nil},
		`route "x": it is no answer: the status of one has three digits and is 200 or more`: {
			[]proxy.Route{{Name: "x", To: proxy.Answer(99, "", "")}}, nil},
		`route "x": the upstream of To is nil`:       {[]proxy.Route{{Name: "x", To: proxy.To(nil, nil)}}, nil},
		`route "x": the handler of FromHTTP is nil`:  {[]proxy.Route{{Name: "x", To: handler.FromHTTP(nil)}}, nil},
		`route "x": a weight is between 0 and 65535`: {[]proxy.Route{{Name: "x", To: ok, Weight: -1}}, nil},
		`route "x": path "/api/*": a path takes all below it by itself, unless it is Exact; write "/api"`: {
			[]proxy.Route{{Name: "x", To: ok, Path: "/api/*"}}, nil},
	} {
		if _, err := proxy.NewSnapshot(c.routes, c.filters); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A pattern in code takes what it takes in a configuration.
func TestMustRoute(t *testing.T) {
	r := newRig(t, func(*engine.Engine) []proxy.Route {
		return []proxy.Route{
			proxy.MustRoute("/api/*", proxy.Answer(201, "", "")), proxy.MustRoute("=/", proxy.Answer(202, "", "")),
			proxy.MustRoute("*.b.test/api/*", proxy.Answer(203, "", "")),
		}
	})
	for target, want := range map[string]int{
		"/api": 201, "/api/x": 201, "/apix": 404, "/": 202, "a.b.test/api/x": 203, "b.test/api/x": 201,
	} {
		host, path, _ := strings.Cut(target, "/")
		req, _ := http.NewRequest("GET", r.url+"/"+path, nil)
		req.Host = cmp.Or(host, "a.test")
		resp, _ := testutil.Do(t, http.DefaultClient, req)
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, resp.StatusCode, want)
		}
	}
	if _, err := proxy.NewRoute("/api*", proxy.Answer(200, "", "")); err == nil ||
		err.Error() != `pattern "/api*": a star stands only at the end, after a slash; write "/api/*"` {
		t.Error(err)
	}
}
