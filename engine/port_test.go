package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

var atUDP = poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:443")}

// echoPort sends each datagram back.
type echoPort struct {
	refused int // had no room
	batches int
}

func (h *echoPort) OnDatagrams(p *engine.Port, b *poller.Batch) {
	h.batches++
	for i := range b.Len() {
		d := b.At(i)
		for s := range d.Segments() {
			if out := p.Reserve(len(s)); out != nil {
				p.Commit(append(out, s...), d.Peer, d.Local)
			} else {
				h.refused++
			}
		}
	}
}

// simulated makes an engine of n reactors in w.
func simulated(t testing.TB, w *sim.World, n int, o engine.Options) *engine.Engine {
	t.Helper()
	o.Reactors, o.Kernel = n, func(i int) (poller.Kernel, error) { return w.Kernel(i), nil }
	e, err := engine.New(o)
	testutil.Must(t, err)
	for _, r := range e.Reactors() {
		w.Add(r)
	}
	t.Cleanup(e.Stop)
	return e
}

// Every datagram comes back once, whatever the kernel does with batches and runs.
func TestPort_echo(t *testing.T) {
	seeds := testutil.RaceRounds(300)
	if soak() {
		seeds = 30_000
	}
	for seed := range uint64(seeds) {
		w := sim.NewWorld(seed)
		w.Net.Spread = 0
		if seed%2 == 0 {
			w.Faults = sim.Faults{ShortWrite: 0.3, RunInvalid: 0.1}
		}
		e := simulated(t, w, 1+int(seed%3), engine.Options{})
		h := &echoPort{}
		_, err := e.ListenDatagrams(engine.ListenOptions{Addr: atUDP},
			func(*engine.Port) engine.PortHandler { return h })
		testutil.Must(t, err)
		sent, got := map[string]int{}, map[string]int{}
		for i := range 8 {
			p := w.DialDatagrams(atUDP)
			p.Handle = func(p *sim.DatagramPeer) {
				for _, d := range p.Take() {
					if d.Peer != atUDP.IP {
						t.Fatalf("seed %d: from %v", seed, d.Peer)
					}
					got[string(d.Data)]++
				}
			}
			for k := range 1 + seed%100 {
				s := fmt.Sprintf("%d-%d-%s", i, k, strings.Repeat("x", int(seed%700)))
				sent[s]++
				w.After(time.Duration(k%5)*time.Millisecond, func() { p.Send([]byte(s)) })
			}
		}
		all := func() bool { return len(got) == len(sent)-h.refused }
		if err := w.Run(all, 1_000_000); err != nil {
			t.Fatalf("seed %d: %v; %d of %d came back", seed, err, len(got), len(sent))
		}
		for s, n := range got {
			if n != sent[s] {
				t.Fatalf("seed %d: %q came %d times", seed, s, n)
			}
		}
	}
}

// What the network refuses is counted, and the rest leaves.
func TestPort_refusedDatagramsAreLost(t *testing.T) {
	w := sim.NewWorld(1)
	w.Net.Spread = 0
	w.Faults.DatagramRefused = 0.5
	e := simulated(t, w, 1, engine.Options{})
	h := &echoPort{}
	var port *engine.Port
	_, err := e.ListenDatagrams(engine.ListenOptions{Addr: atUDP}, func(p *engine.Port) engine.PortHandler {
		port = p
		return h
	})
	testutil.Must(t, err)
	p := w.DialDatagrams(atUDP)
	const n = 200
	for i := range n {
		p.Send([]byte{byte(i), byte(i >> 8), byte(i % 3)}[:2+i%2]) // of two lengths: a run is one message
	}
	got := 0
	p.Handle = func(p *sim.DatagramPeer) { got += len(p.Take()) }
	both := func() bool { return port.Lost() > 0 && got > 0 && got+int(port.Lost()) >= n/2 }
	if err := w.Run(both, 100_000); err != nil {
		t.Fatalf("%v: %d came, %d did not leave", err, got, port.Lost())
	}
	if got == n {
		t.Fatal("all came")
	}
}

// wires is a protocol of a test over ports: each peer is a connection from its first datagram on; "bye" of the peer
// ends it. It keeps what was sent until the peer says "ack".
type wires struct {
	port    *engine.Port
	by      map[netip.AddrPort]*wire
	refused int
	make    func(w *wire) engine.Handler
}

func newWires(make func(w *wire) engine.Handler) func(p *engine.Port) engine.PortHandler {
	return func(p *engine.Port) engine.PortHandler {
		return &wires{port: p, by: map[netip.AddrPort]*wire{}, make: make}
	}
}

func (x *wires) OnDatagrams(p *engine.Port, b *poller.Batch) {
	for i := range b.Len() {
		d := b.At(i)
		for s := range d.Segments() {
			x.take(p, d, string(s))
		}
	}
}

func (x *wires) take(p *engine.Port, d *poller.Datagram, s string) {
	l := x.by[d.Peer]
	if l == nil {
		l = &wire{of: x, peer: d.Peer, local: d.Local}
		l.carried = &engine.Carried{}
		if !p.Accept(d.Peer, d.Local, l.carried, l, always(x.make(l))) {
			x.refused++
			if b := p.Reserve(7); b != nil {
				p.Commit(append(b, "refused"...), d.Peer, d.Local)
			}
			return
		}
		l.conn, x.by[d.Peer] = l.carried.Conn(), l
	}
	switch s {
	case "bye":
		l.conn.Close(errBye)
	case "ack":
		l.held = 0
		l.carried.SetHeld(0)
	default:
		l.got = append(l.got, s)
	}
}

var errBye = errors.New("the peer said bye")

// wire is a connection of wires, and its Carrier.
type wire struct {
	of          *wires
	carried     *engine.Carried
	conn        *engine.Conn
	peer        netip.AddrPort
	local       netip.Addr
	queue       []string
	held        int
	got, events []string
}

// send queues s.
func (l *wire) send(s string) {
	l.queue = append(l.queue, s)
	l.held += len(s)
	l.carried.SetHeld(l.held)
	l.carried.AskFlush()
}

func (l *wire) OnFlush() {
	for len(l.queue) > 0 {
		b := l.of.port.Reserve(len(l.queue[0]))
		if b == nil {
			l.carried.AwaitRoom()
			return
		}
		l.of.port.Commit(append(b, l.queue[0]...), l.peer, l.local)
		l.queue = l.queue[1:]
	}
}

func (l *wire) OnDrop() {
	l.events = append(l.events, "drop")
	delete(l.of.by, l.peer)
	if b := l.of.port.Reserve(3); b != nil {
		l.of.port.Commit(append(b, "end"...), l.peer, l.local)
	}
}

