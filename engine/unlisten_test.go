package engine_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// soak reports whether the tests run with their full counts.
func soak() bool { return os.Getenv("EDGE_SOAK") != "" }

// crowd is clients that connect, say a byte, want it back and leave, again and again.
type crowd struct {
	stop     context.CancelFunc
	clients  sync.WaitGroup
	answered atomic.Int64
	cut      atomic.Int64 // were told that they are connected, and then cut off
}

// gather lets n clients connect to a until dismiss.
func gather(a poller.Addr, n int) *crowd {
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{stop: stop}
	for range n {
		c.clients.Go(func() {
			for ctx.Err() == nil {
				c.visit(ctx, a)
			}
		})
	}
	return c
}

func (c *crowd) visit(ctx context.Context, a poller.Addr) {
	var d net.Dialer
	kind, target := network(a)
	conn, err := d.DialContext(ctx, kind, target)
	if err != nil {
		return // nobody listens any more
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testutil.Patience))
	b := []byte{'x'}
	if _, err = conn.Write(b); err == nil {
		_, err = conn.Read(b)
	}
	if err != nil {
		c.cut.Add(1)
		return
	}
	c.answered.Add(1)
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // no TIME_WAIT: there are many
	}
}

// dismiss ends the crowd and wants that nobody was cut off.
func (c *crowd) dismiss(t testing.TB) {
	t.Helper()
	c.stop()
	c.clients.Wait()
	if n := c.cut.Load(); n > 0 {
		t.Errorf("%d clients that were connected were cut off, %d answered", n, c.answered.Load())
	}
}

// Listeners close while clients connect to them: each client that was told that it is connected is served.
func TestListener_closesUnderConnectingClients(t *testing.T) {
	rounds, clients := 2, 16
	if soak() {
		rounds, clients = 20, 32
	}
	for name, o := range map[string]engine.ListenOptions{
		"deferred": {DeferAccept: true}, "at once": {}, "unix": {Addr: poller.Addr{Path: testutil.SocketPath(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, engine.Options{Reactors: 2})
			for range rounds {
				if !o.Addr.IsUnix() {
					o.Addr = free(t)
				}
				l := serve(t, e, o, echoes)
				c := gather(o.Addr, clients)
				testutil.Eventually(t, testutil.Patience, func() bool { return c.answered.Load() > 1000 })
				l.Close()
				testutil.Eventually(t, testutil.Patience, l.Closed)
				testutil.Eventually(t, testutil.Patience, func() bool { return l.Conns() == 0 })
				c.dismiss(t)
			}
		})
	}
}

// Clients that are connected and say nothing are not cut off either. Under TCP_DEFER_ACCEPT nobody has seen them yet.
func TestListener_closeKeepsClientsThatSayNothing(t *testing.T) {
	t.Parallel()
	e := start(t, engine.Options{Reactors: 2})
	l := serve(t, e, engine.ListenOptions{Addr: free(t), DeferAccept: true}, echoes)
	var clients []net.Conn
	for range 50 {
		clients = append(clients, dialNet(t, l.Addr()))
	}
	l.Close()
	testutil.Eventually(t, testutil.Patience, l.Closed)
	if n := l.Conns(); n != len(clients) {
		t.Errorf("%d of %d clients were accepted", n, len(clients))
	}
	for _, c := range clients {
		speakEcho(t, c, 100)
	}
}

// intakes is a kernel that notes which clients its listeners were to take.
type intakes struct {
	poller.Kernel
	all []poller.Intake
}

func (k *intakes) SetIntake(l poller.FD, i poller.Intake) {
	k.all = append(k.all, i)
	k.Kernel.SetIntake(l, i)
}

// lookups is a kernel that counts how often it looks for clients that have begun to connect.
type lookups struct {
	poller.Kernel
	n *atomic.Int32
}

func (k *lookups) ConnectsBegun(listening ...poller.FD) bool {
	k.n.Add(1)
	return k.Kernel.ConnectsBegun(listening...)
}

// The table of all connections of the system is read once, however many sockets there are.
func TestDrain_looksOnceForAllListeners(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	e := start(t, engine.Options{Reactors: 3, Kernel: func(int) (poller.Kernel, error) {
		k, err := poller.NewEpoll(poller.ParkRuntime)
		return &lookups{k, &n}, err
	}})
	for range 3 {
		serve(t, e, engine.ListenOptions{Addr: free(t)}, echoes)
	}
	if whole := e.Drain(testutil.Patience); !whole || n.Load() != 1 {
		t.Errorf("all is closed: %v, %d lookups", whole, n.Load())
	}
}

