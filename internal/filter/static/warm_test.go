package static_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/filter/static"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// A plain answer allocates nothing: of all of a file, of a part, that nothing has changed, and of a sibling.
func TestStatic_allocatesNothing(t *testing.T) {
	url, plain := both(t, &static.Config{Root: site(t, map[string]string{"small": "0123456789", "small.gz": "gz"})})
	age(t, url, plain, "/small") // by a real server: the clock of the Rig does not wait for net/http
	resp, _ := ask(t, url, "GET", "/plain/small")
	for field, want := range map[string]string{
		"A: b": "200 OK", "Range: bytes=1-2": "206 Partial", "Accept-Encoding: gzip": "Content-Encoding: gzip",
		"If-None-Match: " + resp.Header.Get("ETag"): "304 Not",
	} {
		request := strings.Replace(warm.Small, "\r\n\r\n", "\r\n"+field+"\r\n\r\n", 1)
		g := warm.NewRouted(t, request, &proxy.Listener{}, func(*upstream.Upstream) []proxy.Route {
			return []proxy.Route{{To: plain}}
		})
		if !strings.Contains(g.First, want) {
			t.Fatalf("%s: %q", field, g.First)
		}
		before := plain.plain.Load()
		if n := testutil.Allocs(1000, g.Exchange); n > 0 || plain.plain.Load() < before+1000 {
			t.Errorf("%s: %v allocations, %d of 1000 go past net/http", field, n, plain.plain.Load()-before)
		}
	}
}

// A filter of a fallback allocates nothing, for a file that is held and for a path that is known to lead to none.
func TestFirst_allocatesNothing(t *testing.T) {
	for name, want := range map[string]string{"small": "0123456789", "other": "200 OK"} {
		c := &static.Config{Root: site(t, map[string]string{name: "0123456789"}), Fallback: "app"}
		url, plain := both(t, c)
		if name == "small" {
			age(t, url, plain, "/small")
		} else {
			ask(t, url, "GET", "/plain/small")
		}
		to, err := filterrig.Made(static.New, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		first := to.(interface{ First() *proxy.Filter }).First()
		g := warm.NewRouted(t, warm.Small, &proxy.Listener{}, func(u *upstream.Upstream) []proxy.Route {
			return []proxy.Route{{To: proxy.To(u, nil), Filters: []*proxy.Filter{first}}}
		})
		if !strings.Contains(g.First, want) {
			t.Fatalf("%s: %q", name, g.First)
		}
		if n := testutil.Allocs(1000, g.Exchange); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