// wireHandler notes its events.
type wireHandler struct {
	engine.NopHandler
	l         *wire
	idle      int64
	onOpen    func(c *engine.Conn)
	onTimeout func(c *engine.Conn)
}

func (h *wireHandler) note(s string) {
	if s == "cut soon" && slices.Contains(h.l.events, s) {
		return // OnDrain may come again
	}
	h.l.events = append(h.l.events, s)
}
func (h *wireHandler) OnOpen(c *engine.Conn) {
	h.note("open")
	if h.onOpen != nil {
		h.onOpen(c)
	}
}
func (h *wireHandler) OnSendable(*engine.Conn) { h.note("sendable") }
func (h *wireHandler) OnTimeout(c *engine.Conn) {
	h.note("timeout")
	if h.onTimeout != nil {
		h.onTimeout(c)
	}
}
func (h *wireHandler) OnClose(_ *engine.Conn, cause error) { h.note(fmt.Sprint("close ", cause)) }
func (h *wireHandler) Idle() bool                          { return h.l.held == 0 }
func (h *wireHandler) IdleSince(c *engine.Conn) int64      { return h.idle }
func (h *wireHandler) OnYield(c *engine.Conn)              { h.note("yield"); c.Finish() }
func (h *wireHandler) OnDrainBegin(*engine.Conn)           { h.note("draining") }
func (h *wireHandler) OnDrain(*engine.Conn, time.Duration) { h.note("cut soon") }
func (h *wireHandler) Relieve(*engine.Conn, time.Duration) { h.note("relieve") }
func (h *wireHandler) want(t *testing.T, events ...string) {
	t.Helper()
	if !slices.Equal(h.l.events, events) {
		t.Fatalf("%q, want %q", h.l.events, events)
	}
}

// wireRig is an engine of one reactor with wires.
type wireRig struct {
	t        *testing.T
	w        *sim.World
	e        *engine.Engine
	l        *engine.Listener
	ports    []*engine.Port
	handlers []*wireHandler
	setUp    func(h *wireHandler)
}

func newWireRig(t *testing.T, o engine.ListenOptions) *wireRig {
	t.Helper()
	return newWireRigOn(t, o, func(k poller.Kernel) poller.Kernel { return k })
}

// newWireRigOn is newWireRig with a kernel around the World's.
func newWireRigOn(t *testing.T, o engine.ListenOptions, around func(poller.Kernel) poller.Kernel) *wireRig {
	t.Helper()
	g := &wireRig{t: t, w: sim.NewWorld(1)}
	g.w.Net.Spread = 0
	e, err := engine.New(engine.Options{
		Reactors: 1, SendLow: 1000, SendTimeout: time.Second,
		Kernel: func(i int) (poller.Kernel, error) { return around(g.w.Kernel(i)), nil },
	})
	testutil.Must(t, err)
	g.w.Add(e.Reactors()[0])
	t.Cleanup(e.Stop)
	g.e = e
	o.Addr = atUDP
	l, err := g.e.ListenDatagrams(o, g.newWires(func(l *wire) engine.Handler {
		h := &wireHandler{l: l}
		g.handlers = append(g.handlers, h)
		if g.setUp != nil {
			g.setUp(h)
		}
		return h
	}))
	testutil.Must(t, err)
	g.l = l
	return g
}

// newWires is newWires, and notes the port.
func (g *wireRig) newWires(make func(w *wire) engine.Handler) func(p *engine.Port) engine.PortHandler {
	wires := newWires(make)
	return func(p *engine.Port) engine.PortHandler {
		g.ports = append(g.ports, p)
		return wires(p)
	}
}

func (g *wireRig) port() *engine.Port { return g.ports[len(g.ports)-1] }

func (g *wireRig) run(until func() bool) {
	g.t.Helper()
	testutil.Must(g.t, g.w.Run(until, 1_000_000))
}

// on runs f on the reactor.
func (g *wireRig) on(f func()) {
	g.t.Helper()
	done := false
	g.e.Reactors()[0].Post(&engine.Task{Run: func(*engine.Reactor) { f(); done = true }})
	g.run(func() bool { return done })
}

// connect makes a connection by a first datagram.
func (g *wireRig) connect() (*sim.DatagramPeer, *wireHandler) {
	g.t.Helper()
	p, n := g.w.DialDatagrams(atUDP), len(g.handlers)
	p.Send([]byte("hello"))
	g.run(func() bool { return len(g.handlers) > n && len(g.handlers[n].l.events) > 0 })
	return p, g.handlers[n]
}

func takeAll(p *sim.DatagramPeer) (s string) {
	for _, d := range p.Take() {
		s += string(d.Data) + " "
	}
	return s
}

func TestConn_withoutSocket(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	g.setUp = func(h *wireHandler) {
		h.onOpen = func(c *engine.Conn) { c.SetTimeout(3 * time.Second) }
	}
	p, h := g.connect()
	c := h.l.conn
	h.want(t, "open")
	var facts string
	g.on(func() {
		facts = fmt.Sprint(c.Peer(), c.Socket(), c.Local(), c.Quiet(), c.Open(), c.Room(), c.Ref().Conn() == c)
	})
	if want := fmt.Sprintf("%v %v %v true true 0 true", p.Addr(), p.Addr(), atUDP); facts != want {
		t.Fatalf("%s, want %s", facts, want)
	}
	if g.l.Conns() != 1 || g.e.Conns() != 1 {
		t.Fatalf("%d connections of the listener, %d of all", g.l.Conns(), g.e.Conns())
	}
	g.on(func() {
		if err := c.Write([]byte("x")); err != engine.ErrClosed {
			t.Errorf("Write: %v", err)
		}
		c.Commit(append(c.Reserve(1), 'x'))
	})
	g.on(func() { h.l.send(strings.Repeat("a", 900)) })
	g.on(func() {
		if c.Congested() || c.Queued() != 900 {
			t.Errorf("%d queued", c.Queued())
		}
		h.l.send(strings.Repeat("b", 200))
		if !c.Congested() || c.Queued() != 1100 {
			t.Errorf("%d queued", c.Queued())
		}
	})
	p.Send([]byte("ack"))
	g.run(func() bool { return len(h.l.events) > 1 })
	h.want(t, "open", "sendable")
	g.run(func() bool { return len(h.l.events) > 2 })
	h.want(t, "open", "sendable", "timeout")
	p.Send([]byte("bye"))
	g.run(func() bool { return len(h.l.events) > 4 })
	h.want(t, "open", "sendable", "timeout", "close the peer said bye", "drop")
	g.run(func() bool { return strings.HasSuffix(takeAll(p), "end ") })
	if g.l.Conns() != 0 || g.e.Conns() != 0 {
		t.Fatalf("%d connections of the listener, %d of all", g.l.Conns(), g.e.Conns())
	}
}