// A drain closes its sockets at once where no client has begun to connect, and waits for those that have.
func TestDrain_waitsForClientsAlone(t *testing.T) {
	t.Parallel()
	for clients, want := range map[int][]poller.Intake{
		0: {poller.IntakeBegun}, 20: {poller.IntakeBegun, poller.IntakeAll, poller.IntakeBegun},
	} {
		k := &intakes{}
		e := start(t, engine.Options{Reactors: 1, Kernel: func(int) (kernel poller.Kernel, err error) {
			k.Kernel, err = poller.NewEpoll(poller.ParkRuntime)
			return k, err
		}})
		l := serve(t, e, engine.ListenOptions{Addr: free(t), DeferAccept: true}, echoes)
		var silent []net.Conn
		for range clients {
			silent = append(silent, dialNet(t, l.Addr()))
		}
		drained := make(chan bool)
		go func() { drained <- e.Drain(testutil.Patience) }()
		testutil.Eventually(t, testutil.Patience, func() bool { return l.Conns() == clients })
		for _, c := range silent {
			speakEcho(t, c, 100)
		}
		if whole := <-drained; !whole {
			t.Errorf("%d clients: something is left", clients)
		}
		e.Stop()
		if !slices.Equal(k.all, want) {
			t.Errorf("%d clients: the intakes are %v, want %v", clients, k.all, want)
		}
	}
}

// A drain cuts off no client that was told that it is connected, though hardly any is at any moment.
func TestDrain_underConnectingClients(t *testing.T) {
	t.Parallel()
	for i := range 10 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			e := start(t, engine.Options{Reactors: 2})
			o := engine.ListenOptions{Addr: free(t), DeferAccept: true}
			serve(t, e, o, echoes)
			c := gather(o.Addr, 1)
			testutil.Eventually(t, testutil.Patience, func() bool { return c.answered.Load() > 20 })
			e.Drain(testutil.Patience)
			c.dismiss(t)
			e.Stop()
		})
	}
}

// In a simulation clients connect and speak when they like, before a listener closes and while it does.
func TestSim_closingListenerResetsNobody(t *testing.T) {
	sim.Run(t, simSeeds/4, func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		e := simulated(t, w, 1+rng.IntN(3), engine.Options{Memory: 1 << 30})
		w.Faults = sim.Faults{AcceptFull: 0.2}
		o := engine.ListenOptions{Addr: loopback, DeferAccept: rng.IntN(3) > 0, ConnsMax: rng.IntN(3)}
		if rng.IntN(4) == 0 {
			o.Addr = poller.Addr{Path: "/front"}
		}
		l := serve(t, e, o, echoes)
		const span = 1500 * time.Millisecond
		left, closed := 40, false
		for range left {
			w.After(time.Duration(rng.Int64N(int64(2*span))), func() {
				p := w.Dial(l.Addr())
				connected := false
				p.Handle = func(p *sim.Peer) {
					if p.Connected() && !connected {
						connected = true
						w.After(time.Duration(rng.Int64N(int64(span))), func() { p.SendString("x"); p.CloseWrite() })
					}
					if p.Closed() {
						if connected && (p.Err() != nil || string(p.Take()) != "x") {
							t.Errorf("a client that was connected got %v: %v at %v", p.Err(), p, w.Now())
						}
						p.Handle = nil
						left--
					}
				}
			})
		}
		w.After(span, func() { l.Close(); closed = true })
		testutil.Must(t, w.Run(func() bool { return closed && left == 0 && l.Closed() }, 400_000))
		e.Stop()
		if fds := w.OpenFDs(); len(fds) > 0 {
			t.Errorf("descriptors %v are open", fds)
		}
	})
}

