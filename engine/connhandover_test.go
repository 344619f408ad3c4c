package engine_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// guest is a script whose connection may go when stays is false.
type guest struct {
	script
	stays    bool
	released int
	panics   bool
}

func (h *guest) OnRelease(*engine.Conn) (engine.Progress, bool) {
	if h.panics {
		panic(errors.New("released"))
	}
	if h.stays {
		return engine.Progress{}, false
	}
	h.released++
	return engine.Progress{Requests: 7, Idle: time.Second}, true
}

// lodger is an echo whose connection may go at any time.
type lodger struct{ echo }

func (lodger) OnRelease(*engine.Conn) (engine.Progress, bool) {
	return engine.Progress{Requests: 1}, true
}

func lodgers(*engine.Conn) engine.Handler { return lodger{} }

// newGuest opens a connection on a suspended listener.
func newGuest(t *testing.T) (g *rig, h *guest, c *engine.Conn, fd poller.FD) {
	g = newRig(t, engine.Options{SendLow: 8})
	h = &guest{}
	c, fd = g.open(h)
	g.engine.Suspend(g.listener)
	return g, h, c, fd
}

// give begins Giving and returns what was given so far.
func (g *rig) give(credit int) (*engine.Giving, *[]engine.Given) {
	var given []engine.Given
	giving := g.engine.Give(credit, func(batch []engine.Given) { given = append(given, batch...) })
	g.ticks(3)
	return giving, &given
}

// An idle connection goes at once, its handler hears of OnRelease last, and its descriptor stays open.
func TestGive_anIdleConnection(t *testing.T) {
	g, h, c, fd := newGuest(t)
	_, given := g.give(1)
	want := engine.Given{FD: fd, Listener: g.listener, Progress: engine.Progress{Requests: 7, Idle: time.Second}}
	if len(*given) != 1 || (*given)[0] != want || h.released != 1 || !g.loop.Sock(fd).Open {
		t.Fatalf("given %+v, released %d times, open %v", *given, h.released, g.loop.Sock(fd).Open)
	}
	g.want(h.events(), "open")
	if s := g.reactor.Stats(); s.Released != 1 || s.Closed != 1 || g.engine.Conns() != 0 || g.listener.Conns() != 0 {
		t.Errorf("%+v; %d connections, %d of the listener", s, g.engine.Conns(), g.listener.Conns())
	}
	if c.Open() || c.Write([]byte("x")) != engine.ErrClosed {
		t.Error("it is still there")
	}
}

// A busy connection stays until nothing of it is known here, whatever keeps it.
func TestGive_aBusyConnection(t *testing.T) {
	for name, step := range map[string]struct {
		begin, end func(g *rig, h *guest, c *engine.Conn, fd poller.FD)
	}{
		"bytes are queued": {
			begin: func(g *rig, _ *guest, c *engine.Conn, _ poller.FD) {
				g.loop.SendMax = 4
				g.on(func() { c.Write([]byte("0123456789")) })
			},
			end: func(g *rig, _ *guest, _ *engine.Conn, fd poller.FD) {
				g.loop.SendMax = 0
				g.loop.Drained(fd)
			},
		},
		"bytes are kept": {
			begin: func(g *rig, h *guest, _ *engine.Conn, fd poller.FD) {
				h.onData = func(_ *engine.Conn, in []byte) int { return 0 }
				g.inject(fd, "half")
			},
			end: func(g *rig, h *guest, c *engine.Conn, fd poller.FD) {
				h.onData = func(_ *engine.Conn, in []byte) int { c.Write(in); return len(in) }
				g.inject(fd, "whole")
			},
		},
		"an exchange": {
			begin: func(_ *rig, h *guest, _ *engine.Conn, _ poller.FD) { h.stays = true },
			end: func(g *rig, h *guest, c *engine.Conn, _ poller.FD) {
				h.stays = false
				g.on(func() { c.Write(make([]byte, 5000)) }) // it leaves at once, without the queue
			},
		},
		"an exchange that ends without an answer": {
			begin: func(_ *rig, h *guest, _ *engine.Conn, _ poller.FD) { h.stays = true },
			end: func(g *rig, h *guest, _ *engine.Conn, _ poller.FD) {
				h.stays = false
				g.pass(time.Second)
			},
		},
		"its listener accepts": {
			begin: func(g *rig, _ *guest, _ *engine.Conn, _ poller.FD) { g.engine.Resume(g.listener) },
			end: func(g *rig, _ *guest, _ *engine.Conn, _ poller.FD) {
				g.engine.Suspend(g.listener)
				g.pass(time.Second)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, h, c, fd := newGuest(t)
			step.begin(g, h, c, fd)
			_, given := g.give(1)
			g.pass(time.Second)
			if len(*given) > 0 {
				t.Fatal("it has gone")
			}
			step.end(g, h, c, fd)
			g.ticks(3)
			if len(*given) != 1 || h.released != 1 || h.saw("close(<nil>)") {
				t.Fatalf("%d given, released %d times; %s", len(*given), h.released, h.events())
			}
		})
	}
}