// Close(nil) waits until the peer has taken what was sent, and no longer than SendTimeout.
func TestConn_withoutSocketCloses(t *testing.T) {
	for _, acked := range []bool{true, false} {
		g := newWireRig(t, engine.ListenOptions{})
		p, h := g.connect()
		began := g.w.Now()
		p.Handle = func(p *sim.DatagramPeer) {
			if strings.Contains(takeAll(p), "answer") && acked {
				p.Send([]byte("ack"))
			}
		}
		g.on(func() { h.l.send("answer"); h.l.conn.Close(nil); h.want(t, "open") })
		g.run(func() bool { return len(h.l.events) > 1 })
		if acked {
			h.want(t, "open", "close <nil>", "drop")
		} else {
			h.want(t, "open", "close timed out", "drop")
		}
		if waited := time.Duration(g.w.Now() - began); acked != (waited < time.Second/2) {
			t.Fatalf("acknowledged %v: %v", acked, waited)
		}
	}
}

// flushes is a Carrier that tells at each flush what it keeps.
type flushes struct {
	carried *engine.Carried
	n, held int
	drops   int
	onDrop  func()
}

func (f *flushes) OnFlush() {
	if f.n++; f.n < 100 {
		f.carried.SetHeld(f.held)
	}
}

func (f *flushes) OnDrop() {
	f.drops++
	if f.onDrop != nil {
		f.onDrop()
	}
}

// always makes h the handler.
func always(h engine.Handler) func(*engine.Conn) engine.Handler {
	return func(*engine.Conn) engine.Handler { return h }
}

// carry makes a connection that f carries, with h.
func (g *wireRig) carry(f *flushes, h engine.Handler) (c *engine.Conn) {
	g.t.Helper()
	g.on(func() {
		f.carried = &engine.Carried{}
		if !g.port().Accept(netip.MustParseAddrPort("192.0.2.9:9"), atUDP.IP.Addr(), f.carried, f, always(h)) {
			g.t.Error("refused")
			return
		}
		c = f.carried.Conn()
	})
	return c
}

// A Carrier may tell what it keeps while it flushes: that asks for no further flush, unless the Conn has to go on.
func TestCarried_setHeldInOnFlush(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	f := &flushes{held: 2000}
	h := &wireHandler{l: &wire{}}
	c := g.carry(f, h)
	g.on(func() { f.carried.SetHeld(f.held) })
	if !c.Congested() {
		t.Fatal("not congested")
	}
	for _, held := range []int{2000, 1500, 1000, 900} {
		f.n, f.held = 0, held
		g.on(f.carried.AskFlush)
		if f.n > 2 || c.Queued() != held {
			t.Fatalf("%d flushes with %d bytes, %d queued", f.n, held, c.Queued())
		}
	}
	h.want(t, "open", "sendable")
	g.on(func() { c.Close(nil) })
	for _, held := range []int{900, 100, 0} {
		h.want(t, "open", "sendable")
		f.n, f.held = 0, held
		g.on(f.carried.AskFlush)
		if f.n > 2 {
			t.Fatalf("%d flushes with %d bytes", f.n, held)
		}
	}
	h.want(t, "open", "sendable", "close <nil>")
	if f.drops != 1 {
		t.Fatal(f.drops)
	}
}

// noDescriptors is a kernel that has none left.
type noDescriptors struct{ poller.Kernel }

func (noDescriptors) Connect(poller.Addr, *poller.ConnectOptions) (poller.FD, syscall.Errno) {
	return poller.NoFD, syscall.EMFILE
}

// Where descriptors are short, idle connections end that have one: others give none back.
func TestConn_withoutSocketYieldsNoDescriptor(t *testing.T) {
	g := newWireRigOn(t, engine.ListenOptions{}, func(k poller.Kernel) poller.Kernel { return noDescriptors{k} })
	f := &flushes{}
	h := &wireHandler{l: &wire{}, idle: 1}
	g.carry(f, h)
	g.on(func() {
		if _, err := g.e.Reactors()[0].Dial(loopback, engine.NopHandler{}, nil); err != engine.ErrNoDescriptors {
			t.Error(err)
		}
	})
	later := false
	g.w.After(2*time.Second, func() { later = true })
	g.run(func() bool { return later })
	g.on(func() {
		if _, err := g.e.Reactors()[0].Dial(loopback, engine.NopHandler{}, nil); err != engine.ErrNoDescriptors {
			t.Error(err)
		}
	})
	g.on(func() {})
	h.want(t, "open")
}

// endPanics panics when its connection closes.
type endPanics struct{ engine.NopHandler }

func (endPanics) OnClose(*engine.Conn, error) { panic(errors.New("of a test")) }

// A panic at the end of a connection, of the handler, of the carrier or of both, ends nothing else.
func TestConn_withoutSocketPanicsAtItsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		h      engine.Handler
		onDrop func()
		panics uint64
	}{
		"handler": {endPanics{}, nil, 1},
		"carrier": {engine.NopHandler{}, func() { panic(errors.New("of a test")) }, 1},
		"both":    {endPanics{}, func() { panic(errors.New("of a test")) }, 2},
	} {
		g := newWireRig(t, engine.ListenOptions{})
		f := &flushes{onDrop: c.onDrop}
		conn := g.carry(f, c.h)
		g.on(func() { conn.Close(nil) })
		g.on(func() {})
		if f.drops != 1 || g.l.Conns() != 0 || g.e.Conns() != 0 {
			t.Fatalf("%s: %d drops, %d connections", name, f.drops, g.l.Conns())
		}
		if s := g.e.Stats(); s.Panics != c.panics || s.Closed != 1 {
			t.Fatalf("%s: %d panics, %d closed", name, s.Panics, s.Closed)
		}
		_, h := g.connect()
		h.want(t, "open")
	}
}

