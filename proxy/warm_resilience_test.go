package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// Retries by status, a time of each try, a budget, hedging, outliers and limits cost an exchange that goes well
// neither an allocation nor a call.
func TestProxy_warmResilienceAllocatesNothing(t *testing.T) {
	policy := on(t, "connect", "reset", "timeout", "5xx")
	policy.PerTry, policy.Budget = time.Second, retry.NewBudget(1, 20)
	policy.Hedge = retry.NewHedge(1, time.Second)
	g := warm.NewRouted(t, warm.Browser, &proxy.Listener{}, func(origin *upstream.Upstream) []proxy.Route {
		return []proxy.Route{{To: proxy.To(origin, &proxy.ToOptions{
			Retry: policy, Outliers: backend.NewOutliers(origin.Options().Backends, 1, ejection.Options{}),
			Limits: admission.New(1, admission.Options{Requests: 1, Retries: 1}),
		})}}
	})
	if !strings.HasPrefix(g.First, "HTTP/1.1 200 OK\r\n") {
		t.Fatalf("got %q", g.First)
	}
	before, trips := g.Loop.Calls(), g.Trips
	allocs := testutil.Allocs(1000, g.Exchange)
	c := g.Loop.Calls().Minus(before)
	if n := g.Trips - trips; allocs != 0 || c.IO() != 4*n {
		t.Errorf("%v allocations, %d exchanges with %+v", allocs, n, c)
	}
}

// What limits of requests cost an exchange, beside BenchmarkProxy_warm.
func BenchmarkProxy_warmLimits(b *testing.B) {
	g := warm.NewRouted(b, warm.Small, &proxy.Listener{}, func(origin *upstream.Upstream) []proxy.Route {
		return []proxy.Route{{Name: "all", To: proxy.To(origin, &proxy.ToOptions{
			Limits: admission.New(1, admission.Options{Requests: 100, Adaptive: true}),
		})}}
	})
	b.ReportAllocs()
	for b.Loop() {
		g.Exchange()
	}
}
