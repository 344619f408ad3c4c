package quicconn_test

import (
	"errors"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/quic"
)

// What clients send comes back, over networks that lose, double, change and reorder datagrams, and afterwards nothing
// is left.
func TestServer_echo(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 12 // of each number of reactors four, half of them over bad networks
	}
	moved, followed := 0, uint64(0)
	for seed := range seeds {
		g := newRig(t, seed, 1+int(seed%3), engine.ListenOptions{})
		if seed%2 == 1 {
			g.w.Net.Loss, g.w.Net.Duplicate, g.w.Net.Corrupt = 0.03, 0.02, 0.01
		}
		var clients []*client
		for range 3 {
			clients = append(clients, g.dial())
		}
		for _, c := range clients {
			g.run("the handshake", func() bool { return c.Established })
			for range 4 {
				c.send(g.w.Rand().IntN(100_000))
			}
			if seed%4 > 1 {
				// A NAT forgets the client, which goes on sending: a server whose challenges are lost is at its old
				// address again, and hears of the client by its next packet.
				g.w.After(time.Duration(g.w.Rand().IntN(60))*time.Millisecond, func() {
					if moved++; c.Closed || c.left == 0 {
						return
					}
					c.Rebind(netipPort("198.51.100.7", 2000+uint16(moved)))
					var again func()
					again = func() {
						if c.left > 0 && !c.Closed {
							c.send(1000)
							g.w.After(5*time.Second, again)
						}
					}
					again()
				})
			}
		}
		for _, c := range clients {
			g.run("what was sent comes back", func() bool { return c.left == 0 || c.Closed })
			if c.Closed {
				t.Fatalf("seed %d: %v", seed, c.Conn.Closed())
			}
			c.Do(func() { c.Conn.Close(closeCode) })
		}
		g.run("all connections end", func() bool { return g.l.Conns() == 0 })
		g.after(time.Minute)
		for _, r := range g.e.Reactors() {
			st := g.s.Codec(r)
			if followed += st.Moves; st.Pages != 0 {
				t.Fatalf("seed %d: %d pages are left", seed, st.Pages)
			}
		}
		for _, s := range g.sessions {
			if !s.opened || !s.closed || s.batches == 0 {
				t.Fatalf("seed %d: a session has opened %v, closed %v, %d batches", seed, s.opened, s.closed, s.batches)
			}
		}
	}
	if followed == 0 {
		t.Error("no client was followed to another address")
	}
}

// A client whose datagrams come to another reactor is served by that of its connection.
func TestServer_mailsToTheReactorOfTheID(t *testing.T) {
	g := newRig(t, 3, 4, engine.ListenOptions{})
	c := g.connect()
	before := g.sessions[0].got
	for port := uint16(1000); g.stats().Mailed == 0; port++ {
		if port == 1100 {
			t.Fatal("no address comes to another reactor")
		}
		c.Rebind(netipPort("198.51.100.7", port))
		c.send(10)
		g.after(20 * time.Millisecond)
	}
	g.run("the session gets what was mailed", func() bool { return g.sessions[0].got > before })
	if n := g.stats().MailLost; n != 0 {
		t.Fatal(n)
	}
}

// A client of another version is told of version 1, where its datagram was large enough.
func TestServer_versionNegotiation(t *testing.T) {
	g := newRig(t, 1, 1, engine.ListenOptions{})
	p := g.w.DialDatagrams(at443)
	hello := append([]byte{0xc0, 0xfa, 0xce, 0xb0, 0x0c, 8, 1, 2, 3, 4, 5, 6, 7, 8, 2, 'm', 'e'}, make([]byte, 1200)...)
	p.Send(hello[:1199])
	p.Send(hello)
	g.after(time.Second)
	got := p.Take()
	if len(got) != 1 {
		t.Fatalf("%d answers", len(got))
	}
	h, ok := quic.Parse(got[0].Data)
	if !ok || h.Kind != quic.VersionsPacket || string(h.Dest) != "me" {
		t.Fatalf("%v %+v", ok, h)
	}
	if s := g.stats(); s.Versions != 1 || s.Unknown != 1 {
		t.Fatalf("%+v", s)
	}
}

// Answers that the kernel refuses to send are counted, also when the port is closed and another one is open.
func TestServer_countsUnsent(t *testing.T) {
	g := newRig(t, 1, 1, engine.ListenOptions{})
	p := g.w.DialDatagrams(at443)
	hello := append([]byte{0xc0, 0xfa, 0xce, 0xb0, 0x0c, 8, 1, 2, 3, 4, 5, 6, 7, 8, 2, 'm', 'e'}, make([]byte, 1200)...)
	for want := range uint64(3) {
		g.w.Faults.DatagramRefused = 1
		if want > 0 {
			p.Send(hello)
		}
		g.run("the kernel refuses an answer", func() bool { return g.stats().Versions == want })
		g.after(time.Millisecond)
		if n := g.stats().Unsent; n != want {
			t.Fatalf("%d of %d", n, want)
		}
		g.w.Faults.DatagramRefused = 0
		g.l.Close()
		g.run("the port is closed", g.l.Closed)
		var err error
		if g.l, err = g.e.ListenDatagrams(engine.ListenOptions{Addr: at443}, g.s.Port); err != nil {
			t.Fatal(err)
		}
	}
}