// A panic of a Carrier ends its connection, and one of a port's handler the datagrams of its batch.
func TestPort_panicsOfItsHandlers(t *testing.T) {
	w := sim.NewWorld(1)
	w.Net.Spread = 0
	e := simulated(t, w, 1, engine.Options{})
	var port *engine.Port
	h := &moody{}
	_, err := e.ListenDatagrams(engine.ListenOptions{Addr: atUDP}, func(p *engine.Port) engine.PortHandler {
		port = p
		return h
	})
	testutil.Must(t, err)
	p, got := w.DialDatagrams(atUDP), ""
	p.Handle = func(p *sim.DatagramPeer) { got += takeAll(p) }
	run := func(until func() bool) {
		t.Helper()
		testutil.Must(t, w.Run(until, 100_000))
	}
	p.Send([]byte("panic"))
	run(func() bool { return e.Stats().Panics == 1 })
	p.Send([]byte("a"))
	run(func() bool { return got == "a " })
	l := &wireHandler{l: &wire{}}
	f := &flushes{onDrop: func() { port.Commit(append(port.Reserve(1), 'b'), p.Addr(), netip.Addr{}) }}
	e.Reactors()[0].Post(&engine.Task{Run: func(*engine.Reactor) {
		f.carried = &engine.Carried{}
		port.Accept(p.Addr(), atUDP.IP.Addr(), f.carried, panicsInFlush{f}, always(l))
		f.carried.AskFlush()
	}})
	run(func() bool { return got == "a b " })
	l.want(t, "open", "close handler panicked")
	if s := e.Stats(); s.Panics != 2 || e.Conns() != 0 {
		t.Fatalf("%d panics, %d connections", s.Panics, e.Conns())
	}
}

// moody is an echo that panics when it is told so.
type moody struct{ echoPort }

func (h *moody) OnDatagrams(p *engine.Port, b *poller.Batch) {
	if string(b.At(0).Data) == "panic" {
		panic(errors.New("of a test"))
	}
	h.echoPort.OnDatagrams(p, b)
}

type panicsInFlush struct{ *flushes }

func (panicsInFlush) OnFlush() { panic(errors.New("of a test")) }

// What needs a socket does nothing to a connection without one.
func TestConn_withoutSocketRefuses(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	f := &flushes{}
	h := &wireHandler{l: &wire{}}
	c := g.carry(f, h)
	r := g.e.Reactors()[0]
	for name, do := range map[string]func(){
		"AckNow": c.Wire().AckNow,
		"Leave": func() {
			if _, ok := c.Leave(); ok {
				t.Error("it left")
			}
		},
		"Wire.Write": func() {
			if err := c.Wire().Write([]byte("x")); err != engine.ErrClosed {
				t.Error("Wire.Write: ", err)
			}
		},
		"SendFile": func() {
			if _, ok := engine.SendFile(c, 0, 0, 9); ok {
				t.Error("a file was sent")
			}
		},
		"Splice": func() {
			if c.Splice(new(engine.Splice), c, 1<<30, nil) {
				t.Error("a splice began")
			}
		},
		"others": func() {
			c.CloseWrite()
			c.Wire().Unhold()
			c.Wire().Read(false)
			c.Wire().Read(true)
			c.PauseRead()
			c.ResumeRead()
			c.SetHandler(h)
			c.OfferLater()
			if c.Truncated() || c.Wire().Held() != nil || c.Layer() != nil || c.Unread() || engine.Gives(c) {
				t.Error("it has what it cannot have")
			}
		},
	} {
		g.on(do)
		g.on(func() {})
		if !c.Open() || c.Queued() != 0 || g.w.Err() != nil {
			t.Fatalf("%s: open %v, %d queued, %v", name, c.Open(), c.Queued(), g.w.Err())
		}
	}
	ended := false
	g.on(func() {
		c.AtEnd(func() { ended = f.drops == 0 })
		c.Wire().Told(loopback, loopback)
		if c.Local() != loopback || c.Socket().IP.Port() != 9 {
			t.Error(c.Local(), c.Socket())
		}
		c.Begin(h)
	})
	g.on(func() { c.Reset(errBye) })
	g.on(func() {})
	h.want(t, "open", "open", "close the peer said bye")
	if !ended || f.drops != 1 || r.Engine().Conns() != 0 {
		t.Fatal(ended, f.drops)
	}
}

// acceptsAll takes a connection for each datagram.
type acceptsAll struct{}

func (acceptsAll) OnDatagrams(p *engine.Port, b *poller.Batch) {
	for i := range b.Len() {
		p.Accept(b.At(i).Peer, b.At(i).Local, &engine.Carried{}, &flushes{}, always(engine.NopHandler{}))
	}
}

// No port is closed that has connections, whenever they begin.
func TestPort_acceptsWhileItCloses(t *testing.T) {
	for range testutil.RaceRounds(200) {
		e := start(t, engine.Options{Reactors: 2})
		l, err := e.ListenDatagrams(engine.ListenOptions{Addr: loopback},
			func(*engine.Port) engine.PortHandler { return acceptsAll{} })
		testutil.Must(t, err)
		var each sync.WaitGroup
		for range 4 {
			c, err := net.Dial("udp", l.Addr().IP.String())
			testutil.Must(t, err)
			defer c.Close()                          //nolint:errcheck
			each.Go(func() { c.Write([]byte("x")) }) //nolint:errcheck // the port may be closed
		}
		l.Close()
		each.Wait()
		if n := l.Conns(); l.Closed() && n > 0 {
			t.Fatalf("the ports are closed with %d connections", n)
		}
		e.Stop()
	}
}

// A port that was abandoned takes no connection, and closes once those that it has are over: they send by it.
func TestEngine_abandonsPorts(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	_, h := g.connect()
	port := g.port()
	g.on(func() { h.l.send("answer") })
	g.e.Abandon(g.l)
	g.on(func() {
		if b := port.Reserve(1); b == nil {
			t.Error("no room")
		}
		var k engine.Carried
		if port.Accept(netip.MustParseAddrPort("192.0.2.9:9"), atUDP.IP.Addr(), &k, &flushes{}, always(h)) {
			t.Error("a port that closes takes a connection")
		}
		h.l.send("more")
	})
	if g.l.Closed() {
		t.Fatal("closed before its last connection")
	}
	g.on(func() { h.l.conn.Close(nil) })
	g.run(g.l.Closed)
	h.want(t, "open", "close timed out", "drop")
}

// A Carrier that waits for room is flushed where there is room.
func TestCarried_awaitsRoomThatThereIs(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	f := &flushes{}
	g.carry(f, engine.NopHandler{})
	g.on(f.carried.AwaitRoom)
	if f.n != 1 {
		t.Fatalf("%d flushes", f.n)
	}
}

// A connection without a socket counts as any other: limits refuse it, and idle ones make room.
func TestConn_withoutSocketIsLimited(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{ConnsMax: 2})
	_, a := g.connect()
	_, b := g.connect()
	g.on(func() { a.l.send("busy"); b.l.send("busy") })
	third := g.w.DialDatagrams(atUDP)
	third.Send([]byte("hello"))
	g.run(func() bool { return takeAll(third) == "refused " })
	if g.l.Conns() != 2 {
		t.Fatal(g.l.Conns())
	}
	g.on(func() { a.l.held = 0; a.l.carried.SetHeld(0); a.idle = 1 })
	g.w.After(2*time.Second, func() { third.Send([]byte("hello")) })
	g.run(func() bool { return len(g.handlers) == 4 && len(g.handlers[3].l.events) > 0 })
	a.want(t, "open", "yield", "close <nil>", "drop")
	g.handlers[3].want(t, "open")
	if n := g.l.Conns(); n != 2 {
		t.Fatal(n)
	}
}

