package engine_test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// yielder is an echo that is idle since its last byte.
type yielder struct {
	echo
	since int64
	busy  bool
	ended *[]int64 // when those were idle since that had to end
}

func (h *yielder) OnOpen(c *engine.Conn) { h.since = c.Reactor().Now() }

func (h *yielder) OnData(c *engine.Conn, in []byte) int {
	h.since = c.Reactor().Now()
	return h.echo.OnData(c, in)
}

func (h *yielder) Idle() bool                     { return !h.busy }
func (h *yielder) IdleSince(c *engine.Conn) int64 { return h.since }

func (h *yielder) OnYield(c *engine.Conn) {
	if h.ended != nil {
		*h.ended = append(*h.ended, h.since)
	}
	c.Finish()
}

// At ConnsMax each newcomer takes the place of the connection that has been idle for longest.
func TestReactor_idleConnectionsYieldToNewcomers(t *testing.T) {
	g := newRig(t, engine.Options{})
	const most = 10
	g.listen(engine.ListenOptions{ConnsMax: most})
	var ended []int64
	var opened []*yielder
	g.accept = func(*engine.Conn) engine.Handler {
		h := &yielder{ended: &ended}
		opened = append(opened, h)
		return h
	}
	var fds []poller.FD
	for range most {
		fds = append(fds, g.loop.Offer(g.door, loopback))
		g.pass(time.Millisecond)
	}
	opened[0].busy = true
	g.inject(fds[1], "x") // the latest of all
	newcomers := func(n int) {
		for range n {
			g.loop.Offer(g.door, loopback)
		}
		g.pass(30 * time.Millisecond)
	}
	newcomers(1)
	if len(opened) != most || len(ended) != 0 {
		t.Fatalf("%d opened, %d ended: they were not idle for long", len(opened), len(ended))
	}
	g.pass(2 * time.Second)
	newcomers(2)
	if len(opened) != most+3 || len(ended) != 3 || !slices.IsSorted(ended) || ended[0] != opened[2].since {
		t.Fatalf("%d opened, ended those that were idle since %v", len(opened), ended)
	}
	if n := g.listener.Conns(); n != most {
		t.Errorf("%d connections, %d allowed", n, most)
	}
	if n := g.reactor.Stats().Yielded; n != 3 {
		t.Errorf("%d counted", n)
	}
	g.pass(time.Minute) // nobody waits any more
	if n := g.listener.Conns(); n != most || len(ended) != 3 {
		t.Errorf("%d connections, %d ended: nobody had come", n, len(ended))
	}
	for _, h := range opened {
		h.busy = true
	}
	newcomers(3)
	if len(opened) != most+3 {
		t.Error("busy connections yielded")
	}
}

// Where descriptors run out, some idle connections are closed.
func TestReactor_idleConnectionsYieldDescriptors(t *testing.T) {
	g := newRig(t, engine.Options{})
	g.listen(engine.ListenOptions{})
	var ended []int64
	opened := 0
	g.accept = func(*engine.Conn) engine.Handler { opened++; return &yielder{ended: &ended} }
	open := func() int { return int(g.reactor.Stats().Conns) }
	const descriptors = 20
	g.kernel.onAccept = func(l poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
		if open() >= descriptors {
			return poller.NoFD, poller.Addr{}, syscall.EMFILE
		}
		return g.loop.Accept(l)
	}
	for range descriptors {
		g.loop.Offer(g.door, loopback)
		g.pass(time.Second)
	}
	for n := range 30 {
		g.loop.Offer(g.door, loopback)
		g.pass(time.Second)
		if opened != descriptors+n+1 {
			t.Fatalf("%d opened, %d have come", opened, descriptors+n+1)
		}
	}
	if !slices.IsSorted(ended) || open() < descriptors-4 {
		t.Errorf("%d are open, %d descriptors; ended those that were idle since %v", open(), descriptors, ended)
	}
	g.kernel.onConnect = func(poller.Addr, *poller.ConnectOptions) (poller.FD, syscall.Errno) {
		return poller.NoFD, syscall.EMFILE
	}
	was := open()
	g.pass(2 * time.Second)
	g.on(func() {
		if _, err := g.reactor.Dial(loopback, &script{}, nil); err != engine.ErrNoDescriptors {
			t.Errorf("dial: %v", err)
		}
	})
	if open() >= was {
		t.Error("no idle connection yields its descriptor to a dial")
	}
}

// The idle connections belong to other reactors than the one that a newcomer comes to.
func TestListener_idleConnectionsOfAllReactorsYield(t *testing.T) {
	t.Parallel()
	const most = 6
	e := start(t, engine.Options{Reactors: 3})
	l := serve(t, e, engine.ListenOptions{ConnsMax: most}, func(*engine.Conn) engine.Handler { return &yielder{} })
	for i := range 3 * most { // also those that came in place of others
		if i >= most {
			speakEcho(t, dialNet(t, l.Addr()), 100)
		}
		c := dialNet(t, l.Addr())
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatalf("newcomer %d: %v", i, err)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return l.Conns() <= most })
	if n := int(e.Stats().Yielded); n < most || n > 4*most {
		t.Errorf("%d yielded to %d newcomers", n, 4*most)
	}
}

// Reactors with few places, idle clients, and newcomers that come at any time: each is served, limits hold, no
// descriptor is left.
func TestSim_idleConnectionsYield(t *testing.T) {
	sim.Run(t, simSeeds/4, func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		e := simulated(t, w, 1+rng.IntN(4), engine.Options{Memory: 1 << 30})
		most, open, highest := 1+rng.IntN(6), 0, 0
		l := serve(t, e, engine.ListenOptions{Addr: loopback, ConnsMax: most}, func(*engine.Conn) engine.Handler {
			open++
			highest = max(highest, open)
			return &counted{open: &open}
		})
		clients, answered := 3*most, 0
		for range clients {
			w.After(time.Duration(rng.Int64N(int64(5*time.Second))), func() {
				p := w.Dial(l.Addr())
				p.SendString("x")
				p.Handle = func(p *sim.Peer) {
					if len(p.Take()) > 0 {
						answered++
					}
					if p.Closed() {
						p.Close()
					}
				}
			})
		}
		if err := w.Run(func() bool { return answered == clients }, 400_000); err != nil {
			t.Fatalf("%d of %d clients answered: %v", answered, clients, err)
		}
		if highest > 2*most { // those that yield are closed at the end of the tick
			t.Errorf("%d connections at one time, %d allowed", highest, most)
		}
		e.Stop()
		if fds := w.OpenFDs(); len(fds) > 0 || l.Conns() != 0 {
			t.Errorf("descriptors %v are open, %d counted", fds, l.Conns())
		}
	})
}

// counted is a yielder that counts itself.
type counted struct {
	yielder
	open *int
}

func (h *counted) OnClose(*engine.Conn, error) { *h.open-- }
