package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/tlsconn"
)

// OnOpen starts the deadlines of the exchanges that waited for the connection, and lets their bodies come.
func (m *Mux) OnOpen(c *engine.Conn) {
	if d := tlsconn.DigestOf(c); d != nil && d.ALPN != "h2" {
		m.cause = ErrNotH2
		c.Close(ErrNotH2)
		return
	}
	m.opened, m.stood = true, c.Reactor().Now()
	for _, s := range m.live {
		m.await(s)
	}
	m.batch()
}

// OnSendable gives the streams their turns, and tells the owner that there is room.
func (m *Mux) OnSendable(c *engine.Conn) {
	m.link.OnSendable(c)
	if !m.leaving && c.Open() {
		m.owner.OnRoom(m)
	}
}

// OnEOF ends the connection: RFC 9113 knows no half of it.
func (m *Mux) OnEOF(c *engine.Conn) { c.Close(engine.ErrClosed) }

// OnClose resets the exchanges that were in progress and tells the owner.
func (m *Mux) OnClose(_ *engine.Conn, cause error) {
	m.gone = true
	if m.cause != nil {
		cause = m.cause
	}
	for len(m.live) > 0 {
		s := m.live[len(m.live)-1]
		s.fail(m.lost(s, cause), cause)
	}
	m.owner.OnGone(m, cause)
}

// lost says what the end of the connection means to s.
func (m *Mux) lost(s *h2Stream, cause error) Code {
	switch {
	case m.opened && s.final:
		return Truncated
	case m.amiss:
		return WentAway
	case m.opened:
		return ConnectionLost
	case cause == engine.ErrConnectTimeout:
		return ConnectTimeout
	}
	return ConnectFailed
}

// begin refuses what no server may do: the codec has refused it before.
func (m *Mux) begin(cs *h2.Stream, _ bool) *h2Stream {
	m.codec.Reset(cs, h2.ProtocolError)
	return nil
}

// await sets the deadline of what the origin owes. Whatever else is missing, it is not the origin's.
func (m *Mux) await(s *h2Stream) {
	switch {
	case !m.opened: // the dial has its own
	case s.tunnel:
		s.until(orTunnelIdle(m.opts.TunnelIdle))
	case s.blocked:
		s.by(s.stopped + int64(orDefault(m.opts.BetweenBytes)))
	case s.expects, s.pending != nil:
		s.until(orDefault(m.opts.FirstByte))
	case s.owed > 0, s.received, s.framing != ended && !s.final:
		s.until(0)
	case !s.final:
		s.until(orDefault(m.opts.FirstByte))
	case s.pace.unhurried: // its messages come when there is something to say
		s.until(orTunnelIdle(m.opts.TunnelIdle))
	default:
		s.until(orDefault(m.opts.BetweenBytes))
	}
}

// expired resets an exchange for which the origin takes too long. Where nothing at all came of it meanwhile, the
// connection is not given any further ones: its other end may be gone without a word.
func (m *Mux) expired(s *h2Stream) {
	silence := m.conn.Reactor().Now() - m.codec.Heard()
	if silence >= int64(min(orDefault(m.opts.FirstByte), orDefault(m.opts.BetweenBytes))) && !m.leaving {
		m.leaving = true
		m.owner.OnDraining(m)
	}
	s.fail(Timeout, engine.ErrTimeout)
}

// over tells the owner that there is room.
func (m *Mux) over(*h2Stream) {
	if m.gone {
		return
	}
	if len(m.live) == 0 {
		m.idle = max(m.conn.Reactor().Now(), 1)
		m.arm(m.idleUntil())
		if m.codec.GoingAway() || m.leaving {
			m.post()
		}
	}
	m.owner.OnRoom(m)
}

// news acts on SETTINGS and GOAWAY.
func (m *Mux) news(ev h2.Event) {
	switch ev.Kind {
	case h2.Settings:
		m.heard = true
		for _, s := range m.live {
			if s.pending != nil {
				s.later(held)
			}
		}
		m.owner.OnRoom(m)
	case h2.GoAway:
		m.amiss = m.amiss || ev.Code != h2.NoError
		if !m.leaving {
			m.leaving = true
			m.owner.OnDraining(m)
		}
	}
}

// paid does nothing: an origin has deadlines, no least rate.
func (m *Mux) paid(*h2Stream, int) {}

// given does nothing, likewise.
func (m *Mux) given(*h2Stream, int) {}

// tunnelled does nothing: who opened the exchange counts.
func (m *Mux) tunnelled() {}

// settled reports whether it is known what the origin can do.
func (m *Mux) settled() bool { return m.heard }

// due closes a connection that was idle for too long.
func (m *Mux) due(now int64) int64 {
	at := m.idleUntil()
	if at != 0 && now >= at {
		m.leaving = true
		m.codec.Close(h2.NoError)
	}
	return at
}