// What has a Layer, is not a Releaser, was dialled or is about to close stays. So does all after End.
func TestGive_notThese(t *testing.T) {
	for name, begin := range map[string]func(g *rig, h *guest, c *engine.Conn){
		"a layer": func(g *rig, h *guest, c *engine.Conn) { g.on(func() { c.Wire().Hold(h, h) }) },
		"told addresses": func(g *rig, _ *guest, c *engine.Conn) {
			g.on(func() { c.Wire().Told(poller.Addr{}, poller.Addr{}) })
		},
		"no handler": func(g *rig, _ *guest, c *engine.Conn) { g.on(func() { c.SetHandler(&script{}) }) },
		"a closing one": func(g *rig, _ *guest, c *engine.Conn) {
			g.on(func() { c.Close(nil) })
		},
	} {
		g, h, c, _ := newGuest(t)
		g.dial(&guest{})
		begin(g, h, c)
		_, given := g.give(1)
		g.pass(100 * time.Millisecond)
		if len(*given) > 0 {
			t.Errorf("%s: it was given", name)
		}
	}
	g, h, c, _ := newGuest(t)
	h.stays = true
	giving, given := g.give(1)
	giving.End()
	h.stays = false
	g.on(func() { c.Write([]byte("x")) })
	g.pass(time.Second)
	if len(*given) > 0 || !c.Open() || engine.Gives(c) {
		t.Error("after End: it was given")
	}
}

// A handler that panics in OnRelease costs its connection only.
func TestGive_panic(t *testing.T) {
	g, h, _, fd := newGuest(t)
	h.panics = true
	_, given := g.give(2)
	g.pass(time.Second)
	if len(*given) > 0 || g.loop.Sock(fd).Open || g.reactor.Stats().Panics != 1 {
		t.Errorf("%d given; %+v", len(*given), g.reactor.Stats())
	}
}

// No more go than there is credit for, and More lets the next ones go.
func TestGive_credit(t *testing.T) {
	g := newRig(t, engine.Options{})
	for range 10 {
		g.open(&guest{})
	}
	g.engine.Suspend(g.listener)
	giving, given := g.give(3)
	g.pass(time.Second)
	if len(*given) != 3 {
		t.Fatalf("%d given, 3 allowed", len(*given))
	}
	giving.More(4)
	g.ticks(3)
	if len(*given) != 7 {
		t.Fatalf("%d given, 7 allowed", len(*given))
	}
	giving.More(100)
	g.ticks(3)
	if len(*given) != 10 {
		t.Fatalf("%d given of 10", len(*given))
	}
}

