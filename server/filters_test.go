package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// Filters that a program has are named in a configuration: for all requests or for those of a route, and a reload takes
// them in and out.
func TestFilters_byName(t *testing.T) {
	note := func(name string) *proxy.Filter {
		return &proxy.Filter{Name: name, Response: func(x *proxy.Exchange) proxy.Verdict {
			x.Response.Set("X-Filters", strings.TrimSpace(x.Response.Get("X-Filters")+" "+name))
			return proxy.Next
		}}
	}
	o := Options{Filters: map[string]*proxy.Filter{"one": note("one"), "two": note("two")}}
	const routes = quiet + "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n" +
		"filters = [\"two\"]\n[[routes]]\npattern = \"/plain\"\ndest = \"status:200\"\n"
	s := serve(t, parse(t, "defaults.filters = [\"one\"]\n"+routes, "one", "two"), o)
	check := func(want map[string]string) {
		t.Helper()
		for path, filters := range want {
			resp, _ := testutil.Get(t, http.DefaultClient, "http://"+s.Addresses()[0].Addr.String()+path)
			if got := resp.Header.Get("X-Filters"); got != filters {
				t.Errorf("%s: %q, want %q", path, got, filters)
			}
		}
	}
	check(map[string]string{"/": "one two", "/plain": "one"})
	d, err := s.Apply(parse(t, routes, "one", "two"))
	if err != nil || len(d.Changed) != 1 || d.Changed[0] != "filters" {
		t.Error(d, err)
	}
	check(map[string]string{"/": "two", "/plain": ""})
	// A configuration that was not parsed for this program does not get as far as to serve.
	cfg := parse(t, "defaults.filters = [\"three\"]\n"+routes, "three", "two")
	wantRefused(t, s, cfg, `no filter is called "three"`)
}

// A filter sends requests to upstreams of the configuration, by their names, whatever a reload makes of them.
func TestFilters_chooseUpstreamsByName(t *testing.T) {
	origin := func(name string) string {
		o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, name+" "+r.Header.Get("Via"))
		}))
		t.Cleanup(o.Close)
		return o.Listener.Addr().String()
	}
	log := logged(t, 100)
	choose := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		x.SetDestination(proxy.Named(x.Query("to")))
		return proxy.Next
	}}
	parse := func(one, two string) *config.Config {
		t.Helper()
		text := "http.listen = \"127.0.0.1:0\"\n[upstreams.one]\nbackends = [{ address = \"" + one + "\" }]\n" +
			"[upstreams.two]\nbackends = [{ address = \"" + two + "\" }]\n[[routes]]\npattern = \"/*\"\n" +
			"dest = \"status:404\"\nfilters = [\"choose\"]\n"
		cfg, report := config.Options{Filters: []string{"choose"}}.Parse("test.toml", []byte(quiet+text))
		if !report.OK() || len(report.Warnings) > 0 {
			t.Fatal(report.Errors, report.Warnings)
		}
		return cfg
	}
	one, two := origin("one"), origin("two")
	s := serve(t, parse(one, two), Options{Filters: map[string]*proxy.Filter{"choose": choose}})
	check := func(want map[string]string) {
		t.Helper()
		for name, text := range want {
			resp, body := testutil.Get(t, http.DefaultClient, "http://"+s.Addresses()[0].Addr.String()+"/?to="+name)
			if got := fmt.Sprint(resp.StatusCode, " ", body); !strings.HasPrefix(got, text) {
				t.Errorf("%s: %q, want %q", name, got, text)
			}
		}
	}
	check(map[string]string{"one": "200 one 1.1 edge", "two": "200 two 1.1 edge", "three": "503 "})
	lines := log.with("no connection to a backend")
	if len(lines) == 0 || lines[0]["error"] != `no destination is called "three"` {
		t.Error(lines)
	}
	mustApply(t, s, parse(two, one))
	check(map[string]string{"one": "200 two 1.1 edge", "two": "200 one 1.1 edge"})
}