// A connection for which there is no handler is refused, and its carrier hears no more of it.
func TestPort_acceptWithoutHandler(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	for _, accept := range []func(*engine.Conn) engine.Handler{
		func(*engine.Conn) engine.Handler { return nil },
		func(*engine.Conn) engine.Handler { panic(errors.New("of a test")) },
	} {
		f := &flushes{}
		f.carried = &engine.Carried{}
		g.on(func() {
			if g.port().Accept(netip.MustParseAddrPort("192.0.2.9:9"), atUDP.IP.Addr(), f.carried, f, accept) {
				t.Error("accepted")
			}
			if c := f.carried.Conn(); engine.CarrierOf(c) != nil {
				t.Error("it has a carrier")
			}
		})
		g.run(func() bool { return g.l.Conns() == 0 })
		if f.n+f.drops > 0 {
			t.Fatal(f.n, f.drops)
		}
	}
}

// A panic of one connection, or of the port's handler, ends nothing else.
func TestConn_withoutSocketPanics(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	g.setUp = func(h *wireHandler) {
		if len(g.handlers) == 2 {
			h.onOpen = func(*engine.Conn) { panic(errors.New("of a test")) }
		}
	}
	p, a := g.connect()
	_, b := g.connect()
	g.run(func() bool { return len(b.l.events) == 3 })
	b.want(t, "open", "close handler panicked", "drop")
	g.on(func() { a.l.send("alive") })
	g.run(func() bool { return takeAll(p) == "alive " })
	if e := g.e.Stats(); e.Panics != 1 {
		t.Fatal(e.Panics)
	}
}

// A port that closes takes no connections, serves those that it has, and is closed after the last one.
func TestListener_closesPortsAfterTheirConnections(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	p, h := g.connect()
	g.l.Close()
	other := g.w.DialDatagrams(atUDP)
	other.Send([]byte("hello"))
	g.run(func() bool { return takeAll(other) == "refused " })
	if g.l.Closed() || g.l.Sockets() != 1 {
		t.Fatal("it is closed")
	}
	if !g.l.Reopen() {
		t.Fatal("not open again")
	}
	other.Send([]byte("hello"))
	g.run(func() bool { return g.l.Conns() == 2 })
	g.l.Close()
	other.Send([]byte("bye"))
	p.Send([]byte("bye"))
	g.run(g.l.Closed)
	h.want(t, "open", "close the peer said bye", "drop")
	if g.l.Conns() != 0 || g.l.Reopen() {
		t.Fatal("open again")
	}
}

// As long as ports of an address close, no others are opened: the kernel would give each of them a share of the
// datagrams.
func TestEngine_listenDatagramsWhilePortsClose(t *testing.T) {
	for reactors := range 2 {
		w := sim.NewWorld(1)
		w.Net.Spread = 0
		e := simulated(t, w, reactors+1, engine.Options{})
		o := engine.ListenOptions{Addr: atUDP}
		ports := newWires(func(l *wire) engine.Handler { return &wireHandler{l: l} })
		l, err := e.ListenDatagrams(o, ports)
		testutil.Must(t, err)
		p := w.DialDatagrams(atUDP)
		p.Send([]byte("hello"))
		testutil.Must(t, w.Run(func() bool { return l.Conns() == 1 }, 10_000))
		l.Close()
		if _, err := e.ListenDatagrams(o, ports); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		p.Send([]byte("bye"))
		testutil.Must(t, w.Run(l.Closed, 10_000))
		_, err = e.ListenDatagrams(o, ports)
		testutil.Must(t, err)
	}
}

// A supervisor keeps its sockets, but nobody else has the connections of their ports: Close waits for them.
func TestListener_closesHeldPortsAfterTheirConnections(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	sockets, err := g.e.Duplicate(g.l)
	testutil.Must(t, err)
	g.e.Abandon(g.l)
	held := engine.ListenOptions{Held: true}
	g.l, err = g.e.AdoptDatagrams(sockets[0], held, g.newWires(func(l *wire) engine.Handler {
		h := &wireHandler{l: l}
		g.handlers = append(g.handlers, h)
		return h
	}))
	testutil.Must(t, err)
	p, h := g.connect()
	g.l.Close()
	p.Send([]byte("question"))
	g.run(func() bool { return len(h.l.got) == 2 })
	p.Send([]byte("bye"))
	g.run(g.l.Closed)
	h.want(t, "open", "close the peer said bye", "drop")
}

// Stop tells each peer, by ports that are closed after it.
func TestEngine_stopTellsPeersOfPorts(t *testing.T) {
	g := newWireRig(t, engine.ListenOptions{})
	p, h := g.connect()
	g.e.Stop()
	h.want(t, "open", "close engine is stopped", "drop")
	testutil.Must(t, g.w.Run(func() bool { return takeAll(p) == "end " }, 1000))
	if fds := g.w.OpenFDs(); len(fds) > 0 {
		t.Fatal(fds)
	}
}

// A full socket keeps what was committed, and those that wait go on when it takes more.
func TestPort_waitsForRoom(t *testing.T) {
	for seed := range uint64(50) {
		w := sim.NewWorld(seed)
		w.Net.Spread, w.Net.BufferMin, w.Net.BufferMax = 0, 3000, 20_000
		e := simulated(t, w, 1, engine.Options{})
		const peers, each = 20, 40
		_, err := e.ListenDatagrams(engine.ListenOptions{Addr: atUDP}, newWires(func(l *wire) engine.Handler {
			h := &wireHandler{l: l}
			h.onOpen = func(*engine.Conn) {
				for i := range each {
					l.send(string(bytes.Repeat([]byte{byte('a' + i%26)}, 700+i)))
				}
			}
			return h
		}))
		testutil.Must(t, err)
		got := 0
		for range peers {
			p, next := w.DialDatagrams(atUDP), 0
			p.Handle = func(p *sim.DatagramPeer) {
				for _, d := range p.Take() {
					if want := byte('a' + next%26); len(d.Data) != 700+next || d.Data[0] != want {
						t.Fatalf("seed %d: %d of %q, want %d", seed, len(d.Data), d.Data[:1], 700+next)
					}
					next++
					got++
				}
			}
			p.Send([]byte("hello"))
		}
		if err := w.Run(func() bool { return got == peers*each }, 1_000_000); err != nil {
			t.Fatalf("seed %d: %v, %d came", seed, err, got)
		}
	}
}

