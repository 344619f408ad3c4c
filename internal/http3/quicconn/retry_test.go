package quicconn_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/quic"
)

// initial is a datagram that looks like the first Initial of a client, and that nobody has sealed.
func initial(id string, token []byte) []byte {
	d := append([]byte{0xc3, 0, 0, 0, 1, byte(len(id))}, id...)
	d = append(d, 2, 'm', 'e')
	d = binary.BigEndian.AppendUint16(d, 1<<14|uint16(len(token)))
	d = append(d, token...)
	d = binary.BigEndian.AppendUint16(d, 1<<14|uint16(quic.DatagramSize-len(d)-2))
	return append(d, make([]byte, quic.DatagramSize-len(d))...)
}

// asked returns the header of the only answer that p has got.
func (g *rig) asked(p *sim.DatagramPeer, d []byte) quic.Header {
	g.t.Helper()
	p.Send(d)
	g.after(100 * time.Millisecond)
	got := p.Take()
	if len(got) != 1 || len(got[0].Data) > len(d)/3 {
		g.t.Fatalf("%d answers", len(got))
	}
	h, ok := quic.Parse(bytes.Clone(got[0].Data))
	if !ok {
		g.t.Fatalf("%x", got[0].Data)
	}
	return h
}

// Clients come again with their tokens, over good networks and bad ones, to the reactor that has none or another.
func TestRetry_always(t *testing.T) {
	for seed := range uint64(12) {
		g := newRig(t, seed, 1+int(seed%3), engine.ListenOptions{})
		g.use(quicconn.RetryAlways)
		if seed%2 == 1 {
			g.w.Net.Loss, g.w.Net.Duplicate, g.w.Net.Corrupt = 0.03, 0.02, 0.01
		}
		c := g.connect()
		c.send(10_000)
		g.run("what was sent comes back", func() bool { return c.left == 0 || c.Closed })
		if s := g.stats(); c.Closed || s.Retries == 0 {
			t.Fatalf("seed %d: closed %v, %+v", seed, c.Closed, s)
		}
	}
}

// RetryAuto begins above an eighth of the handshakes that may be in progress, and ends with them.
func TestRetry_autoAboveAnEighth(t *testing.T) {
	g := newCrowdedRig(t, 1, 1, engine.ListenOptions{}, tlsconn.HandshakerOptions{Max: 16})
	for n := range int64(3) {
		g.dial().Net.Handle = func(p *sim.DatagramPeer) { p.Take() }
		g.run("a handshake is in progress", func() bool { return g.hs.Stats().Current == n+1 })
	}
	if n := g.stats().Retries; n != 0 {
		t.Fatalf("%d Retry packets for an eighth and one more", n)
	}
	g.connect()
	before := g.stats().Retries
	if before == 0 {
		t.Fatal("no Retry above an eighth")
	}
	g.use(quicconn.RetryNever)
	g.connect()
	g.use(quicconn.RetryAuto)
	g.run("the handshakes end", func() bool { return g.hs.Stats().Current == 0 })
	g.connect()
	if n := g.stats().Retries; n != before {
		t.Fatalf("%d Retry packets, not %d", n, before)
	}
}

// At a full listener a client with a token is taken in place of an idle connection, and without Retry it is refused.
func TestRetry_fullListener(t *testing.T) {
	for name, c := range map[string]struct {
		retry quicconn.Retry
		taken bool
	}{"auto": {quicconn.RetryAuto, true}, "never": {quicconn.RetryNever, false}} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 1, 1, engine.ListenOptions{ConnsMax: 1})
			idle := g.connect()
			g.after(time.Second)
			g.use(c.retry)
			next := g.dial()
			g.run("it is taken or refused", func() bool { return next.Established || next.Closed })
			g.after(time.Second)
			if s := g.stats(); next.Established != c.taken || idle.Closed != c.taken || s.Retries == 0 == c.taken {
				t.Fatalf("taken %v, the idle connection ended %v, %+v", next.Established, idle.Closed, s)
			}
		})
	}
}

