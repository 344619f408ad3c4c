package proxy_test

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

// A warm request by HTTP/3 allocates nothing, from the datagram that brings it to the datagram that answers it. It
// costs a read and a write of datagrams, which requests that come together share; many answers are acknowledged by a
// datagram more. A few others come besides, whenever the client has waited too long to acknowledge.
func TestProxy_warmH3AllocatesNothing(t *testing.T) {
	if invariant.On || testutil.RaceOn {
		t.Skip("checks allocate")
	}
	const runs = 500
	on := proxy.Listener{HSTS: "max-age=1", AltSvc: proxy.NewAltSvc(443, time.Hour, []string{"*"})}
	for _, streams := range []int{1, 16} {
		h := warm.NewH3(t, &on, streams, serverTLS(t, "h3"))
		before, got := h.Loop.Calls(), h.Got
		if n := testutil.Allocs(runs, h.Exchange); n != 0 {
			t.Errorf("%d streams: %v allocations", streams, n)
		}
		c := h.Loop.Calls().Minus(before)
		if most := (2+min(streams-1, 1))*(runs+1) + 10; c.ReadBatch+c.WriteBatch > most {
			t.Errorf("%d streams: %d reads and %d writes of datagrams", streams, c.ReadBatch, c.WriteBatch)
		}
		if most := (runs + 1) * (2*streams + 4); c.IO() > most || c.Add != 0 || c.Del != 0 {
			t.Errorf("%d streams: more than %d calls: %+v", streams, most, c)
		}
		if n := (h.Got - got) / streams; n != (runs+1)*128 {
			t.Errorf("%d streams: %d bytes of bodies on each", streams, n)
		}
	}
}

// The client's codecs are in it.
func BenchmarkProxy_warmH3(b *testing.B) {
	const streams = 16
	h := warm.NewH3(b, &proxy.Listener{}, streams, serverTLS(b, "h3"))
	b.ReportAllocs()
	b.ResetTimer()
	start := warm.CPUTime(b)
	for range b.N/streams + 1 {
		h.Exchange()
	}
	b.ReportMetric(float64(warm.CPUTime(b)-start)/float64(b.N), "cpu-ns/op")
}
