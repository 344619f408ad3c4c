package upstream_test

import (
	"crypto/tls"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// certificate is one that crypto/tls accepts by itself, made once.
var certificate = sync.OnceValue(func() tls.Certificate {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return s.TLS.Certificates[0]
})

// settled is a reactor that has its turn when no handshake computes: so the seed alone decides what happens.
type settled struct {
	r  *engine.Reactor
	hs []*tlsconn.Handshaker
}

func (s settled) Tick() {
	for _, h := range s.hs {
		for h.Stats().Computing > 0 {
			runtime.Gosched()
		}
	}
	s.r.Tick()
}

// answering is a backend that speaks whatever ALPN yields: a session.Server in the same World.
type answering struct {
	w        *sim.World
	delay    time.Duration
	next     []string // what it agrees to from now on
	versions map[message.Proto]int
}

func (o *answering) Refused(*engine.Reactor, poller.Addr, int, error) {}

func (o *answering) Accept(r *engine.Reactor, s session.Stream) session.Receiver {
	return &reply{origin: o, reactor: r, stream: s}
}

// reply is one request at an answering.
type reply struct {
	origin  *answering
	reactor *engine.Reactor
	stream  session.Stream
	timer   engine.Timer
	gone    bool
}

func (p *reply) OnHead(_ session.Stream, h *message.Head, end bool) {
	p.origin.versions[h.Proto]++
	p.end(end)
}

func (p *reply) OnData(s session.Stream, b []byte, end bool) {
	s.Release(len(b))
	p.end(end)
}

func (p *reply) OnTrailers(session.Stream, *message.Head)    { p.end(true) }
func (p *reply) OnSendable(session.Stream)                   {}
func (p *reply) OnReset(session.Stream, session.Code, error) { p.gone = true }

func (p *reply) end(end bool) {
	if !end {
		return
	}
	p.timer.Run = func(*engine.Reactor) {
		if p.gone {
			return
		}
		h := message.Head{Status: 200, Proto: message.HTTP11, Length: 2}
		if p.stream.SendHead(&h, false) == nil {
			p.stream.SendData([]byte("ok"), true) //nolint:errcheck // the connection is gone
		}
	}
	p.reactor.Arm(&p.timer, p.reactor.Now()+p.origin.w.Rand().Int64N(int64(p.origin.delay)+1))
}

// newAuto is a commune whose backend is o, over TLS.
func newAuto(t testing.TB, w *sim.World, reactors int, uo upstream.Options, o *answering) *commune {
	v := &commune{t: t, w: w}
	w.Net.SegmentMin, w.Net.BufferMin = 256, 256
	all := make([]*tlsconn.Handshaker, 2)
	place := func(first, n int) (*engine.Engine, *tlsconn.Handshaker) {
		e := simulated(t, w, first, n)
		hs := tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Timeout: time.Hour})
		for _, r := range e.Reactors() {
			w.Add(settled{r, all})
		}
		return e, hs
	}
	v.engine, all[0] = place(0, reactors)
	origin, hs := place(reactors, 1)
	all[1] = hs
	o.w, o.versions = w, map[message.Proto]int{}
	srv := session.NewServer(origin, o, session.ServerOptions{})
	base := &tls.Config{Certificates: []tls.Certificate{certificate()}}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{
			Certificates: base.Certificates, NextProtos: o.next, DynamicRecordSizingDisabled: true,
		}, nil
	}
	accept := hs.Server(tlsconn.ServerOptions{Config: base}, srv.Accept)
	if _, err := origin.Listen(engine.ListenOptions{Addr: addr(1)}, accept); err != nil {
		t.Fatal(err)
	}
	uo.Protocol, uo.TLS, uo.Handshaker = upstream.Auto, upstream.TLS{On: true, Insecure: true}, all[0]
	uo.Backends = backend.Of(addr(1).String())
	v.u = upstream.New(v.engine, uo)
	return v
}

// The handshake of the first connection decides; others wait for it instead of making their own.
func TestAuto_firstHandshakeDecides(t *testing.T) {
	sim.Run(t, 5, func(t testing.TB, w *sim.World) {
		for _, c := range []struct {
			next    []string
			version message.Proto
			dials   uint64
		}{
			{[]string{"h2", "http/1.1"}, message.HTTP20, 1},
			{[]string{"http/1.1"}, message.HTTP11, 10},
			{nil, message.HTTP11, 10},
		} {
			o := &answering{next: c.next, delay: time.Second}
			v := newAuto(t, sim.NewWorld(w.Seed()), 1, upstream.Options{}, o)
			for range 10 {
				v.begin(0, 0, 0)
			}
			v.finish()
			v.succeeded()
			if s := v.sum(); o.versions[c.version] != 10 || s.Dialed != c.dials || s.DialFailed != 0 {
				t.Fatalf("%v: %v, %+v", c.next, o.versions, s)
			}
			v.empty()
		}
	})
}

// Backends that change their mind, few connections, several reactors, clients that leave: every exchange is served.
func TestAuto_property(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 10
	}
	var all upstream.Stats
	versions := map[message.Proto]int{}
	sim.Run(t, seeds, func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		reactors := 1 + rng.IntN(3)
		o := &answering{delay: time.Duration(rng.IntN(10)) * time.Millisecond}
		choices := [][]string{{"h2", "http/1.1"}, {"http/1.1"}, nil, {"h2"}}
		o.next = choices[rng.IntN(3)]
		v := newAuto(t, w, reactors, upstream.Options{
			PerBackend: rng.IntN(4), Queue: 1000, QueueTimeout: time.Hour, Streams: []int{0, 1, 3}[rng.IntN(3)],
			Requests:    []int{0, 0, 1, 7}[rng.IntN(4)],
			IdleTimeout: []time.Duration{0, 0, time.Millisecond, 10 * time.Millisecond}[rng.IntN(4)],
			Idle:        []int{0, 0, 0, -1}[rng.IntN(4)],
		}, o)
		faults := rng.IntN(3) == 0
		if faults {
			w.Faults = sim.Faults{ConnectRefused: 0.1, ShortWrite: 0.2, Reset: 0.002}
		}
		if rng.IntN(2) == 0 {
			w.After(30*time.Millisecond, func() { o.next = choices[rng.IntN(4)] })
		}
		for range 30 {
			x := v.begin(rng.IntN(reactors), time.Duration(rng.IntN(60))*time.Millisecond, max(0, rng.IntN(3000)-1500))
			x.waiter.Upgrade = rng.IntN(8) == 0
			if rng.IntN(10) == 0 {
				v.leave(x)
			}
		}
		v.finish()
		for i, x := range v.all {
			if x.err != nil && x.err != errLeft && !faults && !(len(o.next) == 1 && o.next[0] == "h2") {
				t.Fatalf("exchange %d: %v", i, x.err)
			}
		}
		if n := v.u.Options().PerBackend; n > 0 && v.most > n {
			t.Fatalf("%d connections, %d are allowed", v.most, n)
		}
		st := v.sum()
		all.Add(&st)
		for p, n := range o.versions {
			versions[p] += n
		}
		v.empty()
	})
	t.Logf("%v %+v", versions, all)
}
