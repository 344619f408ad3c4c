package engine_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// pair is two reactors in a World with an origin, and a connection of the first one to it.
type pair struct {
	t        testing.TB
	w        *sim.World
	engine   *engine.Engine
	from, to *engine.Reactor
	peer     *sim.Peer
	conn     *engine.Conn
	before   *script // its handler
}

func newPair(t testing.TB, w *sim.World, wrapped wrap) *pair {
	e, err := engine.New(engine.Options{
		Reactors: 2, Kernel: func(i int) (poller.Kernel, error) {
			if wrapped != nil {
				return wrapped(w.Kernel(i)), nil
			}
			return w.Kernel(i), nil
		},
	})
	testutil.Must(t, err)
	p := &pair{t: t, w: w, engine: e, from: e.Reactors()[0], to: e.Reactors()[1], before: &script{}}
	origin := poller.Addr{Path: "/origin"}
	w.Serve(origin).Handle = func(peer *sim.Peer) { p.peer = peer }
	w.Add(p.from)
	w.Add(p.to)
	p.on(p.from, func() {
		if p.conn, err = p.from.Dial(origin, p.before, nil); err != nil {
			t.Fatal(err)
		}
	})
	p.until(func() bool { return p.peer != nil && p.conn.Quiet() && len(p.before.log) == 1 })
	return p
}

func (p *pair) until(done func() bool) {
	p.t.Helper()
	testutil.Must(p.t, p.w.Run(done, 10_000))
}

// on runs f on r.
func (p *pair) on(r *engine.Reactor, f func()) {
	p.t.Helper()
	done := false
	r.Post(&engine.Task{Run: func(*engine.Reactor) {
		f()
		done = true
	}})
	p.until(func() bool { return done })
}

// leave takes the connection off the first reactor.
func (p *pair) leave() (m engine.Moved) {
	p.t.Helper()
	p.on(p.from, func() {
		ref := p.conn.Ref()
		moved, ok := p.conn.Leave()
		if !ok || p.conn.Open() || p.conn.Write([]byte("x")) != engine.ErrClosed {
			p.t.Fatal("it is still there")
		}
		p.from.Defer(&engine.Task{Run: func(r *engine.Reactor) {
			r.Defer(&engine.Task{Run: func(*engine.Reactor) {
				if ref.Conn() != nil {
					p.t.Error("its slot has not gone to another generation")
				}
			}})
		}})
		m = moved
	})
	return m
}

// A connection goes on, on another reactor, where it was left, and its former handler hears of nothing.
func TestMoved_goesOn(t *testing.T) {
	sim.Run(t, 100, func(t testing.TB, w *sim.World) {
		p := newPair(t, w, nil)
		m := p.leave()
		after := &script{onEOF: func(c *engine.Conn) { c.Close(nil) }}
		p.on(p.to, func() {
			c, err := p.to.Adopt(m, after)
			if err != nil || !c.Quiet() || c.Reactor() != p.to {
				t.Fatal(err)
			}
			c.Write([]byte("ping")) //nolint:errcheck // it is open
		})
		p.until(func() bool { return string(p.peer.Received()) == "ping" })
		p.peer.SendString("pong")
		p.until(func() bool { return after.saw("data(pong)") })
		p.peer.Close()
		p.until(func() bool { return len(w.OpenFDs()) == 0 })
		if before, now := p.before.events(), after.events(); before != "open" || now != "data(pong) eof close(<nil>)" {
			t.Fatalf("before: %s; after: %s", before, now)
		}
		if a, b := p.from.Stats(), p.to.Stats(); a.Left != 1 || b.Adopted != 1 || a.Closed != 1 {
			t.Fatalf("%+v %+v", a, b)
		}
	})
}

// What the peer does meanwhile is found by Adopt, which closes the descriptor.
func TestMoved_findsWhatCameOnTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *pair)
		want error
	}{
		"bytes":       {func(p *pair) { p.peer.SendString("x") }, engine.ErrUnasked},
		"bytes, FIN":  {func(p *pair) { p.peer.SendString("x"); p.peer.CloseWrite() }, engine.ErrUnasked},
		"FIN":         {func(p *pair) { p.peer.CloseWrite() }, engine.ErrClosed},
		"RST":         {func(p *pair) { p.peer.Reset() }, syscall.ECONNRESET},
		"the end":     {func(p *pair) { p.engine.Stop() }, engine.ErrStopped},
		"not adopted": {func(*pair) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sim.Run(t, 50, func(t testing.TB, w *sim.World) {
				p := newPair(t, w, nil)
				m := p.leave()
				c.do(p)
				if c.want == engine.ErrStopped {
					if _, err := p.to.Adopt(m, &script{}); err != c.want {
						t.Fatal(err)
					}
				} else {
					arrived := false
					w.After(w.Net.DelayMax*4, func() { arrived = true })
					p.until(func() bool { return arrived })
					p.on(p.to, func() {
						if c.want == nil {
							p.to.Discard(m)
						} else if _, err := p.to.Adopt(m, &script{}); !errors.Is(err, c.want) {
							t.Fatalf("%v, want %v", err, c.want)
						}
					})
				}
				if fds := w.OpenFDs(); len(fds) > 0 {
					t.Fatal(fds)
				}
			})
		})
	}
}

// Only what is idle leaves.
func TestMoved_staysWhenItIsNotIdle(t *testing.T) {
	for name, do := range map[string]func(p *pair){
		"something is queued":  func(p *pair) { p.conn.Write([]byte("x")) }, //nolint:errcheck // it is open
		"it is closed":         func(p *pair) { p.conn.Close(nil) },
		"nothing more is sent": func(p *pair) { p.conn.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, sim.NewWorld(1), nil)
			p.on(p.from, func() {
				do(p)
				if _, ok := p.conn.Leave(); ok {
					t.Error("it left")
				}
			})
		})
	}
}

// watching does not take a descriptor out of its set.
type watching struct{ poller.Kernel }

func (watching) Del(poller.FD) syscall.Errno { return 0 }

// A simulation that did not see a connection that two reactors watch would see nothing.
func TestMoved_canary(t *testing.T) {
	sim.MustFail(t, 5, func(t testing.TB, w *sim.World) {
		p := newPair(t, w, func(k poller.Kernel) poller.Kernel { return watching{k} })
		m := p.leave()
		p.on(p.to, func() { p.to.Adopt(m, &script{}) }) //nolint:errcheck // the World complains
	})
}
