package session_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// muxAsker opens exchanges on a shared connection, several at a time, and dials another one when that is gone.
type muxAsker struct {
	player
	opts   session.MuxOptions
	mux    *session.Mux
	live   map[*muxAsked]bool
	task   engine.Task
	posted bool
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
	testutil.Must(a.t, a.mux.Dial(a.reactor, a.addr, nil))
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
	testutil.Must(a.t, s.SendHead(&h, bare))
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

// Many exchanges on one connection, both ends ours: each gets what was sent to it, and hears what the contract says.
func TestSim_muxContract(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 30
	}
	sim.Run(t, n, func(t testing.TB, w *sim.World) {
		var all []*muxAsker
		play(t, w, 64<<10, session.ServerOptions{H2C: true}, 2_000_000, func(p player) talker {
			p.left = 12
			a := &muxAsker{player: p, live: map[*muxAsked]bool{}}
			all = append(all, a)
			return a
		})
		for _, a := range all {
			if len(a.live) > 0 {
				t.Fatal(len(a.live), "exchanges are still open")
			}
		}
	})
}