// A token that is too old, or of another client, is refused as RFC 9000 §8.1.3 says. One that cannot be read is none.
func TestRetry_tokens(t *testing.T) {
	g := newRig(t, 1, 2, engine.ListenOptions{})
	g.use(quicconn.RetryAlways)
	p, other := g.w.DialDatagrams(at443), g.w.DialDatagrams(at443)
	h := g.asked(p, initial("original", nil))
	if h.Kind != quic.RetryPacket || string(h.Dest) != "me" || len(h.Source) != quic.IDLen {
		t.Fatalf("%+v", h)
	}
	id := string(h.Source)
	refused := func(what string, by *sim.DatagramPeer, d []byte) {
		t.Helper()
		before := g.stats().BadTokens
		if h := g.asked(by, d); h.Kind != quic.InitialPacket || g.stats().BadTokens != before+1 {
			t.Errorf("%s: %+v, %+v", what, h, g.stats())
		}
	}
	refused("of another address", other, initial(id, h.Token))
	refused("replayed with another id", p, initial("replayed", h.Token))
	forged := bytes.Clone(h.Token)
	forged[20] ^= 1
	if h := g.asked(p, initial(id, forged)); h.Kind != quic.RetryPacket {
		t.Errorf("a forged token: %+v", h)
	}
	before := g.stats()
	p.Send(initial(id, h.Token)) // good, but in a packet that nobody has sealed
	g.after(100 * time.Millisecond)
	if s := g.stats(); len(p.Take()) != 0 || s.Unknown != before.Unknown+1 || g.l.Conns() != 0 {
		t.Errorf("an Initial that is not sealed: %+v", s)
	}
	g.after(10 * time.Second)
	refused("an old one", p, initial(id, h.Token))
	if g.l.Conns() != 0 || g.stats().Refused != 0 {
		t.Errorf("%d connections, %+v", g.l.Conns(), g.stats())
	}
}

// The client of a bad token hears INVALID_TOKEN.
func TestRetry_invalidToken(t *testing.T) {
	g := newRig(t, 1, 1, engine.ListenOptions{})
	g.use(quicconn.RetryAlways)
	c := g.dial()
	handle := c.Net.Handle
	c.Net.Handle = func(p *sim.DatagramPeer) {
		c.Rebind(netipPort("198.51.100.7", 1000)) // after the Retry has come
		handle(p)
	}
	g.run("the end", func() bool { return c.Closed })
	if k := c.Conn.Closed(); !k.ByPeer || k.App || quic.Code(k.Code) != quic.InvalidToken {
		t.Errorf("%+v", k)
	}
	if s := g.stats(); s.BadTokens == 0 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
}

// A flood of Initials begins no connection and keeps nothing, and so many Retry packets leave in a second.
func TestRetry_flood(t *testing.T) {
	g := newRig(t, 1, 1, engine.ListenOptions{})
	g.use(quicconn.RetryAlways)
	const most, flood = 10_000, 12_000
	p := g.w.DialDatagrams(at443)
	got, bytesBack := 0, 0
	p.Handle = func(p *sim.DatagramPeer) {
		for _, d := range p.Take() {
			got++
			bytesBack += len(d.Data)
		}
	}
	d := initial("original", nil)
	for i := range flood {
		binary.BigEndian.PutUint32(d[6:], uint32(i))
		if p.Send(d); i%60 == 0 { // the kernel has room for so many and more
			g.after(4 * time.Millisecond)
		}
	}
	g.after(50 * time.Millisecond)
	s := g.stats()
	if s.Received != flood || s.Retries != most || s.Unknown != flood-most || got != most || bytesBack > got*len(d)/3 {
		t.Errorf("%d answers, %d bytes, %+v", got, bytesBack, s)
	}
	if n := g.s.Codec(g.e.Reactors()[0]).Pages; n != 0 || g.l.Conns() != 0 || len(g.sessions) != 0 {
		t.Errorf("%d pages, %d connections", n, g.l.Conns())
	}
	g.after(time.Second)
	g.connect()
}
