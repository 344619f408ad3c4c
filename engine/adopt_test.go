package engine_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// heirs is an engine with listeners, and the one that takes them over.
type heirs struct {
	t         testing.TB
	old, next *engine.Engine
	were, are []*engine.Listener
}

// takeOver has an engine with o adopt second descriptors of the sockets of all, suspended.
func takeOver(t testing.TB, from *engine.Engine, all []*engine.Listener, o engine.Options, deferred bool) *heirs {
	t.Helper()
	h := &heirs{t: t, old: from, next: start(t, o), were: all}
	h.are = adoptAll(t, from, h.next, all, deferred)
	return h
}

func adoptAll(t testing.TB, from, to *engine.Engine, all []*engine.Listener, deferred bool) (are []*engine.Listener) {
	t.Helper()
	groups, err := from.Duplicate(all...)
	testutil.Must(t, err)
	for i, sockets := range groups {
		l, err := to.Adopt(sockets, engine.ListenOptions{DeferAccept: deferred, Suspended: true}, echoes)
		if err != nil || l.Addr() != all[i].Addr() {
			t.Fatalf("listener %d of %v: %v", i, all[i].Addr(), err)
		}
		are = append(are, l)
	}
	return are
}

// pass has the new engine accept in place of the old one.
func (h *heirs) pass() {
	h.t.Helper()
	h.old.Suspend(h.were...)
	testutil.Must(h.t, h.next.Resume(h.are...))
}

func listeners(t testing.TB, e *engine.Engine, n int, o engine.ListenOptions) (all []*engine.Listener) {
	t.Helper()
	for range n {
		o.Addr = free(t)
		all = append(all, serve(t, e, o, echoes))
	}
	return all
}

// Sockets go from engine to engine while clients connect, and with other numbers of reactors: nobody is cut off.
func TestEngine_adoptUnderConnectingClients(t *testing.T) {
	rounds, many := 6, 20
	if soak() {
		rounds, many = 50, 300
	}
	counts := []int{1, 2, 1, 4, 2, 1}
	for name, o := range map[string]engine.ListenOptions{"deferred": {DeferAccept: true}, "at once": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := start(t, engine.Options{Reactors: counts[0]})
			all := listeners(t, old, many, o)
			crowds := []*crowd{gather(all[0].Addr(), 4), gather(all[many-1].Addr(), 4)}
			for i := range rounds {
				before := crowds[0].answered.Load()
				h := takeOver(t, old, all, engine.Options{Reactors: counts[(i+1)%len(counts)]}, o.DeferAccept)
				h.pass()
				testutil.Eventually(t, testutil.Patience, func() bool { return crowds[0].answered.Load() > before+200 })
				old.Abandon(all...)
				h.next.Join(h.are...)
				testutil.Eventually(t, testutil.Patience, func() bool { return old.Conns() == 0 })
				old.Stop()
				old, all = h.next, h.are
			}
			for _, c := range crowds {
				c.dismiss(t)
			}
		})
	}
}

// Clients that are connected and say nothing until the sockets have gone to another engine are served by that one.
func TestEngine_adoptKeepsClientsThatSpeakLate(t *testing.T) {
	old := start(t, engine.Options{Reactors: 2})
	all := listeners(t, old, 3, engine.ListenOptions{DeferAccept: true})
	h := takeOver(t, old, all, engine.Options{Reactors: 1}, true)
	old.Suspend(all...)
	var late []net.Conn
	for i := range 64 {
		late = append(late, dialNet(t, all[i%3].Addr()))
	}
	h.pass()
	old.Abandon(all...)
	old.Stop()
	for _, c := range late {
		speakEcho(t, c, 100)
	}
}

// A new engine that ends gives nothing away: the old one accepts again by its own descriptors.
func TestEngine_takesBack(t *testing.T) {
	for _, deferred := range []bool{true, false} {
		old := start(t, engine.Options{Reactors: 2})
		all := listeners(t, old, 5, engine.ListenOptions{DeferAccept: deferred})
		c := gather(all[0].Addr(), 4)
		for range 3 {
			h := takeOver(t, old, all, engine.Options{Reactors: 1}, deferred)
			old.Suspend(all...)
			silent := dialNet(t, all[1].Addr()) // it waits in a queue that two processes have
			h.next.Stop()
			testutil.Must(t, old.Resume(all...))
			speakEcho(t, silent, 100)
			before := c.answered.Load()
			testutil.Eventually(t, testutil.Patience, func() bool { return c.answered.Load() > before+50 })
		}
		c.dismiss(t)
	}
}