// A packet of an unknown connection gets a stateless reset that is smaller, and ends the connection of its sender. So
// many get one in a second.
func TestServer_statelessReset(t *testing.T) {
	g := newRig(t, 1, 2, engine.ListenOptions{})
	c := g.connect()
	other := newRig(t, 1, 2, engine.ListenOptions{}) // with the same secret, as a process that was started again
	p := other.w.DialDatagrams(at443)
	c.Net.Handle = nil
	sent := 0
	c.Do(func() {
		for range 3 {
			if s, err := c.Conn.Open(quic.TwoWay); err == nil {
				c.Conn.Send(s, make([]byte, 300), true)
			}
		}
		for {
			d, _ := c.Conn.AppendDatagram(make([]byte, 0, quic.DatagramMax), g.w.Now())
			if len(d) == 0 {
				break
			}
			p.Send(d)
			sent++
		}
	})
	other.after(time.Second)
	resets := p.Take()
	if len(resets) != sent || sent == 0 {
		t.Fatalf("%d resets for %d packets", len(resets), sent)
	}
	c.Conn.Receive(resets[0].Data, c.Conn.Path(), g.w.Now())
	for ev := c.Conn.Next(); ev.Kind != quic.None; ev = c.Conn.Next() {
		if ev.Kind == quic.Closed && !errors.Is(c.Conn.Closed().Err, quic.ErrReset) {
			t.Fatal(c.Conn.Closed())
		}
	}
	if !c.Conn.Over() {
		t.Fatal("the client goes on after the reset")
	}
	short := make([]byte, 100)
	short[0] = 0x40
	for range 500 {
		p.Send(short)
	}
	other.after(100 * time.Millisecond)
	n := 0
	for _, d := range p.Take() {
		if n++; len(d.Data) >= len(short) {
			t.Fatal("a reset is as long as its cause")
		}
	}
	if n == 0 || n > 200 {
		t.Fatalf("%d resets at once", n)
	}
}

// Noise of any size is dropped, and begins nothing.
func TestServer_noise(t *testing.T) {
	g := newRig(t, 1, 2, engine.ListenOptions{})
	p := g.w.DialDatagrams(at443)
	for _, n := range []int{0, 1, 20, 21, 1199, 1200, 1452, 65507} {
		for range 20 {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(g.w.Rand().Uint32())
			}
			p.Send(b)
			if n > 5 {
				copy(b, []byte{0xc0 | b[0]&0x3f, 0, 0, 0, 1})
				p.Send(b)
			}
		}
	}
	g.after(20 * time.Second)
	if g.l.Conns() != 0 || len(g.sessions) != 0 {
		t.Fatalf("%d connections of noise", g.l.Conns())
	}
	for _, r := range g.e.Reactors() {
		if n := g.s.Codec(r).Pages; n != 0 {
			t.Fatalf("%d pages are left", n)
		}
	}
}

// An Initial that nobody has sealed for its id begins nothing, not even for the time of a handshake.
func TestServer_unsealedInitial(t *testing.T) {
	g := newRig(t, 1, 2, engine.ListenOptions{})
	p := g.w.DialDatagrams(at443)
	for i := range byte(100) {
		b := make([]byte, 1200)
		copy(b, []byte{0xc3, 0, 0, 0, 1, 8, i, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x9e})
		p.Send(b)
	}
	g.run("all have come", func() bool { return g.stats().Received == 100 })
	g.after(100 * time.Millisecond)
	if n := g.stats(); g.l.Conns() != 0 || n.Unknown != 100 || n.Sent != 0 {
		t.Fatalf("%d connections, %+v", g.l.Conns(), n)
	}
	if c := g.connect(); c.Closed {
		t.Fatal("no connection is taken afterwards")
	}
}

// A connection that is not taken is refused, so that the client uses TCP at once: at the limit, by a listener that
// closes, and by a handler that does not come.
// A client has nothing to say for TLS after its handshake, of which nothing is kept.
func TestServer_cryptoAfterwards(t *testing.T) {
	g := newRig(t, 1, 1, engine.ListenOptions{})
	c := g.connect()
	c.Do(func() { c.Conn.SendCrypto(quic.OneRTT, []byte{24, 0, 0, 1, 0}) }) // KeyUpdate, which RFC 9001 §6 forbids
	g.run("the end", func() bool { return c.Closed })
	if k := c.Conn.Closed(); !k.ByPeer || k.App || quic.Code(k.Code) != quic.CryptoError(10) {
		t.Errorf("%+v", k)
	}
}

