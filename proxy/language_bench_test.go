package proxy_test

import (
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// fiveConditions are routes whose conditions are asked one after another for a browser's request, which the last one
// takes: two of them are regular expressions.
func fiveConditions(t testing.TB, origin *upstream.Upstream, rewrites bool) (routes []proxy.Route) {
	to := proxy.To(origin, nil)
	for i, text := range []string{
		`header.user-agent ~ "(?i)(bot|crawl|spider)[/ ]v?\d+"`,
		`client.ip in {10.0.0.0/8 172.16.0.0/12}`,
		`cookie.theme == "light" and method == "GET"`,
		`header.x-beta == "1" or query.beta == "1"`,
		`path ~ "^/articles/[0-9]+/[0-9]+/"`,
	} {
		r := proxy.Route{Name: text, When: whenOf(t, text), To: to, Path: "/articles"}
		if i == 4 {
			// The others have one condition more each, so that they are asked first.
			r.Path = "/"
			if rewrites {
				r.Rewrite = &proxy.Rewrite{Path: templateOf(t, `/v2{path.cut_prefix("/articles")}`)}
				r.Filters = []*proxy.Filter{proxy.SetFields(map[string]*lang.Template{
					"X-Client": templateOf(t, "{client.ip}"), "X-Page": templateOf(t, "{path.basename()}"),
				}, nil)}
			}
		}
		routes = append(routes, r)
	}
	return routes
}

// Conditions and rewrites of the language allocate nothing.
func TestRoute_warmConditionsAllocateNothing(t *testing.T) {
	g := warm.NewRouted(t, warm.Browser, &proxy.Listener{}, func(origin *upstream.Upstream) []proxy.Route {
		return fiveConditions(t, origin, true)
	})
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// ratio reports how much longer an exchange of one rig takes than one of the other: the median over pairs of rounds
// that follow each other, since the machine is not quiet.
func ratio(b *testing.B, plain, with *warm.Rig) {
	const rounds = 500
	one := func(g *warm.Rig) float64 {
		start := warm.CPUTime(b)
		for range rounds {
			g.Exchange()
		}
		return float64(warm.CPUTime(b)-start) / rounds
	}
	var ratios, times []float64
	for b.Loop() {
		first, second := one(plain), one(with)
		again := one(plain)
		ratios, times = append(ratios, 2*second/(first+again)), append(times, second)
	}
	slices.Sort(ratios)
	slices.Sort(times)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(times[len(times)/2], "cpu-ns/exchange")
}

// A browser's request through five conditions, two of them regular expressions, and three rewrites, against none.
func BenchmarkProxy_fiveConditions(b *testing.B) {
	with := func(rewrites bool) *warm.Rig {
		return warm.NewRouted(b, warm.Browser, &proxy.Listener{}, func(origin *upstream.Upstream) []proxy.Route {
			return fiveConditions(b, origin, rewrites)
		})
	}
	plain := warm.New(b, warm.Browser, &proxy.Listener{})
	b.Run("conditions", func(b *testing.B) { ratio(b, plain, with(false)) })
	b.Run("rewrites", func(b *testing.B) { ratio(b, plain, with(true)) })
}

// A browser's request through ten filters that only look, against none.
func BenchmarkProxy_tenLookingFilters(b *testing.B) {
	seen := 0
	var list []*proxy.Filter
	for range 10 {
		list = append(list, &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
			if len(x.Request.Path()) > 0 {
				seen++
			}
			return proxy.Next
		}})
	}
	plain := warm.New(b, warm.Browser, &proxy.Listener{})
	b.Run("always", func(b *testing.B) { ratio(b, plain, warm.New(b, warm.Browser, &proxy.Listener{}, list...)) })
	var guarded []*proxy.Filter
	when := proxy.Holds(whenOf(b, `method == "POST"`))
	for _, f := range list {
		own := *f
		own.When = when
		guarded = append(guarded, &own)
	}
	b.Run("when", func(b *testing.B) { ratio(b, plain, warm.New(b, warm.Browser, &proxy.Listener{}, guarded...)) })
}
