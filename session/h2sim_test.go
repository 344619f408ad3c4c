package session_test

import (
	"bytes"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/session"
)

// muxAsker opens exchanges on a shared connection, several at a time, and dials another one when that is gone.
type muxAsker struct {
	player
	opts   session.MuxOptions
	mux    *session.Mux
	live   map[*asked]bool
	task   engine.Task
	posted bool
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

// one begins an exchange, and now and then loses interest in it.
func (a *muxAsker) one() {
	rng := a.w.Rand()
	x := &asked{p: &a.player, contract: contract{t: a.t, name: "mux"}}
	if n := rng.IntN(5); n > 0 {
		x.want = bytes.Repeat([]byte("0123456789abcdef"), rng.IntN(1<<(4*n-3)))
	}
	a.live[x] = true
	x.changed = func() {
		if x.over() {
			delete(a.live, x)
			a.askLater()
		}
	}
	s := a.mux.Open(x)
	x.begin(s)
	if rng.IntN(12) == 0 {
		x.later(func() {
			s.Reset(session.Cancelled)
			x.reset = true
			x.finish()
		})
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
			a := &muxAsker{player: p, live: map[*asked]bool{}}
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