// No batch and no tick gives more than GiveMax connections.
func TestGive_aFewInEachTick(t *testing.T) {
	const many = 3*engine.GiveMax + 1
	g := newRig(t, engine.Options{})
	for range many {
		g.open(&guest{})
	}
	g.engine.Suspend(g.listener)
	given := 0
	g.engine.Give(many, func(batch []engine.Given) {
		if given += len(batch); len(batch) > engine.GiveMax {
			t.Errorf("a batch of %d", len(batch))
		}
	})
	for n := 0; given < many; n++ {
		before := given
		g.reactor.Tick()
		if given-before > engine.GiveMax || n > 10 {
			t.Fatalf("%d given in tick %d, %d in all", given-before, n, given)
		}
	}
}

// What was given goes on in another engine, also with bytes that nobody had read, and counts there.
func TestListener_receive(t *testing.T) {
	g, _, _, fd := newGuest(t)
	g.listener.SetConnsMax(1)
	_, given := g.give(1)
	g.loop.Inject(fd, []byte("late"))
	h := &script{}
	accept := func(*engine.Conn) engine.Handler { return h }
	g.on(func() {
		testutil.Must(t, g.listener.Receive(g.reactor, (*given)[0].FD, accept))
	})
	g.ticks(2)
	g.want(h.events(), "data(late)")
	s := g.reactor.Stats()
	if s.Received != 1 || s.Conns != 1 || g.listener.Conns() != 1 {
		t.Errorf("%+v; %d of the listener", s, g.listener.Conns())
	}
	g.loop.Finish(fd)
	g.ticks(2)
	g.want(h.events(), "data(late) eof")
}

// A connection without a handler, and one that has ended, are closed.
func TestListener_receiveRefuses(t *testing.T) {
	g, _, _, fd := newGuest(t)
	_, given := g.give(1)
	g.on(func() {
		g.listener.Receive(g.reactor, (*given)[0].FD, func(*engine.Conn) engine.Handler { panic(errors.New("accept")) })
	})
	g.ticks(2)
	if g.loop.Sock(fd).Open || g.listener.Conns() != 0 || g.reactor.Stats().Panics != 1 {
		t.Errorf("open %v, %d connections", g.loop.Sock(fd).Open, g.listener.Conns())
	}
	e := start(t, engine.Options{Reactors: 1})
	l := serve(t, e, engine.ListenOptions{}, echoes)
	lone, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	testutil.Must(t, err)
	do(e.Reactors()[0], func() { err = l.Receive(e.Reactors()[0], poller.FD(lone), echoes) })
	if _, open := unix.FcntlInt(uintptr(lone), unix.F_GETFD, 0); err == nil || open == nil || l.Conns() != 0 {
		t.Errorf("no connection was received: %v, %v", err, open)
	}
}

// Thousands of idle connections go to another engine, with as many reactors or not, and each client keeps its socket.
func TestGive_manyIdleConnections(t *testing.T) {
	many := 1000
	if soak() {
		many = 9000
	}
	old := start(t, engine.Options{Reactors: 2})
	l := serve(t, old, engine.ListenOptions{}, lodgers)
	var clients []net.Conn
	for range many {
		clients = append(clients, dialNet(t, l.Addr()))
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return l.Conns() == many })
	h := takeOver(t, old, []*engine.Listener{l}, engine.Options{Reactors: 3}, false)
	h.pass()
	begun := time.Now()
	var n atomic.Int64
	var giving atomic.Pointer[engine.Giving]
	take := func(batch []engine.Given) {
		to := h.next.Reactors()[int(n.Add(1))%3]
		to.Post(&engine.Task{Run: func(r *engine.Reactor) {
			for _, g := range batch {
				if err := h.are[0].Receive(r, g.FD, echoes); err != nil {
					t.Error(err)
				}
			}
			if g := giving.Load(); g != nil {
				g.More(len(batch))
			}
		}})
	}
	giving.Store(old.Give(4*engine.GiveMax, take))
	giving.Load().More(1) // what came before it was stored
	testutil.Eventually(t, testutil.Patience, func() bool { return h.next.Conns() == many })
	took := time.Since(begun)
	s := old.Stats()
	t.Logf("%d connections in %v, %d batches; %d slow ticks", many, took, n.Load(), s.SlowTicks)
	if s.Released != uint64(many) || h.next.Stats().Received != uint64(many) || old.Conns() != 0 {
		t.Errorf("%d released, %d received, %d left", s.Released, h.next.Stats().Received, old.Conns())
	}
	old.Stop()
	for _, c := range clients {
		_, err := c.Write([]byte("x"))
		testutil.Must(t, err)
	}
	for _, c := range clients {
		_, err := c.Read(make([]byte, 1))
		testutil.Must(t, err)
	}
}

