package proxy_test

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// A warm exchange costs four calls beside waiting, registers nothing and allocates nothing.
func TestProxy_warmExchangeCosts4CallsAndNoAllocation(t *testing.T) {
	for name, request := range map[string]string{"small": warm.Small, "browser": warm.Browser} {
		g := warm.New(t, request, &proxy.Listener{})
		if !strings.HasPrefix(g.First, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(g.First, strings.Repeat("x", 128)) {
			t.Fatalf("%s: got %q", name, g.First)
		}
		before, trips := g.Loop.Calls(), g.Trips
		allocs := testutil.Allocs(1000, g.Exchange)
		c := g.Loop.Calls().Minus(before)
		if n := g.Trips - trips; allocs != 0 || c.IO() != 4*n || c.Add != 0 || c.Del != 0 {
			t.Errorf("%s: %v allocations, %d exchanges with %+v", name, allocs, n, c)
		}
	}
}

// A backend that writes its answer in two pieces may keep the second one until the first is acknowledged (Nagle's
// algorithm): the proxy acknowledges it at once. An answer that came whole costs no such call.
func TestProxy_warmAnswerInPiecesIsAcknowledgedAtOnce(t *testing.T) {
	for _, cut := range []int{0, 20, 140} { // none, in the head, in the body
		g := warm.New(t, warm.Small, &proxy.Listener{})
		g.Cut = cut
		before, trips := g.Loop.Calls(), g.Trips
		allocs := testutil.Allocs(100, g.Exchange)
		c, n := g.Loop.Calls().Minus(before), g.Trips-trips
		if want := min(cut, 1) * n; c.AckNow != want || allocs != 0 {
			t.Errorf("cut at %d: %d acknowledgements in %d exchanges, %v allocations", cut, c.AckNow, n, allocs)
		}
	}
}

// Conditions, a split, a rewrite, a chain of proxies and a Host of one's own allocate nothing either.
func TestProxy_warmRoutingAllocatesNothing(t *testing.T) {
	on := &proxy.Listener{Forwarded: true, Trusted: &forwarding.Trust{
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.0.0.0/8")},
	}}
	request := strings.Replace(warm.Browser, "\r\n\r\n", "\r\nX-Forwarded-For: 198.51.100.7, 10.0.0.1\r\n"+
		"Forwarded: for=198.51.100.7\r\nVia: 1.1 cdn\r\n\r\n", 1)
	g := warm.NewRouted(t, request, on, func(origin *upstream.Upstream) []proxy.Route {
		r := proxy.Route{
			Name: "a", Host: "*.example.com", Path: "/articles/2026", Methods: []string{"GET"},
			Header:  []route.Condition{{Name: "User-Agent", Value: "~Chrome/[0-9]+"}, {Name: "X-Forwarded-For"}},
			Query:   []route.Condition{{Name: "utm_source", Value: "feed"}},
			Rewrite: &proxy.Rewrite{StripPrefix: "/articles", AddPrefix: "/a"},
			To:      proxy.To(origin, &proxy.ToOptions{Host: proxy.HostOfBackend}), Weight: 9,
		}
		other := r
		other.Name, other.Weight, other.Rewrite = "b", 1, &proxy.Rewrite{Path: templateOf(t, "/b{path}?{query}")}
		return []proxy.Route{{Name: "all", To: proxy.Answer(404, "", "")}, r, other}
	})
	if !strings.HasPrefix(g.First, "HTTP/1.1 200 OK\r\n") {
		t.Fatalf("got %q", g.First)
	}
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func benchmarkWarm(b *testing.B, request string) {
	g := warm.New(b, request, &proxy.Listener{})
	measure(b, g)
}

// measure runs exchanges of g, and reports how much time of the processor they take.
func measure(b *testing.B, g *warm.Rig) {
	b.ReportAllocs()
	start := warm.CPUTime(b)
	for b.Loop() {
		g.Exchange()
	}
	b.ReportMetric(float64(warm.CPUTime(b)-start)/float64(b.N), "cpu-ns/op")
}

func BenchmarkProxy_warm(b *testing.B)        { benchmarkWarm(b, warm.Small) }
func BenchmarkProxy_warmBrowser(b *testing.B) { benchmarkWarm(b, warm.Browser) }

// Many clients that ask in turn: the caches of the processor have lost a connection by the time of its turn.
func BenchmarkProxy_crowd(b *testing.B) {
	for _, n := range []int{64, 1000, 4000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			g := warm.NewCrowd(b, n)
			start := warm.CPUTime(b)
			b.ResetTimer()
			g.Exchanges(b.N)
			b.ReportMetric(float64(warm.CPUTime(b)-start)/float64(b.N), "cpu-ns/op")
		})
	}
}