// shortKernel has no memory for the next few reads.
type shortKernel struct {
	poller.Kernel
	short int
}

func (k *shortKernel) ReadBatch(fd poller.FD, b *poller.Batch) (int, syscall.Errno) {
	if k.short > 0 {
		k.short--
		b.Reset()
		return 0, syscall.ENOMEM
	}
	return k.Kernel.ReadBatch(fd, b)
}

// A read that fails for want of memory is tried again, although no further event comes.
func TestPort_readsAgainAfterAnError(t *testing.T) {
	k := &shortKernel{short: 3}
	g := newWireRigOn(t, engine.ListenOptions{}, func(of poller.Kernel) poller.Kernel { k.Kernel = of; return k })
	p := g.w.DialDatagrams(atUDP)
	for range 400 { // more than one tick reads
		p.Send([]byte("hello"))
		p.Send([]byte("of another length"))
	}
	g.run(func() bool { return len(g.handlers) == 1 && len(g.handlers[0].l.got) == 800 })
	if k.short > 0 {
		t.Fatalf("%d errors are left", k.short)
	}
}

// At ConnsMax a connection that is idle on another reactor makes room, for the next attempt.
func TestPort_idleOnAnotherReactorMakesRoom(t *testing.T) {
	w := sim.NewWorld(1)
	w.Net.Spread = 0
	e := simulated(t, w, 2, engine.Options{})
	var ports []*engine.Port
	o := engine.ListenOptions{Addr: atUDP, ConnsMax: 1}
	l, err := e.ListenDatagrams(o, func(p *engine.Port) engine.PortHandler {
		ports = append(ports, p)
		return &echoPort{}
	})
	testutil.Must(t, err)
	accepted := 0
	accept := func(i int, peer string) {
		done := false
		e.Reactors()[i].Post(&engine.Task{Run: func(*engine.Reactor) {
			f := &flushes{}
			h := &wireHandler{l: &wire{}, idle: 1}
			f.carried = &engine.Carried{}
			if ports[i].Accept(netip.MustParseAddrPort(peer), atUDP.IP.Addr(), f.carried, f, always(h)) {
				accepted++
			}
			done = true
		}})
		testutil.Must(t, w.Run(func() bool { return done }, 10_000))
	}
	accept(0, "192.0.2.8:1")
	later := false
	w.After(2*time.Second, func() { later = true })
	testutil.Must(t, w.Run(func() bool { return later }, 10_000))
	for accept(1, "192.0.2.9:1"); accepted == 1 && l.Conns() == 1; {
		w.Step()
	}
	accept(1, "192.0.2.9:1")
	if accepted != 2 || l.Conns() != 1 {
		t.Fatalf("%d accepted, %d open", accepted, l.Conns())
	}
}

// runsKernel notes whether runs leave it, and refuses messages to port 0 as Linux does.
type runsKernel struct {
	poller.Kernel
	runs, refused int
}

func (k *runsKernel) WriteBatch(fd poller.FD, b *poller.SendBatch, from int) (int, syscall.Errno) {
	if b.At(from).Peer.Port() == 0 {
		k.refused++
		return 0, syscall.EINVAL
	}
	n, e := k.Kernel.WriteBatch(fd, b, from)
	for i := range n {
		if b.At(from+i).Segment > 0 {
			k.runs++
		}
	}
	return n, e
}

// A peer that nothing can be sent to, with port 0 for instance, costs other peers nothing: they get runs.
func TestPort_runsGoOnAfterAnImpossiblePeer(t *testing.T) {
	for _, device := range []float64{0, 1} { // refuses no runs; refuses each
		w := sim.NewWorld(1)
		w.Net.Spread, w.Faults.RunInvalid = 0, device
		k := &runsKernel{Kernel: w.Kernel(0)}
		e, err := engine.New(engine.Options{Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return k, nil }})
		testutil.Must(t, err)
		w.Add(e.Reactors()[0])
		t.Cleanup(e.Stop)
		var port *engine.Port
		if _, err := e.ListenDatagrams(engine.ListenOptions{Addr: atUDP}, func(p *engine.Port) engine.PortHandler {
			port = p
			return &echoPort{}
		}); err != nil {
			t.Fatal(err)
		}
		p, got := w.DialDatagrams(atUDP), 0
		p.Handle = func(p *sim.DatagramPeer) { got += len(p.Take()) }
		send := func(to netip.AddrPort) {
			e.Reactors()[0].Post(&engine.Task{Run: func(*engine.Reactor) {
				for range 3 {
					port.Commit(append(port.Reserve(5), "equal"...), to, netip.Addr{})
				}
			}})
		}
		send(netip.AddrPortFrom(p.Addr().Addr(), 0))
		send(p.Addr())
		if err := w.Run(func() bool { return got == 3 }, 1000); err != nil {
			t.Fatal(err, got)
		}
		if k.refused != 4 || port.Lost() != 3 {
			t.Fatalf("%d refused, %d lost", k.refused, port.Lost())
		}
		k.runs = 0
		for range 2 {
			send(p.Addr())
			if err := w.Run(func() bool { return got >= 6 }, 1000); err != nil {
				t.Fatal(err, got)
			}
			got -= 3
		}
		if want := 2 * int(1-device); k.runs != want {
			t.Fatalf("a device that refuses runs (%v): %d left, want %d", device, k.runs, want)
		}
	}
}

// strictKernel notes which sockets are steered, which it refuses with e, and keeps room bytes for each.
type strictKernel struct {
	poller.Kernel
	steered *[]poller.FD
	e       syscall.Errno
	room    int
}

func (k strictKernel) Steer(fd poller.FD, program []poller.Instruction) syscall.Errno {
	*k.steered = append(*k.steered, fd)
	if e := k.Kernel.Steer(fd, program); e != 0 {
		return e
	}
	return k.e
}

func (k strictKernel) ReceiveRoom(poller.FD) int { return k.room }

// steering is a program that returns the number of sockets.
type steering struct{}

func (steering) Linked() bool { return false }

func (steering) Steer(sockets int) []poller.Instruction {
	return []poller.Instruction{{Code: 0x06, K: uint32(sockets)}}
}