func TestServer_refuses(t *testing.T) {
	refused := func(t *testing.T, g *rig) {
		t.Helper()
		c := g.dial()
		g.run("the refusal", func() bool { return c.Closed })
		if k := c.Conn.Closed(); !k.ByPeer || k.App || quic.Code(k.Code) != quic.ConnectionRefused {
			t.Fatalf("%+v", k)
		}
		if g.stats().Refused == 0 {
			t.Fatalf("%+v", g.stats())
		}
	}
	t.Run("limit", func(t *testing.T) {
		g := newRig(t, 1, 2, engine.ListenOptions{ConnsMax: 1})
		c := g.connect()
		refused(t, g)
		if c.Closed {
			t.Fatal("the connection that is there has ended")
		}
	})
	t.Run("closing", func(t *testing.T) {
		g := newRig(t, 1, 2, engine.ListenOptions{})
		g.connect()
		g.l.Close()
		g.after(time.Second)
		refused(t, g)
	})
	t.Run("handler", func(t *testing.T) {
		g := newRig(t, 1, 2, engine.ListenOptions{})
		g.s.Use(quicconn.Accept{Begin: func(*engine.Conn) engine.Handler { return nil }})
		refused(t, g)
		g.run("nothing is left", func() bool { return g.l.Conns() == 0 })
	})
}

// A connection that comes while memory is short may have few streams.
func TestServer_fewStreamsWhileMemoryIsShort(t *testing.T) {
	g := newRig(t, 1, 1, engine.ListenOptions{})
	r := g.e.Reactors()[0]
	before := g.connect()
	g.on(g.sessions[0], func() { r.Account(int(g.e.Memory() / 100 * 76)) })
	c := g.connect()
	g.on(g.sessions[0], func() { r.Account(-int(g.e.Memory() / 100 * 76)) })
	after := g.connect()
	if n := c.Conn.RoomFor(quic.TwoWay); n != scarce {
		t.Errorf("%d streams", n)
	}
	for _, c := range []*client{before, after} {
		if n := c.Conn.RoomFor(quic.TwoWay); n <= scarce {
			t.Errorf("%d streams", n)
		}
	}
}

// Close of the engine's connection waits until the client has got all, and then tells it.
func TestConn_closes(t *testing.T) {
	g := newRig(t, 1, 1, engine.ListenOptions{})
	c := g.connect()
	s := g.sessions[0]
	c.send(200_000)
	g.run("the last byte came", func() bool { return s.got == 200_000 && len(s.lanes) == 0 })
	g.on(s, func() { s.c.Conn().Close(nil) })
	g.run("all is there, and the end", func() bool { return c.left == 0 && c.Closed })
	if k := c.Conn.Closed(); k.Code != closeCode || !k.App {
		t.Fatalf("%+v", k)
	}
	if !s.closed || s.cause != nil {
		t.Fatal(s.closed, s.cause)
	}
}

// What ends a connection reaches its session.
func TestConn_ends(t *testing.T) {
	for what, end := range map[string]struct {
		f    func(g *rig, c *client, s *echo)
		want error
	}{
		"by the client": {func(_ *rig, c *client, _ *echo) { c.Do(func() { c.Conn.Close(7) }) }, quic.ErrPeer},
		"by silence":    {func(g *rig, c *client, _ *echo) { g.w.Net.Loss = 1 }, quic.ErrIdle},
		"by a panic":    {func(_ *rig, c *client, s *echo) { s.c = nil; c.send(1) }, nil},
		"by its own codec": {func(g *rig, _ *client, s *echo) {
			g.on(s, func() { s.c.QUIC().Close(9); s.c.Wake() })
		}, nil},
		"by its own engine": {func(g *rig, _ *client, s *echo) {
			g.on(s, func() { s.c.Conn().Close(errOwn) })
		}, errOwn},
	} {
		t.Run(what, func(t *testing.T) {
			g := newRig(t, 1, 1, engine.ListenOptions{})
			c := g.connect()
			s := g.sessions[0]
			end.f(g, c, s)
			g.run("the session hears of it", func() bool { return s.closed })
			if end.want != nil && !errors.Is(s.cause, end.want) {
				t.Fatalf("cause %v, not %v", s.cause, end.want)
			}
			g.run("the engine too", func() bool { return g.l.Conns() == 0 })
			if g.w.Net.Loss == 0 {
				g.run("and the client", func() bool { return c.Closed })
			}
		})
	}
}

var errOwn = errors.New("of a test")

// A client that does not finish its handshake ends in time, and one that goes on sending to a connection that is over
// hears of its end.
func TestConn_handshakeEnds(t *testing.T) {
	g := newRig(t, 1, 1, engine.ListenOptions{})
	c := g.dial()
	g.run("the first packet came", func() bool { return g.l.Conns() == 1 })
	c.Net.Handle = func(p *sim.DatagramPeer) { p.Take() }
	g.run("it ends", func() bool { return g.l.Conns() == 0 })
	if n := g.hs.Stats().Current; n != 0 {
		t.Fatal(n)
	}
}
