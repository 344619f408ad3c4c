package quicconn_test

import (
	"bytes"
	"crypto/tls"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
)

var at443 = poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:443")}

const (
	alpn      = "edge-test"
	closeCode = 0x100
	scarce    = 7
)

var certificate = sync.OnceValue(func() tls.Certificate {
	t := new(testing.T) // whose failure is a panic
	return testutil.NewAuthority(t).KeyPair(t, "a.test")
})

func serverOptions() tlsconn.ServerOptions {
	return tlsconn.ServerOptions{Config: &tls.Config{
		Certificates: []tls.Certificate{certificate()}, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13}}
}

func clientConfig() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{alpn},
		MinVersion: tls.VersionTLS13}
}

// rig is a Server in a simulated world, whose sessions send back what comes.
type rig struct {
	t        *testing.T
	w        *sim.World
	e        *engine.Engine
	l        *engine.Listener
	s        *quicconn.Server
	hs       *tlsconn.Handshaker
	sessions []*echo
	secure   tlsconn.ServerOptions
	onOpen   func(*echo)
	kernels  int // of the world that are in use
}

// settled is a reactor that has its turn when no handshake computes: so the seed alone decides what happens.
type settled struct {
	r  *engine.Reactor
	hs *tlsconn.Handshaker
}

func (s settled) Tick() {
	select {
	case <-s.r.Ended():
		return
	default:
	}
	for s.hs.Stats().Computing > 0 {
		runtime.Gosched()
	}
	s.r.Tick()
}

func newRig(t *testing.T, seed uint64, reactors int, o engine.ListenOptions) *rig {
	t.Helper()
	return newCrowdedRig(t, seed, reactors, o, tlsconn.HandshakerOptions{})
}

func newCrowdedRig(
	t *testing.T, seed uint64, reactors int, o engine.ListenOptions, handshakes tlsconn.HandshakerOptions,
) *rig {
	t.Helper()
	g := &rig{t: t, w: sim.NewWorld(seed)}
	g.begin(reactors, quicconn.Options{Secret: quicconn.Secret{byte(seed), 1}, CloseCode: closeCode}, handshakes)
	o.Addr = at443
	var err error
	if g.l, err = g.e.ListenDatagrams(o, g.s.Port); err != nil {
		t.Fatal(err)
	}
	return g
}

// begin makes an engine and a Server that does not listen yet.
func (g *rig) begin(reactors int, o quicconn.Options, handshakes tlsconn.HandshakerOptions) {
	var err error
	first := g.kernels
	g.kernels += reactors
	g.e, err = engine.New(engine.Options{Reactors: reactors,
		Kernel: func(i int) (poller.Kernel, error) { return g.w.Kernel(first + i), nil }})
	testutil.Must(g.t, err)
	g.t.Cleanup(g.e.Stop)
	g.hs = tlsconn.NewHandshaker(g.e, handshakes)
	for _, r := range g.e.Reactors() {
		g.w.Add(settled{r, g.hs})
	}
	g.s = quicconn.NewServer(g.e, o)
	g.secure = serverOptions()
	g.use(quicconn.RetryAuto)
}

// use has new connections begin after a Retry, or without.
func (g *rig) use(r quicconn.Retry) {
	begin := quicconn.Secure(g.hs, g.secure, g.accept)
	g.s.Use(quicconn.Accept{Begin: begin, Scarce: scarce, Retry: r, Crowded: g.hs.Crowded})
}

func (g *rig) accept(c *engine.Conn) engine.Handler {
	s := &echo{g: g, c: quicconn.Of(c)}
	g.sessions = append(g.sessions, s)
	return s
}

// run runs the world until done.
func (g *rig) run(what string, done func() bool) {
	g.t.Helper()
	if err := g.w.Run(done, 200_000); err != nil {
		g.t.Fatalf("%s: %v", what, err)
	}
}

// after runs the world for d.
func (g *rig) after(d time.Duration) {
	g.t.Helper()
	over := false
	g.w.After(d, func() { over = true })
	g.run("time passes", func() bool { return over })
}

// on runs f on the reactor of s.
func (g *rig) on(s *echo, f func()) {
	g.t.Helper()
	done := false
	s.c.Conn().Reactor().Post(&engine.Task{Run: func(*engine.Reactor) { f(); done = true }})
	g.run("a task", func() bool { return done })
}

func netipPort(ip string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), port)
}