// One program is for all sockets of an address. What the kernel refuses of it, or of the room for datagrams, is said
// once for the address, which serves all the same.
func TestEngine_refusedToPorts(t *testing.T) {
	for _, c := range []struct {
		e    syscall.Errno
		room int
		want string
	}{
		{0, poller.ReceiveWanted, ""},
		{syscall.EPERM, poller.ReceiveWanted,
			`INFO msg="steering refused (EPERM): datagrams go between event loops by mail" address=192.0.2.1:443`},
		{0, 212992, `WARN msg="UDP 443: 212992 bytes of receive buffer, 4 MiB wanted: ` +
			`sysctl -w net.core.rmem_max=4194304" address=192.0.2.1:443`},
	} {
		var said testutil.Output
		testutil.EventLog(t, slog.NewTextHandler(&said, nil))
		w, steered := sim.NewWorld(1), []poller.FD(nil)
		e, err := engine.New(engine.Options{Reactors: 3, Kernel: func(i int) (poller.Kernel, error) {
			return strictKernel{w.Kernel(i), &steered, c.e, c.room}, nil
		}})
		testutil.Must(t, err)
		t.Cleanup(e.Stop)
		l, err := e.ListenDatagrams(engine.ListenOptions{Addr: atUDP, Steering: steering{}},
			func(*engine.Port) engine.PortHandler { return &echoPort{} })
		if err != nil || l.Sockets() != 3 || len(steered) != 1 {
			t.Fatal(l, err, steered)
		}
		text := said.Take()
		if !strings.Contains(text, c.want) || strings.Count(text, "\n") != min(len(c.want), 1) {
			t.Errorf("%q, want %q", text, c.want)
		}
	}
}

// Without Steering no socket is steered.
func TestEngine_portsWithoutSteering(t *testing.T) {
	w, steered := sim.NewWorld(1), []poller.FD(nil)
	e, err := engine.New(engine.Options{Reactors: 2, Kernel: func(i int) (poller.Kernel, error) {
		return strictKernel{w.Kernel(i), &steered, 0, poller.ReceiveWanted}, nil
	}})
	testutil.Must(t, err)
	t.Cleanup(e.Stop)
	if _, err := e.ListenDatagrams(engine.ListenOptions{Addr: atUDP},
		func(*engine.Port) engine.PortHandler { return &echoPort{} }); err != nil || steered != nil {
		t.Fatal(err, steered)
	}
}

// TCP and UDP have an address each, and UDP has it once.
func TestEngine_listenDatagramsBesideTCP(t *testing.T) {
	e := start(t, engine.Options{Reactors: 2})
	ports := func(*engine.Port) engine.PortHandler { return &echoPort{} }
	var tcp, udp *engine.Listener
	for tries := 0; udp == nil; tries++ { // another program may have the number that the kernel chooses
		tcp = serve(t, e, engine.ListenOptions{}, echoes)
		var err error
		udp, err = e.ListenDatagrams(engine.ListenOptions{Addr: tcp.Addr()}, ports)
		if err != nil && (tries == 16 || !errors.Is(err, syscall.EADDRINUSE)) {
			t.Fatal(err)
		}
	}
	if udp.Addr() != tcp.Addr() || udp.Sockets() != 2 {
		t.Fatal(udp.Addr(), udp.Sockets())
	}
	if _, err := e.ListenDatagrams(engine.ListenOptions{Addr: tcp.Addr()}, ports); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatal(err)
	}
	if _, err := e.ListenDatagrams(engine.ListenOptions{Addr: poller.Addr{Path: "/nowhere"}}, ports); err == nil {
		t.Fatal("a Unix socket")
	}
}

// ask sends s until it comes back, and returns how often it was sent.
func ask(t testing.TB, c net.Conn, s string) (sent int) {
	t.Helper()
	buf := make([]byte, poller.DatagramMax)
	for deadline := time.Now().Add(testutil.Patience); time.Now().Before(deadline); {
		sent++
		_, err := c.Write([]byte(s))
		testutil.Must(t, err)
		c.SetReadDeadline(time.Now().Add(testutil.Patience / 4)) //nolint:errcheck
		for {
			n, err := c.Read(buf)
			if err != nil {
				break
			}
			if string(buf[:n]) == s {
				return sent
			}
		}
	}
	t.Fatalf("%d bytes did not come back", len(s))
	return 0
}

func TestPort_echoOverSockets(t *testing.T) {
	e := start(t, engine.Options{Reactors: 2})
	l, err := e.ListenDatagrams(engine.ListenOptions{Addr: loopback},
		func(*engine.Port) engine.PortHandler { return &echoPort{} })
	testutil.Must(t, err)
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			c, err := net.Dial("udp", l.Addr().IP.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close() //nolint:errcheck
			for i := range 50 {
				ask(t, c, strings.Repeat("x", i*i*i/2%9000))
			}
		})
	}
	clients.Wait()
}

// Sockets go from engine to engine: what waits in them is answered by the other one.
func TestEngine_adoptDatagrams(t *testing.T) {
	old := start(t, engine.Options{Reactors: 2})
	ports := func(*engine.Port) engine.PortHandler { return &echoPort{} }
	was, err := old.ListenDatagrams(engine.ListenOptions{Addr: loopback}, ports)
	testutil.Must(t, err)
	c, err := net.Dial("udp", was.Addr().IP.String())
	testutil.Must(t, err)
	defer c.Close() //nolint:errcheck
	for i, reactors := range []int{1, 3, 2} {
		ask(t, c, fmt.Sprint("before ", i))
		sockets, err := old.Duplicate(was)
		testutil.Must(t, err)
		next := start(t, engine.Options{Reactors: reactors})
		is, err := next.AdoptDatagrams(sockets[0], engine.ListenOptions{Suspended: true}, ports)
		if err != nil || is.Addr() != was.Addr() {
			t.Fatal(is, err)
		}
		ask(t, c, fmt.Sprint("both ", i))
		old.Suspend(was)
		_, err = c.Write([]byte("between"))
		testutil.Must(t, err)
		testutil.Must(t, next.Resume(is))
		got := make([]byte, 20)
		c.SetReadDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck
		if n, err := c.Read(got); err != nil || string(got[:n]) != "between" {
			t.Fatalf("%q, %v", got[:n], err)
		}
		old.Abandon(was)
		ask(t, c, fmt.Sprint("after ", i))
		old.Stop()
		old, was = next, is
	}
	old.Stop()
	if _, err := old.AdoptDatagrams(nil, engine.ListenOptions{}, ports); err == nil {
		t.Fatal("adopts nothing")
	}
}