// However many clients there are, an exchange allocates nothing once all have asked.
func TestProxy_crowdAllocatesNothing(t *testing.T) {
	testutil.OnlyPlain(t)
	const clients = 1000
	g := warm.NewCrowd(t, clients)
	g.Exchanges(200 * clients) // by then as many were in progress at one time as will be
	before, trips := g.Loop.Calls(), g.Trips
	if allocs := testutil.Allocs(20, func() { g.Exchanges(clients) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if c := g.Loop.Calls().Minus(before); c.Add+c.Del+c.Connect > 0 || g.Trips-trips < 20*clients {
		t.Errorf("%d exchanges with %+v", g.Trips-trips, c)
	}
}

// An overloaded proxy answers much by itself: a page costs two short texts, its number and Proxy-Status.
func TestProxy_warmPageAllocatesTwoTexts(t *testing.T) {
	if invariant.On {
		t.Skip("what invariants say is allocated")
	}
	request := "GET / HTTP/1.1\r\nHost: h\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\r\n"
	g := warm.NewRouted(t, request, &proxy.Listener{}, func(*upstream.Upstream) []proxy.Route {
		return []proxy.Route{{Path: "/other", To: proxy.Answer(200, "", "")}}
	})
	if !strings.HasPrefix(g.First, "HTTP/1.1 404 ") || !strings.HasSuffix(g.First, "</html>\n") {
		t.Fatalf("got %q", g.First)
	}
	if allocs := testutil.Allocs(1000, g.Exchange); allocs > 2 {
		t.Errorf("%v allocations", allocs)
	}
}

// A filter of Log costs nothing but what it does, beside an access log or without one.
func TestProxy_warmLogAllocatesNothing(t *testing.T) {
	var sum int64
	count := &proxy.Filter{Log: func(_ *proxy.Exchange, r *observe.Record) { sum += r.BytesOut }}
	for name, on := range map[string]*proxy.Listener{
		"alone": {}, "logged": {Log: []proxy.AccessLog{dropped{}}},
	} {
		g := warm.New(t, warm.Small, on, count)
		if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 || sum == 0 {
			t.Errorf("%s: %v allocations, %d bytes", name, allocs, sum)
		}
	}
}

// What an access log chooses allocates nothing, whether there is a record or none. A share is one of the numbers that
// the proxy itself gives requests, too.
func TestProxy_warmLogChoiceAllocatesNothing(t *testing.T) {
	when := condition(t, `path != "/health"`, lang.Log)
	always := []*lang.Condition{condition(t, `status >= 500`, lang.Log),
		condition(t, `attempts > 1 or duration > 1h`, lang.Log)}
	for _, share := range []float64{0, 0.25, 1} {
		to := &countedLog{}
		log := proxy.ChooseLog(to, &proxy.LogChoice{When: when, Always: always, Sample: proxy.SampleLog(share)})
		g := warm.New(t, warm.Small, &proxy.Listener{Log: []proxy.AccessLog{log}})
		before, trips := to.n, g.Trips
		if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
			t.Errorf("%v: %v allocations", share, allocs)
		}
		n := float64(g.Trips - trips)
		if got, most := float64(to.n-before), 6*math.Sqrt(n*share*(1-share)); math.Abs(got-n*share) > most {
			t.Errorf("%v: %v records of %v", share, got, n)
		}
	}
}

// countedLog counts its records.
type countedLog struct{ n int }

func (l *countedLog) Append(*observe.Record) { l.n++ }

// dropped is an access log that nobody reads.
type dropped struct{}

func (dropped) Append(*observe.Record) {}

// metered are a listener and a way to the origin whose requests are counted by route and by upstream.
func metered() (on *proxy.Listener, routes func(*upstream.Upstream) []proxy.Route) {
	m := meter.New(1, meter.ByClass)
	on = &proxy.Listener{Meter: m.Listener(0, m.Route(false))}
	return on, func(origin *upstream.Upstream) []proxy.Route {
		to := proxy.To(origin, &proxy.ToOptions{Meter: m.Upstream()})
		return []proxy.Route{{Name: "all", To: to, Meter: m.Route(false)}}
	}
}

// Counting by route and by upstream allocates nothing.
func TestProxy_warmMetersAllocateNothing(t *testing.T) {
	on, routes := metered()
	g := warm.NewRouted(t, warm.Small, on, routes)
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// Counting by route and by upstream, to be compared with BenchmarkProxy_warm.
func BenchmarkProxy_warmMetered(b *testing.B) {
	on, routes := metered()
	g := warm.NewRouted(b, warm.Small, on, routes)
	measure(b, g)
}

// remembering has a rig remember its requests.
func remembering(t testing.TB, request string) *warm.Rig {
	g := warm.New(t, request, &proxy.Listener{})
	g.Proxy.Remember(4096, time.Second)
	g.Exchange()
	return g
}

// To remember a request allocates nothing.
func TestProxy_warmRememberedAllocatesNothing(t *testing.T) {
	g := remembering(t, warm.Small)
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// Remembering each request, to be compared with BenchmarkProxy_warm.
func BenchmarkProxy_warmRemembered(b *testing.B) {
	g := remembering(b, warm.Small)
	measure(b, g)
}
