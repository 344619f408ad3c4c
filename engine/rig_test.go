package engine_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

var loopback = poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}

// rig is one reactor on a sim.Loop, driven tick by tick.
type rig struct {
	t        *testing.T
	loop     *sim.Loop
	kernel   *faulty
	engine   *engine.Engine
	reactor  *engine.Reactor
	listener *engine.Listener
	door     poller.FD
	accept   func(c *engine.Conn) engine.Handler
}

// faulty is a kernel with some calls replaced.
type faulty struct {
	poller.Kernel
	onAccept  func(l poller.FD) (poller.FD, poller.Addr, syscall.Errno)
	onConnect func(a poller.Addr, o *poller.ConnectOptions) (poller.FD, syscall.Errno)
	onRead    func(fd poller.FD, p []byte) (int, syscall.Errno)
	onWrite   func(fd poller.FD, p []byte) (int, syscall.Errno)
	backlogs  []int // that were set
}

func (k *faulty) SetBacklog(_ poller.FD, n int) { k.backlogs = append(k.backlogs, n) }

func (k *faulty) Accept(l poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
	if k.onAccept != nil {
		return k.onAccept(l)
	}
	return k.Kernel.Accept(l)
}

func (k *faulty) Connect(a poller.Addr, o *poller.ConnectOptions) (poller.FD, syscall.Errno) {
	if k.onConnect != nil {
		return k.onConnect(a, o)
	}
	return k.Kernel.Connect(a, o)
}

func (k *faulty) Read(fd poller.FD, p []byte) (int, syscall.Errno) {
	if k.onRead != nil {
		return k.onRead(fd, p)
	}
	return k.Kernel.Read(fd, p)
}

func (k *faulty) Write(fd poller.FD, p []byte) (int, syscall.Errno) {
	if k.onWrite != nil {
		return k.onWrite(fd, p)
	}
	return k.Kernel.Write(fd, p)
}

func newRig(t *testing.T, o engine.Options) *rig {
	t.Helper()
	g := &rig{t: t, loop: sim.NewLoop()}
	g.kernel = &faulty{Kernel: g.loop}
	o.Reactors = 1
	o.Memory = max(o.Memory, 64<<20)
	o.Kernel = func(int) (poller.Kernel, error) { return g.kernel, nil }
	e, err := engine.New(o)
	testutil.Must(t, err)
	g.engine, g.reactor = e, e.Reactors()[0]
	t.Cleanup(e.Stop)
	return g
}

// listen opens the rig's listener.
func (g *rig) listen(o engine.ListenOptions) {
	g.t.Helper()
	o.Addr = loopback
	g.door = 3 // the first descriptor of a Loop
	l := serve(g.t, g.engine, o, func(c *engine.Conn) engine.Handler { return g.accept(c) })
	g.listener = l
}

// open has a client connect and gives its connection the handler h.
func (g *rig) open(h engine.Handler) (*engine.Conn, poller.FD) {
	g.t.Helper()
	if g.listener == nil {
		g.listen(engine.ListenOptions{})
	}
	var c *engine.Conn
	g.accept = func(conn *engine.Conn) engine.Handler {
		c = conn
		return h
	}
	fd := g.loop.Offer(g.door, loopback)
	g.ticks(2)
	if c == nil {
		g.t.Fatal("not accepted")
	}
	return c, fd
}

// dial connects to somewhere, with the handler h.
func (g *rig) dial(h engine.Handler) (c *engine.Conn, fd poller.FD) {
	g.t.Helper()
	g.loop.OnConnect = func(f poller.FD, _ poller.Addr) { fd = f }
	g.on(func() {
		var err error
		if c, err = g.reactor.Dial(loopback, h, nil); err != nil {
			g.t.Fatal(err)
		}
	})
	g.ticks(1)
	return c, fd
}

// inject lets s arrive at fd and ticks.
func (g *rig) inject(fd poller.FD, s string) {
	g.loop.Inject(fd, []byte(s))
	g.ticks(2)
}

// ticks lets the reactor work n times. A task each time keeps the Loop's clock from jumping to the next timer.
func (g *rig) ticks(n int) {
	for range n {
		g.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {}})
		g.reactor.Tick()
	}
}

// on runs f as a task of the reactor.
func (g *rig) on(f func()) {
	g.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { f() }})
	g.ticks(1)
}

// pass lets time go by.
func (g *rig) pass(d time.Duration) {
	g.loop.Advance(int64(d))
	g.ticks(3)
}

func (g *rig) sent(fd poller.FD) string { return string(g.loop.Sock(fd).Sent) }

func (g *rig) want(got, want string) {
	g.t.Helper()
	if got != want {
		g.t.Fatalf("got  %q\nwant %q", got, want)
	}
}

// script is a Handler that writes down its events, and does what the functions say.
type script struct {
	log        []string
	onOpen     func(c *engine.Conn)
	onData     func(c *engine.Conn, in []byte) int
	onSendable func(c *engine.Conn)
	onTimeout  func(c *engine.Conn)
	onEOF      func(c *engine.Conn)
	onClose    func(c *engine.Conn, cause error)
}

func (s *script) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}
func (s *script) events() string        { return strings.Join(s.log, " ") }
func (s *script) saw(event string) bool { return slices.Contains(s.log, event) }

func (s *script) OnOpen(c *engine.Conn) {
	s.note("open")
	if s.onOpen != nil {
		s.onOpen(c)
	}
}

func (s *script) OnData(c *engine.Conn, in []byte) int {
	if len(in) <= 32 {
		s.note("data(%s)", in)
	} else {
		s.note("data(%d)", len(in))
	}
	if s.onData != nil {
		return s.onData(c, in)
	}
	return len(in)
}

func (s *script) OnSendable(c *engine.Conn) {
	s.note("sendable")
	if s.onSendable != nil {
		s.onSendable(c)
	}
}

func (s *script) OnTimeout(c *engine.Conn) {
	s.note("timeout")
	if s.onTimeout != nil {
		s.onTimeout(c)
	}
}

func (s *script) OnEOF(c *engine.Conn) {
	s.note("eof")
	if s.onEOF != nil {
		s.onEOF(c)
	}
}

func (s *script) OnClose(c *engine.Conn, cause error) {
	s.note("close(%v)", cause)
	if s.onClose != nil {
		s.onClose(c, cause)
	}
}
