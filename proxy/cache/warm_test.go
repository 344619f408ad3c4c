package cache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
)

// lasting has all answers of the origin of package warm stored for years, whatever their Date is.
var lasting = policy.Rules{
	TTL: []policy.StatusTTL{{Status: 200, For: 80_000 * time.Hour}}, TTLMax: 90_000 * time.Hour, Cookies: policy.Ignore,
}

// warmRig is a proxy that answers a request from the cache, again and again.
func warmRig(t testing.TB, request string, r cache.Route) (g *warm.Rig, z *cache.Zone) {
	t.Helper()
	g = warm.NewRouted(t, request, &proxy.Listener{}, func(origin *upstream.Upstream) []proxy.Route {
		var err error
		if z, err = cache.New(cache.Options{Reactors: 1, Memory: 4 << 20}); err != nil {
			t.Fatal(err)
		}
		return []proxy.Route{{Name: "all", To: z.Before(proxy.To(origin, nil), r, nil)}}
	})
	return g, z
}

// conditional is a request that a hit answers 304 or 206, as the line of its condition says.
func conditional(line string) string {
	return "GET / HTTP/1.1\r\nHost: example.com\r\n" + line + "\r\n\r\n"
}

// purgeOthers has a purge of each kind but all come after what is stored, and none of them is of that.
func purgeOthers(t testing.TB, z *cache.Zone) {
	for _, p := range []cache.Purge{
		{Kind: cache.PurgeURL, Name: "http://other.example/a/b/c?d=e"}, {Kind: cache.PurgeHost, Name: "other.example"},
		{Kind: cache.PurgePrefix, Name: "http://other.example/"}, {Kind: cache.PurgeTag, Name: "other"},
	} {
		if _, err := z.Purge(&p); err != nil {
			t.Fatal(err)
		}
	}
}

// A hit costs one read and one write, and allocates nothing, whatever the key is made of.
func TestCache_hitAllocatesNothing(t *testing.T) {
	text, err := plugin.Template("{cookie.theme} {header.accept-language}", lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		request string
		route   cache.Route
	}{
		"plain": {warm.Browser, cache.Route{Rules: lasting}},
		"key": {warm.Browser, cache.Route{Rules: lasting, Identity: "origin", Texts: []*lang.Template{text},
			Query: cache.Query{Drop: []string{"utm_*"}, Sort: true}}},
		"304": {conditional("If-Modified-Since: Thu, 31 Dec 2099 23:59:59 GMT"), cache.Route{Rules: lasting}},
		"206": {conditional("Range: bytes=1-2"), cache.Route{Rules: lasting}},
	} {
		g, z := warmRig(t, c.request, c.route)
		purgeOthers(t, z)
		before, trips := g.Loop.Calls(), g.Trips
		allocs := testutil.Allocs(1000, g.Exchange)
		calls, n := g.Loop.Calls().Minus(before), g.Trips-trips
		if allocs != 0 || calls.IO() != 2*n {
			t.Errorf("%s: %v allocations, %d hits with %+v", name, allocs, n, calls)
		}
		if !strings.Contains(g.First, "fwd=uri-miss; fwd-status=200; stored") {
			t.Errorf("%s: %q", name, g.First)
		}
	}
}

func BenchmarkCache_hit(b *testing.B) {
	for name, request := range map[string]string{
		"small": warm.Small, "browser": warm.Browser, "afterAChange": warm.Small, "afterPurges": warm.Small,
		"304": conditional("If-Modified-Since: Thu, 31 Dec 2099 23:59:59 GMT"), "206": conditional("Range: bytes=1-2"),
	} {
		b.Run(name, func(b *testing.B) {
			g, z := warmRig(b, request, cache.Route{Rules: lasting})
			g.Exchange()
			switch name {
			case "afterAChange":
				cache.EndAURL(z)
			case "afterPurges":
				purgeOthers(b, z)
			}
			b.ReportAllocs()
			for b.Loop() {
				g.Exchange()
			}
		})
	}
}

// Each request is a miss, and its answer is stored: the key has the number of the request.
func BenchmarkCache_miss(b *testing.B) {
	number, err := plugin.Template("{request.id}", lang.Request)
	if err != nil {
		b.Fatal(err)
	}
	g, _ := warmRig(b, warm.Small, cache.Route{Rules: lasting, Texts: []*lang.Template{number}})
	b.ReportAllocs()
	for b.Loop() {
		g.Exchange()
	}
}

// A request that is passed on is the measure of a miss.
func BenchmarkCache_without(b *testing.B) {
	g := warm.New(b, warm.Small, &proxy.Listener{})
	b.ReportAllocs()
	for b.Loop() {
		g.Exchange()
	}
}

// What the proxy answers of its own is the measure of a hit.
func BenchmarkCache_ownAnswer(b *testing.B) {
	body := strings.Repeat("x", 128)
	g := warm.NewRouted(b, warm.Small, &proxy.Listener{}, func(*upstream.Upstream) []proxy.Route {
		return []proxy.Route{{Name: "all", To: proxy.Answer(200, "text/plain", body)}}
	})
	b.ReportAllocs()
	for b.Loop() {
		g.Exchange()
	}
}
