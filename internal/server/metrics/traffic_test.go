package metrics

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/message"
)

// clocked is Traffic of a configuration with these routes and upstreams, whose clock is now.
func clocked(now *time.Time, section config.Metrics, names ...string) *Traffic {
	t := NewTraffic(2, with(section, names...))
	t.now = func() time.Time { return *now }
	t.Use(with(section, names...))
	return t
}

// with is a configuration with routes and upstreams of these names.
func with(section config.Metrics, names ...string) *config.Config {
	c := &config.Config{Features: []schema.Target{&section}}
	for _, n := range names {
		c.Routes = append(c.Routes, config.Route{Name: n})
		c.Upstreams = append(c.Upstreams, config.Upstream{Name: n})
	}
	return c
}

// gathered adds what both reactors have counted.
func gathered(t *Traffic) *Traffic {
	for reactor := range 2 {
		all, _ := t.meters.Take(reactor, nil, 1000)
		t.Add(reactor, all)
	}
	t.Settle()
	return t
}

// lines are those of the page that begin with prefix.
func lines(t *Traffic, prefix string) (all []string) {
	var e observe.Exposition
	t.AppendTo(&e)
	for line := range strings.Lines(string(e.Bytes())) {
		if strings.HasPrefix(line, prefix) {
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	return all
}

// total is the sum of edge_requests_total.
func total(t *Traffic) (n float64) {
	t.Each(func(s observe.Sample) {
		if s.Name == requestsName {
			n += s.Value
		}
	})
	return n
}

var byClass = config.Metrics{SeriesMax: 100_000, Codes: "class"}

func TestTraffic_page(t *testing.T) {
	now := time.Unix(1, 0)
	tr := clocked(&now, byClass, "a")
	web := tr.Listener("web")
	tr.Route("a", false).Count(0, web, message.VerbGet, 200, int64(2*time.Millisecond))
	tr.Route("a", false).Count(1, web, message.VerbGet, 204, int64(time.Minute))
	tr.Route("a", false).Count(1, web, message.VerbOther, 503, meter.Untimed)
	web.Unrouted().Count(1, web, message.VerbPost, 404, 0)
	tr.Upstream("a").Observe(0, meter.FirstByte, int64(time.Second))
	tr.Upstream("a").CountRetry(0, meter.After5xx)
	tr.Upstream("a").CountRetry(1, meter.After5xx)
	var e observe.Exposition
	gathered(tr).AppendTo(&e)
	want := `# HELP edge_requests_total Requests answered, or given up; route is empty where none took them.
# TYPE edge_requests_total counter
edge_requests_total{listener="web",route="",method="POST",code="4xx"} 1
edge_requests_total{listener="web",route="a",method="GET",code="2xx"} 2
edge_requests_total{listener="web",route="a",method="other",code="5xx"} 1
# HELP edge_request_duration_seconds Time from the head of a request to the end of its answer, without tunnels.
# TYPE edge_request_duration_seconds histogram
edge_request_duration_seconds_bucket{route="a",le="0.001"} 0
edge_request_duration_seconds_bucket{route="a",le="0.0025"} 1
`
	if page := string(e.Bytes()); !strings.HasPrefix(page, want) {
		t.Errorf("%s", page)
	}
	for _, want := range []string{
		`edge_request_duration_seconds_bucket{route="a",le="30.0"} 1`,
		`edge_request_duration_seconds_bucket{route="a",le="+Inf"} 2`,
		`edge_request_duration_seconds_sum{route="a"} 60.002`,
		`edge_request_duration_seconds_count{route="a"} 2`,
		`edge_upstream_duration_seconds_bucket{upstream="a",phase="first_byte",le="0.5"} 0`,
		`edge_upstream_duration_seconds_bucket{upstream="a",phase="first_byte",le="1.0"} 1`,
		`edge_retries_total{upstream="a",reason="5xx"} 2`,
	} {
		if got := lines(tr, want); len(got) != 1 || got[0] != want {
			t.Errorf("want %s, got %v", want, got)
		}
	}
}

func TestTraffic_exactCodes(t *testing.T) {
	now := time.Unix(1, 0)
	tr := clocked(&now, config.Metrics{SeriesMax: 1000, Codes: "exact"}, "a")
	for _, status := range []int{200, 418, 499, 777} {
		tr.Route("a", false).Count(0, tr.Listener("web"), message.VerbGet, status, 0)
	}
	got := strings.Join(lines(gathered(tr), "edge_requests_total"), "\n")
	for code, n := range map[string]int{"200": 1, "499": 1, "other": 2} {
		if want := fmt.Sprintf("code=%q} %d", code, n); !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// A route that a reload takes away, or brings back within an hour, keeps its series; after an hour it is one of others.
func TestTraffic_routesThatAreGone(t *testing.T) {
	now := time.Unix(1, 0)
	tr := clocked(&now, byClass, "a", "b")
	a, web := tr.Route("a", false), tr.Listener("web")
	count := func(r *meter.Route) {
		r.Count(0, web, message.VerbGet, 200, 1)
		tr.Upstream("a").Observe(1, meter.Body, 1)
		gathered(tr)
	}
	series := func(route string) int { return len(lines(tr, `edge_request_duration_seconds_count{route="`+route)) }
	count(a)
	tr.Use(with(byClass, "b"))
	now = now.Add(goneFor)
	if count(a); series("a") != 1 || total(tr) != 2 {
		t.Fatalf("%d series of a, %v requests after an hour", series("a"), total(tr))
	}
	tr.Use(with(byClass, "a"))
	if again := tr.Route("a", false); again != a {
		t.Error("a route that is back is another one")
	}
	tr.Use(with(byClass, "b"))
	now = now.Add(goneFor + 1)
	tr.forget()
	count(a) // a tunnel that has outlived its route
	if series("a") != 0 || series("other") != 1 || total(tr) != 3 || tr.Route("a", false) == a {
		t.Errorf("%d series of a, %d of others, %v requests", series("a"), series("other"), total(tr))
	}
	want := `edge_requests_total{listener="other",route="other",method="other",code="2xx"} 3`
	if got := lines(tr, want); len(got) != 1 {
		t.Errorf("%v", lines(tr, "edge_requests_total"))
	}
	if got := lines(tr, `edge_upstream_duration_seconds_count{upstream="other",phase="body"} 2`); len(got) != 1 {
		t.Errorf("%v", lines(tr, "edge_upstream_duration_seconds_count"))
	}
}

// However many methods, routes and reloads there are, lines stay below series_max and no sum ever falls.
func TestTraffic_bounds(t *testing.T) {
	now := time.Unix(1, 0)
	section := config.Metrics{SeriesMax: 1000, Codes: "exact"}
	tr := clocked(&now, section)
	counted, before := 0.0, make(map[string]float64)
	for round := range 60 {
		var names []string
		for i := range 30 {
			names = append(names, fmt.Sprintf("r%d", round/20*30+i))
		}
		tr.Use(with(section, names...))
		for range 500 {
			r := tr.Route(names[rand.IntN(len(names))], section.Untimed(30))
			r.Count(rand.IntN(2), tr.Listener("web"), message.Verb(rand.IntN(meter.Methods)), 200+rand.IntN(300), 1)
			tr.Upstream(names[rand.IntN(len(names))]).Observe(0, meter.Phase(rand.IntN(meter.Phases)), 1)
			counted++
		}
		now = now.Add(10 * time.Minute)
		gathered(tr)
		all := make(map[string]float64)
		for _, line := range lines(tr, "edge_requests_total") {
			series, n, _ := strings.Cut(line, "} ")
			all[series], _ = strconv.ParseFloat(n, 64)
		}
		for labels, n := range all {
			if n < before[labels] {
				t.Fatalf("round %d: %s fell from %v to %v", round, labels, before[labels], n)
			}
		}
		before = all
		if n := len(lines(tr, "edge_")); n > section.SeriesMax+len(meter.Exact.Labels)+6*durationLines {
			t.Fatalf("round %d: %d lines", round, n)
		}
		if got := total(tr); got != counted {
			t.Fatalf("round %d: %v requests, %v counted", round, got, counted)
		}
	}
	if len(tr.routes) > 100 || len(tr.byRoute) != len(tr.routes) || len(tr.order) != len(tr.routes) {
		t.Errorf("%d routes are remembered", len(tr.routes))
	}
}

func BenchmarkTraffic_page1000Routes(b *testing.B) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("route-%d", i)
	}
	now := time.Now()
	tr := clocked(&now, byClass, names...)
	web := tr.Listener("web")
	for _, n := range names {
		for _, status := range []int{200, 304, 404, 503} {
			tr.Route(n, false).Count(0, web, message.VerbGet, status, 1e6)
		}
	}
	gathered(tr)
	var e observe.Exposition
	b.ReportAllocs()
	for b.Loop() {
		e.Reset(observe.OpenMetrics)
		tr.AppendTo(&e)
	}
	b.SetBytes(int64(len(e.Bytes())))
}

// A route and an upstream that come back after more than an hour go on under their names, also when a page is made
// between the build of their configuration and its use.
func TestTraffic_keepsWhatIsBuilt(t *testing.T) {
	now := time.Unix(1e9, 0)
	section := config.Metrics{SeriesMax: 1000, Codes: "class"}
	tr := clocked(&now, section, "a")
	tr.Route("a", false)
	tr.Upstream("a")
	tr.Use(with(section, "a"))
	tr.Use(with(section))
	now = now.Add(2 * goneFor)
	route, up := tr.Route("a", false), tr.Upstream("a")
	lines(tr, "")
	tr.Use(with(section, "a"))
	route.Count(0, tr.Listener("web"), message.VerbGet, 200, 1)
	up.Observe(0, meter.Body, 1)
	gathered(tr)
	for _, want := range []string{
		`edge_requests_total{listener="web",route="a",method="GET",code="2xx"} 1`,
		`edge_upstream_duration_seconds_count{upstream="a",phase="body"} 1`,
	} {
		if len(lines(tr, want)) != 1 {
			t.Errorf("no line %s", want)
		}
	}
}

// Only an upstream whose requests wait for look-ups has lines for them, while there is room.
func TestTraffic_lookups(t *testing.T) {
	now := time.Unix(1e9, 0)
	section := config.Metrics{SeriesMax: 1000, Codes: "class"}
	tr := clocked(&now, section, "a", "b")
	a, b := tr.Upstream("a"), tr.Upstream("b")
	before := tr.lines
	a.Observe(0, meter.DNS, 1)
	a.Observe(1, meter.DNS, 1)
	if gathered(tr); tr.lines != before+durationLines {
		t.Errorf("%d lines more", tr.lines-before)
	}
	tr.most = tr.lines
	b.Observe(0, meter.DNS, 1)
	gathered(tr)
	for _, want := range []string{`upstream="a",phase="dns"} 2`, `upstream="other",phase="dns"} 1`} {
		if want = "edge_upstream_duration_seconds_count{" + want; len(lines(tr, want)) != 1 {
			t.Errorf("no line %s", want)
		}
	}
	tr.Use(with(section))
	now = now.Add(2 * goneFor)
	want := `edge_upstream_duration_seconds_count{upstream="other",phase="dns"} 3`
	if got := lines(tr, want); len(got) != 1 || tr.lines != before-2*upstreamLines+durationLines {
		t.Errorf("%q, %d lines", got, tr.lines)
	}
}