// A drain has idle connections end, and tells the others how long they have.
func TestEngine_drainsPorts(t *testing.T) {
	e := start(t, engine.Options{Reactors: 1})
	var made []*wireHandler
	var mu sync.Mutex
	l, err := e.ListenDatagrams(engine.ListenOptions{Addr: loopback}, newWires(func(l *wire) engine.Handler {
		mu.Lock()
		defer mu.Unlock()
		h := &wireHandler{l: l}
		made = append(made, h)
		h.onOpen = func(*engine.Conn) {
			l.send("hello")
			if len(made) == 1 {
				l.held = 0
				l.carried.SetHeld(0)
			}
		}
		return h
	}))
	testutil.Must(t, err)
	for range 2 {
		c, err := net.Dial("udp", l.Addr().IP.String())
		testutil.Must(t, err)
		defer c.Close()                                      //nolint:errcheck
		c.Write([]byte("hi"))                                //nolint:errcheck
		c.SetReadDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck
		if n, err := c.Read(make([]byte, 9)); n != 5 {
			t.Fatal(n, err)
		}
	}
	if e.Drain(600 * time.Millisecond) {
		t.Fatal("a busy connection is over")
	}
	e.Stop()
	made[0].want(t, "open", "draining", "cut soon", "close <nil>", "drop")
	made[1].want(t, "open", "draining", "cut soon", "close engine is stopped", "drop")
}

// Whatever is done to listeners of ports in two engines that share their sockets, with connections alive, each
// connection ends once, each datagram is read by one of them, and no descriptor is left.
func TestListener_portsInAnyOrder(t *testing.T) {
	seeds := testutil.RaceRounds(300)
	if soak() {
		seeds = 30_000
	}
	for seed := range uint64(seeds) {
		portsInAnyOrder(t, seed)
	}
}

// portTown is a World with engines that have the sockets of one address.
type portTown struct {
	t        *testing.T
	w        *sim.World
	seed     uint64
	rng      *rand.Rand
	reactors int
	sides    []portSide
	peers    []*sim.DatagramPeer
	wires    []*wire
	ops      []int
	ended    int
}

type portSide struct {
	e *engine.Engine
	l *engine.Listener
}

func portsInAnyOrder(t *testing.T, seed uint64) {
	v := &portTown{t: t, w: sim.NewWorld(seed), seed: seed}
	v.rng = v.w.Rand()
	v.w.Net.Spread, v.w.Net.BufferMin, v.w.Net.BufferMax = 0, 3000, 20_000
	if seed%2 == 0 {
		v.w.Faults = sim.Faults{ShortWrite: 0.3, RunInvalid: 0.1, DatagramRefused: 0.1}
	}
	e := v.newEngine()
	l, err := e.ListenDatagrams(engine.ListenOptions{Addr: atUDP, ConnsMax: 6 * v.rng.IntN(2)}, v.ports())
	v.must(err)
	v.sides = append(v.sides, portSide{e, l})
	for range 40 {
		v.step()
	}
	v.settle()
	accepted := 0
	for _, s := range v.sides {
		accepted += int(s.e.Stats().Accepted)
		s.e.Stop()
		if s.e.Conns() != 0 || s.l.Conns() != 0 {
			v.must(fmt.Errorf("%d connections are left, %d of the listener", s.e.Conns(), s.l.Conns()))
		}
	}
	v.must(v.w.Err())
	if fds := v.w.OpenFDs(); accepted != v.ended || len(fds) > 0 {
		v.must(fmt.Errorf("%d were accepted, %d ended, descriptors %v", accepted, v.ended, fds))
	}
}

func (v *portTown) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatalf("seed %d: %v: %v", v.seed, v.ops, err)
	}
}

func (v *portTown) newEngine() *engine.Engine {
	base := v.reactors
	o := engine.Options{Reactors: 1 + v.rng.IntN(2), SendLow: 1000, SendTimeout: time.Second}
	v.reactors += o.Reactors
	o.Kernel = func(i int) (poller.Kernel, error) { return v.w.Kernel(base + i), nil }
	e, err := engine.New(o)
	v.must(err)
	for _, r := range e.Reactors() {
		v.w.Add(r)
	}
	return e
}

// ports makes connections that begin with sending much.
func (v *portTown) ports() func(*engine.Port) engine.PortHandler {
	return newWires(func(l *wire) engine.Handler {
		h := &wireHandler{l: l}
		v.wires = append(v.wires, l)
		h.onOpen = func(*engine.Conn) {
			for range v.rng.IntN(30) {
				l.send(strings.Repeat("x", v.rng.IntN(900)))
			}
		}
		return &countsEnd{h, &v.ended}
	})
}

// step does something to a listener, or has a peer send, and passes a while.
func (v *portTown) step() {
	s, op := v.sides[v.rng.IntN(len(v.sides))], v.rng.IntN(12)
	if v.seed%4 < 2 && (op == 0 && s.l.Conns() == 0 || op == 4 || op == 5) {
		op = 11 // the sockets stay open, and with one engine
	}
	v.ops = append(v.ops, op)
	switch op {
	case 0:
		s.l.Close()
	case 1:
		s.l.Reopen()
	case 2:
		s.e.Suspend(s.l)
	case 3:
		v.must(s.e.Resume(s.l))
	case 4:
		if v.rng.IntN(4) == 0 {
			s.e.Abandon(s.l)
		}
	case 5:
		v.share(s)
	case 6:
		s.e.Join(s.l)
	default:
		if len(v.peers) == 0 || v.rng.IntN(3) == 0 {
			v.peers = append(v.peers, v.w.DialDatagrams(atUDP))
		}
		p := v.peers[v.rng.IntN(len(v.peers))]
		for range 1 + v.rng.IntN(200) {
			p.Send([]byte([]string{"hello", "ack", ""}[v.rng.IntN(3)]))
		}
		if v.rng.IntN(4) == 0 {
			p.Send([]byte("bye"))
		}
	}
	later := false
	v.w.After(time.Duration(v.rng.IntN(80))*time.Millisecond, func() { later = true })
	v.must(v.w.Run(func() bool { return later }, 1_000_000))
}

// settle has what waits leave, unless the sockets are closed. With two engines one may have what the other waits for.
func (v *portTown) settle() {
	if len(v.sides) > 1 || v.sides[0].l.Sockets() == 0 {
		return
	}
	v.must(v.sides[0].e.Resume(v.sides[0].l))
	v.must(v.w.Run(func() bool {
		return !slices.ContainsFunc(v.wires, func(l *wire) bool {
			return l.conn != nil && l.conn.Open() && len(l.queue) > 0
		})
	}, 1_000_000))
}

// share has a second engine take the sockets of s as well.
func (v *portTown) share(s portSide) {
	if len(v.sides) > 1 {
		return
	}
	sockets, err := s.e.Duplicate(s.l)
	v.must(err)
	if len(sockets[0]) == 0 {
		return
	}
	next := v.newEngine()
	l, err := next.AdoptDatagrams(sockets[0], engine.ListenOptions{Suspended: v.rng.IntN(2) == 0}, v.ports())
	v.must(err)
	v.sides = append(v.sides, portSide{next, l})
}

// countsEnd counts the ends of connections.
type countsEnd struct {
	*wireHandler
	ended *int
}

func (h *countsEnd) OnClose(c *engine.Conn, cause error) { *h.ended++ }
