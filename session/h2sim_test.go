package session_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// muxAsker opens exchanges on a shared connection, several at a time, and dials another one when that is gone.
type muxAsker struct {
	t       testing.TB
	w       *sim.World
	reactor *engine.Reactor
	addr    poller.Addr
	opts    session.MuxOptions
	head    message.Head
	left    int // exchanges to be opened
	failed  int
	mux     *session.Mux
	live    map[*muxAsked]bool
	gone    int
	dialled int
	task    engine.Task
	posted  bool
}

// muxAsked is one exchange: it sends a body and wants it back, or loses interest.
type muxAsked struct {
	contract
	a    *muxAsker
	body body
	want []byte
	got  []byte
	fed  int // received, to be released
	s    session.Stream
}

func (a *muxAsker) dial() {
	a.mux = &session.Mux{}
	a.mux.Init(a, &a.head, &a.opts)
	a.dialled++
	if err := a.mux.Dial(a.reactor, a.addr, nil); err != nil {
		a.t.Fatal(err)
	}
	a.askLater()
}

func (a *muxAsker) askLater() {
	if !a.posted {
		a.posted = true
		a.task.Run = func(*engine.Reactor) { a.posted = false; a.ask() }
		a.reactor.Defer(&a.task)
	}
}

func (a *muxAsker) ask() {
	for a.left > 0 && len(a.live) < 6 && a.mux.Usable() {
		a.left--
		a.one()
	}
	if a.left == 0 && len(a.live) == 0 {
		a.mux.Shutdown()
	}
}

func (a *muxAsker) one() {
	rng := a.w.Rand()
	x := &muxAsked{a: a, contract: contract{t: a.t, name: "mux"}}
	if n := rng.IntN(5); n > 0 {
		x.want = bytes.Repeat([]byte("0123456789abcdef"), rng.IntN(1<<(4*n-3)))
	}
	a.live[x] = true
	h := message.Head{Length: int64(len(x.want))}
	h.SetMethod("POST")
	h.SetTarget("/")
	h.SetAuthority("h")
	if rng.IntN(2) == 0 {
		h.Length = message.LengthUnknown
	}
	s := a.mux.Open(x)
	x.s = s
	x.body.held, x.body.ended = append([]byte(nil), x.want...), true
	bare := len(x.want) == 0
	x.contract.out, x.body.endSent = bare, bare
	if err := s.SendHead(&h, bare); err != nil {
		a.t.Fatal(err)
	}
	if !bare {
		x.OnSendable(s)
	}
	if rng.IntN(12) == 0 {
		a.w.After(time.Duration(rng.IntN(5000))*time.Microsecond, func() {
			a.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
				if a.live[x] {
					s.Reset(session.Cancelled)
					x.reset = true
					x.end()
				}
			}})
			a.w.Kernel(a.reactor.Index()).Wake()
		})
	}
}

func (x *muxAsked) OnHead(_ session.Stream, h *message.Head, end bool) {
	if x.gotHead(h.Status >= 200, end); h.Status != 200 {
		x.t.Fatal(h.Status)
	}
	x.end()
}

func (x *muxAsked) OnData(s session.Stream, p []byte, end bool) {
	x.gotData(end)
	x.got = append(x.got, p...)
	if x.a.w.Rand().IntN(8) == 0 { // now and then it takes its time
		n, a := len(p), x.a
		a.w.After(time.Duration(a.w.Rand().IntN(5000))*time.Microsecond, func() {
			a.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
				if a.live[x] {
					s.Release(n)
				}
			}})
			a.w.Kernel(a.reactor.Index()).Wake()
		})
	} else {
		s.Release(len(p))
	}
	x.end()
}

func (x *muxAsked) OnTrailers(s session.Stream, _ *message.Head) { x.OnData(s, nil, true) }

func (x *muxAsked) OnSendable(s session.Stream) {
	x.alive("sendable")
	x.body.send(s)
	x.contract.out = x.body.endSent
	x.end()
}

func (x *muxAsked) OnReset(session.Stream, session.Code, error) {
	x.gotReset()
	x.a.failed++
	x.end()
}

func (x *muxAsked) end() {
	if x.in && !bytes.Equal(x.got, x.want) {
		x.t.Fatalf("%d bytes came back of %d", len(x.got), len(x.want))
	}
	if x.over() {
		delete(x.a.live, x)
		x.a.askLater()
	}
}

func (a *muxAsker) OnRoom(*session.Mux) { a.askLater() }

func (a *muxAsker) OnDraining(*session.Mux) {}

func (a *muxAsker) OnGone(m *session.Mux, _ error) {
	a.gone++
	if m.Streams() > 0 || len(a.live) > 0 {
		a.t.Fatal(len(a.live), "exchanges are still open")
	}
	if a.left > 0 {
		a.reactor.Defer(&engine.Task{Run: func(*engine.Reactor) { a.dial() }})
	}
}

func playMux(t testing.TB, w *sim.World) {
	e, err := engine.New(engine.Options{
		Reactors: 2, SendLow: 4 << 10, SendMax: 64 << 10,
		Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Net.SegmentMin = 64
	service := &echo{t: t, w: w, live: map[*echoed]bool{}}
	srv := session.NewServer(e, service, session.ServerOptions{H2C: true})
	addr := poller.Addr{IP: netip.MustParseAddrPort("10.0.0.1:80")}
	if _, err := e.Listen(engine.ListenOptions{Addr: addr}, srv.Accept); err != nil {
		t.Fatal(err)
	}
	for _, r := range e.Reactors() {
		w.Add(r)
	}
	var askers []*muxAsker
	for i := range 3 {
		a := &muxAsker{t: t, w: w, reactor: e.Reactors()[i%2], addr: addr, left: 12, live: map[*muxAsked]bool{}}
		askers = append(askers, a)
		a.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { a.dial() }})
	}
	over := func() bool {
		for _, a := range askers {
			if a.left > 0 || len(a.live) > 0 || a.gone < a.dialled {
				return false
			}
		}
		return len(service.live) == 0 && len(w.OpenFDs()) == len(e.Reactors()) && held(e) == 0
	}
	if err := w.Run(over, 2_000_000); err != nil {
		t.Fatal(err)
	}
	for _, a := range askers {
		if a.failed > 0 && w.Faults == (sim.Faults{}) {
			t.Fatal(a.failed, "exchanges failed without a fault")
		}
	}
}

// Many exchanges on one connection, both ends ours: each gets what was sent to it, and hears what the contract says.
func TestSim_muxContract(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 30
	}
	sim.Run(t, n, func(t testing.TB, w *sim.World) {
		if w.Seed()%2 == 0 {
			w.Faults = sim.Faults{ShortWrite: 0.2, Reset: 0.002, ConnectRefused: 0.05, AcceptAborted: 0.05}
		}
		playMux(t, w)
	})
}
