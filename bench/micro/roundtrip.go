package micro

import (
	"io"
	"net/http"
	"runtime"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
)

const (
	callers       = 64 // goroutines
	roundTripWhat = "one GET by one of 64 goroutines with an http.RoundTripper, its answer of two bytes read. " +
		"cpu-ns/op is the processor time of the process, the kernel and the origin of edge's sessions in it"
)

var roundTripEntries = []Entry{
	{"roundtrip/64/edge", "requests of code", roundTripWhat, func(b *testing.B) {
		addr := serveTurn(b)
		e, err := engine.New(engine.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(e.Stop)
		to := proxy.To(upstream.New(e, upstream.Options{Backends: backend.Of(addr)}), nil)
		nothing, err := proxy.NewSnapshot(nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		e.Start()
		roundTrips(b, handler.NewTransport(e, proxy.New(e, nothing).Service(&proxy.Listener{}), to), addr)
	}},
	{"roundtrip/64/nethttp", "requests of code", "as above, http.Transport without compression", func(b *testing.B) {
		t := &http.Transport{MaxIdleConnsPerHost: callers, DisableCompression: true}
		b.Cleanup(t.CloseIdleConnections)
		roundTrips(b, t, serveTurn(b))
	}},
}

// roundTrips measures requests to addr by all callers at a time.
func roundTrips(b *testing.B, t http.RoundTripper, addr string) {
	b.ReportAllocs()
	b.SetParallelism(callers / runtime.GOMAXPROCS(0))
	before := warm.CPUTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", nil)
			if err != nil {
				b.Error(err)
				return
			}
			resp, err := t.RoundTrip(r)
			if err != nil {
				b.Error(err)
				return
			}
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != turnBody {
				b.Errorf("%q, %v", text, err)
			}
			_ = resp.Body.Close()
		}
	})
	b.ReportMetric(float64(warm.CPUTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// turnServer answers what its route takes. Owned by the one reactor of its engine.
type turnServer struct {
	table route.Table[*message.Head]
	local route.Local
	ok    []byte
}

func (t *turnServer) Accept(*engine.Reactor, session.Stream) session.Receiver { return t }
func (t *turnServer) Refused(*engine.Reactor, poller.Addr, int, error)        {}
func (t *turnServer) OnTrailers(session.Stream, *message.Head)                {}
func (t *turnServer) OnSendable(session.Stream)                               {}
func (t *turnServer) OnReset(session.Stream, session.Code, error)             {}
func (t *turnServer) OnData(s session.Stream, p []byte, _ bool)               { s.Release(len(p)) }

func (t *turnServer) OnHead(s session.Stream, h *message.Head, _ bool) {
	answer, err := t.table.Find(h, unasked{}, route.Reading{}, &t.local)
	if err != nil || answer == nil {
		s.Reset(session.Refused)
		return
	}
	if s.SendHead(answer, false) == nil {
		s.SendData(t.ok, true) //nolint:errcheck // the client sees it
	}
}

// serveTurn starts an engine of one reactor that answers, and that ends with b.
func serveTurn(b *testing.B) (addr string) {
	t := &turnServer{ok: []byte(turnBody)}
	if err := t.table.Add(route.Rule{Path: "/"}, &message.Head{Status: 200, Length: int64(len(turnBody))}); err != nil {
		b.Fatal(err)
	}
	return serveOn(b, engine.Options{Reactors: 1}, func(e *engine.Engine) func(*engine.Conn) engine.Handler {
		return session.NewServer(e, t, session.ServerOptions{}).Accept
	})
}