// A listener that closes accepts above its limits: nobody in its queue can wait for a place any more.
func TestReactor_closingListenerAcceptsAboveItsLimits(t *testing.T) {
	g := newRig(t, engine.Options{Memory: 64 << 20})
	g.listen(engine.ListenOptions{ConnsMax: 1, DeferAccept: true})
	accepted := 0
	g.accept = func(*engine.Conn) engine.Handler { accepted++; return &script{} }
	g.on(func() { g.reactor.Account(63 << 20) })
	offer := func(n int) {
		for range n {
			g.loop.Offer(g.door, loopback)
		}
		g.ticks(5)
	}
	offer(100)
	if accepted > 0 {
		t.Fatal("accepted under pressure")
	}
	g.listener.Close()
	offer(100)
	if accepted != 200 || g.listener.Closed() {
		t.Fatalf("%d of 200 accepted, closed %v", accepted, g.listener.Closed())
	}
	g.pass(1100 * time.Millisecond)
	g.kernel.onAccept = func(poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
		return poller.NoFD, poller.Addr{}, syscall.EMFILE
	}
	offer(10)
	g.kernel.onAccept = nil
	g.pass(99 * time.Millisecond)
	if accepted != 210 {
		t.Fatalf("%d of 210 accepted, after descriptors came free", accepted)
	}
	g.pass(2 * time.Millisecond)
	g.pass(handshakeTime)
	if !g.listener.Closed() || g.loop.Sock(g.door).Open {
		t.Fatal("it still listens")
	}
	g.on(func() { g.reactor.Account(-63 << 20) })
}

// handshakeTime is how long no new client is taken before a socket is closed.
const handshakeTime = 200 * time.Millisecond

// Close can be taken back as long as there is a socket, in each of its stages.
func TestListener_reopen(t *testing.T) {
	for _, deferred := range []bool{true, false} {
		g := newRig(t, engine.Options{})
		g.listen(engine.ListenOptions{ConnsMax: 1, DeferAccept: deferred})
		accepted := 0
		g.accept = func(*engine.Conn) engine.Handler { accepted++; return &script{} }
		if g.listener.Reopen() {
			t.Error("what is not closed was opened again")
		}
		for _, wait := range []time.Duration{0, 100 * time.Millisecond, 1100 * time.Millisecond} {
			if wait > handshakeTime && !deferred {
				break
			}
			g.listener.Close()
			g.pass(wait)
			if g.listener.Closed() || !g.listener.Reopen() {
				t.Fatalf("deferred %v, %v after Close: closed for good", deferred, wait)
			}
			g.pass(time.Hour)
			if g.listener.Closed() || !g.loop.Sock(g.door).Open {
				t.Fatalf("deferred %v: closed behind Reopen", deferred)
			}
		}
		g.loop.Offer(g.door, loopback)
		g.loop.Offer(g.door, loopback)
		g.ticks(5)
		if accepted != 1 {
			t.Errorf("%d accepted, 1 allowed", accepted)
		}
		g.listener.Close()
		for range 20 {
			g.pass(100 * time.Millisecond)
		}
		if !g.listener.Closed() || g.loop.Sock(g.door).Open || g.listener.Reopen() || accepted != 2 {
			t.Errorf("deferred %v: it still listens; %d accepted", deferred, accepted)
		}
	}
}

// alone is a kernel that refuses SO_REUSEPORT.
type alone struct{ poller.Kernel }

func (k alone) Listen(a poller.Addr, o *poller.ListenOptions) (poller.FD, poller.Addr, error) {
	if o.ReusePort {
		return poller.NoFD, a, fmt.Errorf("listen: %w", poller.ErrNoReusePort)
	}
	return k.Kernel.Listen(a, o)
}

// Where several sockets cannot share an address, one accepts for all reactors.
func TestListen_withoutReusePort(t *testing.T) {
	e := start(t, engine.Options{Reactors: 3, Kernel: func(int) (poller.Kernel, error) {
		k, err := poller.NewEpoll(poller.ParkRuntime)
		return alone{k}, err
	}})
	l := serve(t, e, engine.ListenOptions{DeferAccept: true}, echoes)
	for range 60 {
		c := dialNet(t, l.Addr())
		c.Write([]byte("x"))
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return l.Conns() == 60 })
	for i, r := range e.Reactors() {
		var n int64
		do(r, func() { n = r.Stats().Conns })
		if n < 10 {
			t.Errorf("reactor %d has %d of 60 connections", i, n)
		}
	}
	l.Close()
	if !l.Reopen() {
		t.Fatal("not opened again")
	}
	speakEcho(t, dialNet(t, l.Addr()), 100)
	l.Close()
	testutil.Eventually(t, testutil.Patience, l.Closed)
}
