package proxy_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

func serverTLS(t testing.TB, protocol string) *tls.Config {
	cert, key := testutil.NewAuthority(t).Issue(t, nil, "localhost")
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		NextProtos:   []string{protocol},
	}
}

// A warm request by HTTP/2 allocates nothing; over TLS what crypto/tls allocates for a record that is read, of which
// there is one for all the requests that came together, and nothing for what is written. Each costs a read and a write
// on the origin's side; the client's side shares its own. Nor does telling clients of HTTPS and HTTP/3 allocate.
func TestProxy_warmH2AllocatesNothing(t *testing.T) {
	if invariant.On || testutil.RaceOn {
		t.Skip("checks allocate")
	}
	const runs = 500
	on := proxy.Listener{HSTS: "max-age=1", AltSvc: proxy.NewAltSvc(443, time.Hour, []string{"*", "!a.b", "!*.d"})}
	for _, streams := range []int{1, 16} {
		for _, config := range []*tls.Config{nil, serverTLS(t, "h2")} {
			h := warm.NewH2(t, &on, streams, runs+1, config)
			before := h.Loop.Calls()
			allowed := 0.0
			if config != nil {
				allowed = 1
			}
			if n := testutil.Allocs(runs, h.Exchange); n > allowed {
				t.Errorf("%d streams, TLS %v: %v allocations", streams, config != nil, n)
			}
			c := h.Loop.Calls().Minus(before)
			if most := (runs + 1) * (2*streams + 3); c.IO() > most || c.Add != 0 || c.Del != 0 {
				t.Errorf("%d streams, TLS %v: more than %d calls: %+v", streams, config != nil, most, c)
			}
		}
	}
}

func benchmarkH2(b *testing.B, config *tls.Config, on *proxy.Listener) {
	const streams = 16
	h := warm.NewH2(b, on, streams, b.N/streams+1, config)
	b.ReportAllocs()
	b.ResetTimer()
	start := warm.CPUTime(b)
	for range b.N/streams + 1 {
		h.Exchange()
	}
	b.ReportMetric(float64(warm.CPUTime(b)-start)/float64(b.N), "cpu-ns/op")
}

func BenchmarkProxy_warmH2(b *testing.B)    { benchmarkH2(b, nil, &proxy.Listener{}) }
func BenchmarkProxy_warmH2TLS(b *testing.B) { benchmarkH2(b, serverTLS(b, "h2"), &proxy.Listener{}) }

// As warmH2TLS, where clients are told of HTTP/3.
func BenchmarkProxy_warmH2AltSvc(b *testing.B) {
	on := proxy.Listener{AltSvc: proxy.NewAltSvc(443, 24*time.Hour, nil)}
	benchmarkH2(b, serverTLS(b, "h2"), &on)
}
