package http3

import (
	"runtime"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// bare answers each request at once.
type bare struct {
	body []byte
	head message.Head
}

func (b *bare) Accept(*engine.Reactor, session.Stream) session.Receiver { return b }
func (b *bare) Refused(*engine.Reactor, poller.Addr, int, error)        {}
func (b *bare) OnReset(session.Stream, session.Code, error)             {}
func (b *bare) OnTrailers(session.Stream, *message.Head)                {}
func (b *bare) OnSendable(session.Stream)                               {}
func (b *bare) OnData(s session.Stream, p []byte, _ bool)               { s.Release(len(p)) }
func (b *bare) OnHead(s session.Stream, _ *message.Head, _ bool) {
	b.head = message.Head{Status: 200, Length: int64(len(b.body))}
	_ = s.SendHead(&b.head, false)
	_, _ = s.SendData(b.body, true)
}

// warm calls f with an exchange of a warm connection, without a network: datagrams go from one codec to the other.
func warm(t testing.TB, f func(exchange func())) {
	g := newRig(t, sim.NewWorld(1), &bare{body: make([]byte, 128)}, session.ServerOptions{}, ServerOptions{})
	c := g.dial()
	c.on = func(ev *h3.Event) {
		if ev.Kind == h3.Data {
			c.c.Release(ev.Stream, len(ev.Body))
		}
	}
	g.pass(time.Second)
	x := g.ends[c.net.Addr()]
	h, room := request("GET", "/"), make([]byte, 0, 2*quic.DatagramMax)
	exchange := func() {
		s, err := c.c.Open(g.r.Now())
		if err == nil {
			err = c.c.SendHead(s, h, true)
		}
		testutil.Must(t, err)
		for {
			d, _ := c.q.AppendDatagram(room, g.r.Now())
			if len(d) > 0 {
				x.q.Receive(d, x.q.Path(), g.r.Now())
				x.events()
				x.c.EndBatch()
			}
			back, _ := x.q.AppendDatagram(room, g.r.Now())
			if len(back) > 0 {
				c.q.Receive(back, c.q.Path(), g.r.Now())
				c.events()
			}
			if len(d)+len(back) == 0 {
				break
			}
		}
		if c.c.Streams() != 0 || x.c.Streams() != 0 {
			t.Fatal("the exchange is not over")
		}
	}
	g.do(func() { f(exchange) })
}

func TestServer_warmExchangeAllocatesNothing(t *testing.T) {
	warm(t, func(exchange func()) {
		for range 500 {
			exchange()
		}
		if n := testutil.Allocs(1000, exchange); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// Both ends: the codecs of a client and of the server, with their ciphers, and the session.
func BenchmarkServer_warmH3(b *testing.B) {
	b.ReportAllocs()
	warm(b, func(exchange func()) {
		for b.Loop() {
			exchange()
		}
	})
}

// What a session adds to an idle connection of QUIC.
func TestServer_memoryOfAnIdleConnection(t *testing.T) {
	g := newRig(t, sim.NewWorld(1), &bare{}, session.ServerOptions{}, ServerOptions{})
	x := g.ends[g.dial().net.Addr()]
	const n = 1000
	kept := make([]*conn, n)
	before := testutil.Heap()
	g.do(func() {
		for i := range kept {
			kept[i] = g.server.newConn(x)
		}
	})
	each := int(testutil.Heap()-before) / n
	runtime.KeepAlive(kept)
	t.Logf("%d bytes", each)
	if each > 1<<10 {
		t.Errorf("the session of an idle connection holds %d bytes", each)
	}
}