// A suspended listener accepts nothing, a drain leaves it alone, and Resume ends the drain.
func TestEngine_suspend(t *testing.T) {
	e := start(t, engine.Options{Reactors: 2})
	l := serve(t, e, engine.ListenOptions{}, echoes)
	dialNet(t, l.Addr())
	testutil.Eventually(t, testutil.Patience, func() bool { return l.Conns() == 1 })
	e.Suspend(l)
	second := dialNet(t, l.Addr())
	second.Write([]byte("x"))
	over := make(chan bool)
	go func() { over <- e.Drain(time.Minute) }()
	testutil.Eventually(t, testutil.Patience, e.Draining)
	e.Stats() // a task of each reactor, which would have accepted by now
	e.Stats()
	if n := l.Conns(); n != 1 {
		t.Fatalf("%d connections, want 1", n)
	}
	testutil.Must(t, e.Resume(l))
	if <-over {
		t.Error("the drain found no connection")
	}
	if b := make([]byte, 1); true {
		if _, err := second.Read(b); err != nil || l.Closed() || e.Draining() {
			t.Fatalf("%v, closed %v, draining %v", err, l.Closed(), e.Draining())
		}
	}
}

// A connection that waited for a place is served when its listener is suspended: no other process has it.
func TestReactor_suspendPlacesTheOneThatWaits(t *testing.T) {
	g := newRig(t, engine.Options{})
	g.listen(engine.ListenOptions{ConnsMax: 1})
	accepted := 0
	g.accept = func(*engine.Conn) engine.Handler { accepted++; return &script{} }
	g.loop.Offer(g.door, loopback)
	g.loop.Offer(g.door, loopback)
	g.ticks(3)
	if accepted != 1 {
		t.Fatalf("%d accepted, 1 allowed", accepted)
	}
	g.engine.Suspend(g.listener)
	g.loop.Offer(g.door, loopback)
	g.pass(time.Second)
	if accepted != 2 || g.listener.Conns() != 2 {
		t.Fatalf("%d accepted, %d counted", accepted, g.listener.Conns())
	}
	g.listener.SetConnsMax(0)
	testutil.Must(t, g.engine.Resume(g.listener))
	g.ticks(3)
	if accepted != 3 {
		t.Fatalf("%d accepted after Resume", accepted)
	}
}

// An upgrade that fails gives a listening socket back with another backlog than the gate asked for before.
func TestEngine_resumedGate(t *testing.T) {
	g := newRig(t, engine.Options{})
	full := gate(true)
	g.listen(engine.ListenOptions{Gate: &full})
	g.loop.Offer(g.door, loopback)
	g.ticks(2)
	g.engine.Suspend(g.listener)
	testutil.Must(t, g.engine.Resume(g.listener))
	g.loop.Offer(g.door, loopback)
	g.pass(30 * time.Millisecond)
	if !slices.Equal(g.kernel.backlogs, []int{7, 7}) {
		t.Errorf("backlogs of %v", g.kernel.backlogs)
	}
}

// A socket that was bound without SO_REUSEPORT, as systemd does, is the only one: its reactor accepts for all.
func TestEngine_adoptWithoutReusePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testutil.Must(t, err)
	defer l.Close()
	e := start(t, engine.Options{Reactors: 3})
	sl, err := e.Adopt([]poller.FD{fdOf(t, l.(*net.TCPListener))}, engine.ListenOptions{}, echoes)
	testutil.Must(t, err)
	for range 60 {
		dialNet(t, sl.Addr()).Write([]byte("x"))
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return sl.Conns() == 60 })
	for i, r := range e.Reactors() {
		var n int64
		do(r, func() { n = r.Stats().Conns })
		if n < 10 {
			t.Errorf("reactor %d has %d of 60 connections", i, n)
		}
	}
}

func fdOf(t testing.TB, l *net.TCPListener) poller.FD {
	t.Helper()
	f, err := l.File()
	testutil.Must(t, err)
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	testutil.Must(t, err)
	return poller.FD(fd)
}

// Sockets that do not belong together, and what is no listening socket, are refused and closed.
func TestEngine_adoptRefuses(t *testing.T) {
	e := start(t, engine.Options{Reactors: 2})
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	testutil.Must(t, err)
	defer unix.Close(pair[1])
	all := listeners(t, e, 2, engine.ListenOptions{})
	groups, err := e.Duplicate(all...)
	if err != nil || len(groups) != 2 || len(groups[0]) != 2 || len(groups[1]) != 2 {
		t.Fatalf("%v: %v", groups, err)
	}
	for name, sockets := range map[string][]poller.FD{
		"a connection": {poller.FD(pair[0])}, "two addresses": {groups[0][0], groups[1][0]},
		"a part": {groups[0][1], poller.FD(1 << 20), groups[1][1]}, "none": nil,
	} {
		if _, err := e.Adopt(sockets, engine.ListenOptions{}, echoes); err == nil {
			t.Errorf("%s: adopted", name)
		}
		for _, fd := range sockets {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				t.Errorf("%s: descriptor %d is open", name, fd)
			}
		}
	}
	for _, l := range all {
		speakEcho(t, dialNet(t, l.Addr()), 10)
	}
}