// stats adds up the counters of all reactors. No reactor runs meanwhile.
func (g *rig) stats() (sum quicconn.Stats) {
	for _, r := range g.e.Reactors() {
		s := g.s.Stats(r)
		sum.Add(&s)
	}
	return sum
}

// echo is a Session that sends back what comes.
type echo struct {
	g       *rig
	c       *quicconn.Conn
	opened  bool
	closed  bool
	cause   error
	batches int
	got     int
	lanes   map[*quic.Stream]*lane
}

// lane is one stream of an echo.
type lane struct {
	out []byte
	end bool
}

func (s *echo) OnOpen(*engine.Conn) {
	s.opened = true
	if s.g.onOpen != nil {
		s.g.onOpen(s)
	}
}

func (s *echo) OnEvent(ev *quic.Event) {
	switch ev.Kind {
	case quic.Data:
		s.got += len(ev.Body)
		if s.lanes == nil {
			s.lanes = make(map[*quic.Stream]*lane)
		}
		n := s.lanes[ev.Stream]
		if n == nil {
			n = &lane{}
			s.lanes[ev.Stream] = n
		}
		n.out, n.end = append(n.out, ev.Body...), n.end || ev.End
		s.c.QUIC().Release(ev.Stream, len(ev.Body))
		s.push(ev.Stream, n)
	case quic.Sendable:
		if n := s.lanes[ev.Stream]; n != nil {
			s.push(ev.Stream, n)
		}
	}
}

func (s *echo) push(q *quic.Stream, n *lane) {
	sent := s.c.QUIC().Send(q, n.out, n.end)
	n.out = n.out[sent:]
	if n.end && len(n.out) == 0 {
		delete(s.lanes, q)
		s.c.QUIC().Done(q)
	}
}

func (s *echo) EndBatch()                            { s.batches++ }
func (s *echo) OnData(_ *engine.Conn, in []byte) int { return len(in) }
func (s *echo) OnSendable(*engine.Conn)              {}
func (s *echo) OnTimeout(c *engine.Conn)             { c.Close(engine.ErrTimeout) }
func (s *echo) OnEOF(*engine.Conn)                   {}
func (s *echo) OnClose(_ *engine.Conn, cause error)  { s.closed, s.cause = true, cause }
func (s *echo) Idle() bool                           { return len(s.lanes) == 0 }
func (s *echo) IdleSince(*engine.Conn) int64         { return 0 }
func (s *echo) OnYield(c *engine.Conn)               { c.Finish() }

// client is a connection of a test, which sends bodies and compares what comes back.
type client struct {
	*quicpeer.Peer
	g     *rig
	lanes map[*quic.Stream]*body
	left  int // streams that are not over
}

type body struct {
	out, want, got []byte
	over           bool
}

func (g *rig) dial() *client {
	c := &client{g: g, lanes: make(map[*quic.Stream]*body)}
	config := clientConfig()
	c.Peer = quicpeer.Dial(g.t, g.w, at443, config, quic.Options{}, c.onEvent)
	return c
}

// connect dials, and waits for the end of the handshake.
func (g *rig) connect() *client {
	g.t.Helper()
	c := g.dial()
	g.run("the handshake", func() bool { return c.Established })
	return c
}

// send opens a stream for n bytes.
func (c *client) send(n int) {
	c.Do(func() {
		s, err := c.Conn.Open(quic.TwoWay)
		if err != nil {
			c.g.t.Error(err)
			return
		}
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(c.g.w.Rand().Uint32())
		}
		c.lanes[s] = &body{out: b, want: b}
		c.left++
		c.push(s)
	})
}

func (c *client) push(s *quic.Stream) {
	b := c.lanes[s]
	b.out = b.out[c.Conn.Send(s, b.out, true):]
}

func (c *client) onEvent(ev *quic.Event) {
	b := c.lanes[ev.Stream]
	switch {
	case b == nil || b.over:
	case ev.Kind == quic.Sendable:
		c.push(ev.Stream)
	case ev.Kind == quic.Data:
		b.got = append(b.got, ev.Body...)
		c.Conn.Release(ev.Stream, len(ev.Body))
		if ev.End {
			if !bytes.Equal(b.got, b.want) {
				c.g.t.Errorf("%d bytes came back of %d, or others", len(b.got), len(b.want))
			}
			b.over = true
			c.left--
			c.Conn.Done(ev.Stream)
		}
	}
}
