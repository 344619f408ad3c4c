package proxy_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/warm"
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
		allocs := testing.AllocsPerRun(1000, g.Exchange)
		c := g.Loop.Calls().Minus(before)
		if n := g.Trips - trips; allocs != 0 || c.IO() != 4*n || c.Add != 0 || c.Del != 0 {
			t.Errorf("%s: %v allocations, %d exchanges with %+v", name, allocs, n, c)
		}
	}
}

func benchmarkWarm(b *testing.B, request string) {
	g := warm.New(b, request, &proxy.Listener{})
	b.ReportAllocs()
	start := warm.CPUTime(b)
	for b.Loop() {
		g.Exchange()
	}
	b.ReportMetric(float64(warm.CPUTime(b)-start)/float64(b.N), "cpu-ns/op")
}

func BenchmarkProxy_warm(b *testing.B)        { benchmarkWarm(b, warm.Small) }
func BenchmarkProxy_warmBrowser(b *testing.B) { benchmarkWarm(b, warm.Browser) }