// In a simulation echoes go to and fro between two engines while clients talk: no byte is lost, none is swapped.
func TestSim_givenConnectionsLoseNoByte(t *testing.T) {
	sim.Run(t, simSeeds/8, func(t testing.TB, w *sim.World) {
		rng, kernels := w.Rand(), 0
		engines := []*engine.Engine{simEngine(t, w, &kernels), simEngine(t, w, &kernels)}
		first := []int{0, len(engines[0].Reactors())} // kernels
		o := engine.ListenOptions{Addr: loopback}
		var all [2]*engine.Listener
		var err error
		if all[0], err = engines[0].Listen(o, lodgers); err != nil {
			t.Fatal(err)
		}
		groups, err := engines[0].Duplicate(all[0])
		testutil.Must(t, err)
		o.Suspended = true
		if all[1], err = engines[1].Adopt(groups[0], o, lodgers); err != nil {
			t.Fatal(err)
		}
		left, received := 12, 0
		for range left {
			w.After(time.Duration(rng.Int64N(int64(20*time.Millisecond))), func() { talk(t, w, all[0].Addr(), &left) })
		}
		wake := func(i int) {
			for k := range engines[i].Reactors() {
				w.Kernel(first[i] + k).Wake()
			}
		}
		for turn := range 4 {
			from, to := turn%2, (turn+1)%2
			w.After(time.Duration(turn+1)*7*time.Millisecond, func() {
				engines[from].Suspend(all[from])
				if err := engines[to].Resume(all[to]); err != nil {
					t.Error(err)
				}
				engines[from].Give(1000, func(batch []engine.Given) {
					reactors := engines[to].Reactors()
					for _, g := range batch {
						received++
						reactors[received%len(reactors)].Post(&engine.Task{Run: func(r *engine.Reactor) {
							all[to].Receive(r, g.FD, lodgers) //nolint:errcheck // a client may have left
						}})
					}
					wake(to)
				})
				wake(from)
			})
		}
		testutil.Must(t, w.Run(func() bool { return left == 0 }, 400_000))
		for _, e := range engines {
			e.Stop()
		}
		if fds := w.OpenFDs(); len(fds) > 0 {
			t.Errorf("descriptors %v are open", fds)
		}
	})
}

// talk sends pieces of a text at random times and wants it back.
func talk(t testing.TB, w *sim.World, a poller.Addr, left *int) {
	const text = "the quick brown fox jumps over the lazy dog, again and again and again and again"
	p, sent := w.Dial(a), 0
	var speak func()
	speak = func() {
		if n := min(1+w.Rand().IntN(20), len(text)-sent); n > 0 {
			p.SendString(text[sent : sent+n])
			sent += n
			w.After(time.Duration(w.Rand().Int64N(int64(5*time.Millisecond))), speak)
			return
		}
		p.CloseWrite()
	}
	w.After(time.Duration(w.Rand().Int64N(int64(5*time.Millisecond))), speak)
	p.Handle = func(p *sim.Peer) {
		if p.Closed() {
			if p.Err() != nil || string(p.Take()) != text {
				t.Errorf("a client got %v: %v", p.Err(), p)
			}
			p.Handle = nil
			*left--
		}
	}
}