// A Unix socket goes over as well, and its clients with it.
func TestEngine_adoptUnix(t *testing.T) {
	old := start(t, engine.Options{Reactors: 2})
	l := serve(t, old, engine.ListenOptions{Addr: poller.Addr{Path: testutil.SocketPath(t)}}, echoes)
	h := takeOver(t, old, []*engine.Listener{l}, engine.Options{Reactors: 3}, false)
	old.Suspend(l)
	waits := dialNet(t, l.Addr())
	h.pass()
	old.Abandon(l)
	old.Stop()
	speakEcho(t, waits, 10)
	speakEcho(t, dialNet(t, l.Addr()), 10)
}

// The sockets of 300 listeners are taken out of the kernel's sets in one task for each reactor.
func TestEngine_suspendsManyInOneTask(t *testing.T) {
	const many = 300
	e := start(t, engine.Options{Reactors: 2})
	all := listeners(t, e, many, engine.ListenOptions{})
	before := e.Stats()
	begun := time.Now()
	e.Suspend(all...)
	t.Logf("%d sockets suspended in %v", 2*many, time.Since(begun))
	after := e.Stats()
	if n := after.Tasks - before.Tasks; n > 2*2 { // Stats takes one as well
		t.Errorf("%d tasks", n)
	}
}

// In a simulation two processes pass sockets to and fro while clients connect and speak when they like: each is served.
func TestSim_adoptCutsNobodyOff(t *testing.T) {
	sim.Run(t, simSeeds/4, func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		kernels := 0
		engines := []*engine.Engine{simEngine(t, w, &kernels), simEngine(t, w, &kernels)}
		o := engine.ListenOptions{Addr: loopback, DeferAccept: rng.IntN(3) > 0, ConnsMax: rng.IntN(3)}
		if rng.IntN(4) == 0 {
			o.Addr = poller.Addr{Path: "/front"}
		}
		l, err := engines[0].Listen(o, echoes)
		testutil.Must(t, err)
		groups, err := engines[0].Duplicate(l)
		testutil.Must(t, err)
		o.Suspended = true
		other, err := engines[1].Adopt(groups[0], o, echoes)
		testutil.Must(t, err)
		const span = time.Second
		left, passed := 40, 0
		for range left {
			w.After(time.Duration(rng.Int64N(int64(2*span))), func() { lateClient(t, w, l.Addr(), span, &left) })
		}
		pairs := []struct {
			e *engine.Engine
			l *engine.Listener
		}{{engines[0], l}, {engines[1], other}}
		turns := 1 + rng.IntN(4)
		for i := range turns {
			from, to := pairs[i%2], pairs[(i+1)%2]
			w.After(time.Duration(i+1)*span/2, func() {
				from.e.Suspend(from.l)
				if err := to.e.Resume(to.l); err != nil {
					t.Error(err)
				}
				if passed++; passed == turns {
					from.e.Abandon(from.l)
					to.e.Join(to.l)
				}
			})
		}
		testutil.Must(t, w.Run(func() bool { return passed == turns && left == 0 }, 400_000))
		for _, e := range engines {
			e.Stop()
		}
		if fds := w.OpenFDs(); len(fds) > 0 {
			t.Errorf("descriptors %v are open", fds)
		}
	})
}

// simEngine makes an engine in w whose kernels are the next ones.
func simEngine(t testing.TB, w *sim.World, kernels *int) *engine.Engine {
	first := *kernels
	o := engine.Options{Reactors: 1 + w.Rand().IntN(3), Memory: 1 << 30,
		Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(first + i), nil }}
	*kernels += o.Reactors
	e, err := engine.New(o)
	testutil.Must(t, err)
	for _, r := range e.Reactors() {
		w.Add(r)
	}
	return e
}

// lateClient connects to a, speaks within span, and wants it back.
func lateClient(t testing.TB, w *sim.World, a poller.Addr, span time.Duration, left *int) {
	p := w.Dial(a)
	connected := false
	p.Handle = func(p *sim.Peer) {
		if p.Connected() && !connected {
			connected = true
			w.After(time.Duration(w.Rand().Int64N(int64(span))), func() { p.SendString("x"); p.CloseWrite() })
		}
		if p.Closed() {
			if p.Err() != nil || string(p.Take()) != "x" {
				t.Errorf("a client got %v: %v at %v", p.Err(), p, w.Now())
			}
			p.Handle = nil
			*left--
		}
	}
}
