package session_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// house is one of two processes that pass a socket and its connections to and fro.
type house struct {
	w        *sim.World
	first    int // index of its first kernel
	engine   *engine.Engine
	server   *session.Server
	listener *engine.Listener
	giving   *engine.Giving
	received int
}

func newHouse(t testing.TB, w *sim.World, kernels *int, service session.Service, o session.ServerOptions) *house {
	h := &house{w: w, first: *kernels}
	h.engine = worldEngine(t, w, kernels, 1+w.Rand().IntN(2))
	h.server = session.NewServer(h.engine, service, o)
	return h
}

// worldEngine makes an engine of the next kernels of w.
func worldEngine(t testing.TB, w *sim.World, kernels *int, reactors int) *engine.Engine {
	first := *kernels
	*kernels += reactors
	e, err := engine.New(engine.Options{Reactors: reactors, SendLow: 4 << 10, SendMax: 64 << 10, Memory: 1 << 30,
		Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(first + i), nil }})
	testutil.Must(t, err)
	for _, r := range e.Reactors() {
		w.Add(r)
	}
	return e
}

// post runs f on reactor i. Between two ticks a reactor does not count as asleep, so that Post would wake nobody.
func (h *house) post(i int, f func(r *engine.Reactor)) {
	i %= len(h.engine.Reactors())
	h.engine.Reactors()[i].Post(&engine.Task{Run: f})
	h.w.Kernel(h.first + i).Wake()
}

func (h *house) wake() {
	for i := range h.engine.Reactors() {
		h.w.Kernel(h.first + i).Wake()
	}
}

// passTo has to accept, and gives it the connections.
func (h *house) passTo(t testing.TB, to *house) {
	h.engine.Suspend(h.listener)
	if err := to.engine.Resume(to.listener); err != nil {
		t.Error(err)
	}
	h.giving = h.engine.Give(1+h.w.Rand().IntN(4), func(batch []engine.Given) {
		for _, g := range batch {
			h.w.After(time.Duration(h.w.Rand().IntN(2000))*time.Microsecond, func() {
				h.giving.More(1)
				h.wake()
				to.post(to.received, func(r *engine.Reactor) {
					accept := func(c *engine.Conn) engine.Handler { return to.server.Receive(c, g.Progress) }
					if err := to.listener.Receive(r, g.FD, accept); err != nil {
						t.Errorf("not received: %v", err)
					}
				})
				to.received++
			})
		}
	})
	h.wake()
}

// Clients of HTTP/1 go on over one connection, request by request, while it goes from process to process.
func TestSim_givenConnectionsGoOn(t *testing.T) {
	moved, clients := 0, 0
	sim.Run(t, 40, func(t testing.TB, w *sim.World) {
		w.Net.SegmentMin = 64
		rng, kernels := w.Rand(), 0
		asking := worldEngine(t, w, &kernels, 1)
		service := &echo{t: t, w: w, live: map[*echoed]bool{}}
		o := session.ServerOptions{H2C: rng.IntN(2) == 0}
		houses := []*house{newHouse(t, w, &kernels, service, o), newHouse(t, w, &kernels, service, o)}
		front := poller.Addr{IP: netip.MustParseAddrPort("10.0.0.1:80")}
		listen := engine.ListenOptions{Addr: front, DeferAccept: rng.IntN(2) == 0}
		var err error
		if houses[0].listener, err = houses[0].engine.Listen(listen, houses[0].server.Accept); err != nil {
			t.Fatal(err)
		}
		sockets, err := houses[0].engine.Duplicate(houses[0].listener)
		testutil.Must(t, err)
		listen.Suspended = true
		if houses[1].listener, err = houses[1].engine.Adopt(sockets[0], listen, houses[1].server.Accept); err != nil {
			t.Fatal(err)
		}
		var askers []*asker
		for range 4 {
			a := &asker{player: player{t: t, w: w, reactor: asking.Reactors()[0], addr: front, left: 20}}
			askers = append(askers, a)
			a.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { a.dial() }})
		}
		for i := range 4 {
			w.After(time.Duration(i+1)*10*time.Millisecond, func() { houses[i%2].passTo(t, houses[(i+1)%2]) })
		}
		over := func() bool {
			for _, a := range askers {
				if !a.over() {
					return false
				}
			}
			return true
		}
		testutil.Must(t, w.Run(over, 400_000))
		for _, a := range askers {
			if a.dialled != 1 || a.failed > 0 {
				t.Errorf("%d connections, %d requests failed", a.dialled, a.failed)
			}
		}
		clients += len(askers)
		for _, h := range houses {
			moved += h.received
			h.engine.Stop()
		}
		asking.Stop()
		if fds := w.OpenFDs(); len(fds) > 0 || len(service.live) > 0 {
			t.Errorf("descriptors %v are open, %d exchanges", fds, len(service.live))
		}
	})
	t.Logf("%d connections moved %d times", clients, moved)
	if moved < clients {
		t.Errorf("%d connections moved %d times in all", clients, moved)
	}
}
