package session

import (
	"errors"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session/stream"
	"github.com/edge-proxy/edge/tlsconn"
)

// MuxOwner is told what becomes of a Mux. Its methods run on the Mux's reactor.
type MuxOwner interface {
	// OnRoom says that an exchange is over, or that the origin allows more exchanges: Room and Streams may have
	// changed.
	OnRoom(m *Mux)
	// OnDraining says that the origin takes no further exchanges; those in progress go on. It comes at most once.
	OnDraining(m *Mux)
	// OnGone says that the connection is closed. It comes exactly once, after the OnReset of the exchanges that
	// were cut.
	OnGone(m *Mux, cause error)
}

// Mux is one HTTP/2 connection to an origin, which any number of exchanges share.
// Owned by its reactor.
//
//	idleSince != 0 <=> no exchange is in progress
type Mux struct {
	link
	owner        MuxOwner
	opts         *MuxOptions
	streams      streamPool
	arena        h2.Arena
	settings     h2.Options
	idleSince    int64 // time of the reactor
	idleFor      time.Duration
	connectedAt  int64 // see ConnectedAt
	uses         uint32
	settingsSeen bool // SETTINGS came
	draining     bool // no exchange is opened any more
	closed       bool // the connection is closed
}

// ErrNotH2 is why a connection is closed whose TLS handshake did not agree upon HTTP/2.
var ErrNotH2 = errors.New("the origin did not agree upon HTTP/2")

// Init prepares m, which is a part of its owner. m uses head during callbacks only: one for each reactor is enough.
func (m *Mux) Init(owner MuxOwner, head *message.Head, o *MuxOptions) {
	*m = Mux{owner: owner, opts: o}
	m.head = head
	m.settings = o.codec(&m.arena)
	m.end, m.pool = m, &m.streams
}

// Dial connects without TLS: HTTP/2 with prior knowledge. Requests may be opened at once; they leave when the
// connection is established.
func (m *Mux) Dial(r *engine.Reactor, to poller.Addr, o *engine.DialOptions) error {
	return m.dialled(r.Dial(to, m, o))
}

// DialTLS is Dial with TLS. ALPN in co must offer h2 alone.
func (m *Mux) DialTLS(
	r *engine.Reactor, to poller.Addr, o *engine.DialOptions, hs *tlsconn.Handshaker, co *tlsconn.ClientOptions,
) error {
	m.settings.Scheme = "https"
	return m.dialled(hs.Dial(r, to, m, o, co))
}

func (m *Mux) dialled(c *engine.Conn, err error) error {
	if err == nil {
		m.sendPreface(c)
	}
	return err
}

// sendPreface queues the preface, which precedes all else that is written.
func (m *Mux) sendPreface(c *engine.Conn) {
	m.idleSince = max(c.Reactor().Now(), 1)
	m.start(c, h2.Client, &m.settings)
	m.control()
}

// Attach makes the connection of p the connection of m, which was not dialled.
func (m *Mux) Attach(p *Probe) {
	m.settings.Scheme = "https"
	c := p.take(m)
	m.sendPreface(c)
	m.OnOpen(c)
}

// Open begins an exchange: its answer goes to r. It may be called before the connection is established. Without
// Room the exchange is reset as Refused.
func (m *Mux) Open(r Receiver) Stream {
	m.mustOwn()
	m.uses++
	now := m.conn.Reactor().Now()
	if d := m.opts.pingAfter(); d >= 0 && m.connected && now-m.codec.Heard() >= int64(d) {
		m.codec.Ping(now)
		m.armTimer(m.codec.Deadline())
	}
	cs, err := m.codec.Open(now)
	s := m.add(cs)
	s.receiver = r
	m.idleSince = 0
	switch {
	case err == nil && m.closed:
		s.failLater(ConnectionLost, engine.ErrClosed)
	case err != nil:
		s.failLater(Refused, err)
	}
	return s
}

// queuedMax is how many bytes may be queued for an origin that reads nothing. Above it no exchange is opened. They
// are heads: data stops at the low mark.
const queuedMax = 256 << 10

// Room returns how many more exchanges can be opened now.
func (m *Mux) Room() int {
	if m.draining || m.closed || m.conn == nil || !m.conn.Open() || m.conn.Queued() > queuedMax {
		return 0
	}
	return m.codec.Room()
}

// Limit returns how many exchanges the origin takes at one time, and whether it has said so: until its SETTINGS come
// it is assumed to take what RFC 9113 §6.5.2 wants of it.
func (m *Mux) Limit() (n int, known bool) { return m.codec.Limit(), m.settingsSeen }

// Streams returns how many exchanges are in progress.
func (m *Mux) Streams() int { return len(m.live) }

// Usable reports whether an exchange may be opened: the connection is established or connecting, has room and is
// not draining.
func (m *Mux) Usable() bool { return m.Room() > 0 }

// Upgrades reports whether the origin is known to take upgrades: the extended CONNECT of RFC 8441.
func (m *Mux) Upgrades() bool { return m.codec.ExtendedConnect() }

// Uses returns how many exchanges were opened on m.
func (m *Mux) Uses() int { return int(m.uses) }

// Connected reports whether the connection was ever established.
func (m *Mux) Connected() bool { return m.connected }

// ConnectedAt returns the reactor time at which the connection was established, its handshake included, and how long
// that handshake took; 0 while it is not. In ns.
func (m *Mux) ConnectedAt() (at, handshake int64) { return m.connectedAt, handshakeTime(m.conn) }

// H2Stats returns the counters of the codec. On m's reactor only.
func (m *Mux) H2Stats() h2.Stats { return m.arena.Stats }

// SetIdleTimeout bounds how long m may be without an exchange; 0: for ever. It counts from the end of the last
// exchange.
func (m *Mux) SetIdleTimeout(d time.Duration) {
	m.idleFor = d
	m.armTimer(m.idleUntil())
}

func (m *Mux) idleUntil() int64 {
	if m.idleSince == 0 || m.idleFor <= 0 {
		return 0
	}
	return m.idleSince + int64(m.idleFor)
}

// Shutdown lets the exchanges that are in progress end, and then closes the connection.
func (m *Mux) Shutdown() {
	if m.draining = true; m.conn != nil && m.conn.Open() {
		m.codec.Shutdown(m.conn.Reactor().Now())
		m.post()
	}
}

// Close closes the connection, whatever is in progress.
func (m *Mux) Close() { m.conn.Close(engine.ErrClosed) }

// Peer is the address of the origin.
func (m *Mux) Peer() poller.Addr { return m.conn.Peer() }

// Local is the address of our end.
func (m *Mux) Local() poller.Addr { return m.conn.Local() }

// TLS is what is known of a TLS connection.
func (m *Mux) TLS() *tlsconn.Digest { return tlsconn.DigestOf(m.conn) }

// OnOpen starts the deadlines of the exchanges that waited for the connection, and asks for their bodies.
func (m *Mux) OnOpen(c *engine.Conn) {
	if d := tlsconn.DigestOf(c); d != nil && d.ALPN != "h2" {
		m.cause = ErrNotH2
		c.Close(ErrNotH2)
		return
	}
	m.connected, m.connectedAt = true, c.Reactor().Now()
	for _, s := range m.live {
		m.setDeadline(s)
		if s.pendingHead != nil && s.todo == nothing {
			s.postpone(toSendHead)
		}
	}
	m.runEmptyBatch()
}

// OnSendable gives the streams their turns, and tells the owner that there is room.
func (m *Mux) OnSendable(c *engine.Conn) {
	m.link.OnSendable(c)
	if !m.draining && c.Open() {
		m.owner.OnRoom(m)
	}
}

// OnEOF ends the connection: HTTP/2 has no half-closed connections.
func (m *Mux) OnEOF(c *engine.Conn) { c.Close(engine.ErrClosed) }

// OnClose resets the exchanges that were in progress and tells the owner.
func (m *Mux) OnClose(_ *engine.Conn, cause error) {
	m.closed = true
	if m.cause != nil {
		cause = m.cause
	}
	for len(m.live) > 0 {
		s := m.live[len(m.live)-1]
		s.fail(m.codeAtEnd(s, cause), cause)
	}
	m.owner.OnGone(m, cause)
}

// codeAtEnd says what the end of the connection means to s.
func (m *Mux) codeAtEnd(s *h2Stream, cause error) Code {
	switch {
	case m.connected && s.finalHead:
		return Truncated
	case m.goAwayError:
		return WentAway
	case m.connected:
		return ConnectionLost
	case cause == engine.ErrConnectTimeout:
		return ConnectTimeout
	}
	return ConnectFailed
}

// newStream refuses a request from a server. The codec refuses it before that.
func (m *Mux) newStream(cs *h2.Stream, _ bool) *h2Stream {
	m.codec.Reset(cs, h2.ProtocolError)
	return nil
}

// setDeadline sets the deadline for what the origin has to do. While it has to do nothing there is none.
func (m *Mux) setDeadline(s *h2Stream) {
	switch {
	case !m.connected: // the dial has a timeout of its own
	case s.tunnel == stream.TunnelOpen:
		s.setDeadlineIn(stream.OrTunnelIdle(m.opts.TunnelIdle))
	case s.blocked != unblocked:
		s.setDeadlineAt(s.blockedAt + int64(s.BetweenBytes(m.opts.BetweenBytes)))
	case s.awaits100, s.pendingHead != nil:
		s.setDeadlineIn(s.ToFirstByte(m.opts.FirstByte))
	case s.owed > 0, s.endDelivered, s.framing != stream.Ended && !s.finalHead:
		s.setDeadlineIn(0)
	case !s.finalHead:
		s.setDeadlineIn(s.ToFirstByte(m.opts.FirstByte))
	case s.unhurried: // a stream of messages may be silent
		s.setDeadlineIn(stream.OrTunnelIdle(m.opts.TunnelIdle))
	default:
		s.setDeadlineIn(s.BetweenBytes(m.opts.BetweenBytes))
	}
}

// onDeadline resets an exchange for which the origin takes too long. If the origin sent nothing at all meanwhile, no
// further exchanges are opened: the connection may be broken unseen.
func (m *Mux) onDeadline(s *h2Stream) {
	silence := m.conn.Reactor().Now() - m.codec.Heard()
	if silence >= int64(min(stream.OrDefault(m.opts.FirstByte), stream.OrDefault(m.opts.BetweenBytes))) && !m.draining {
		m.draining = true
		m.owner.OnDraining(m)
	}
	s.fail(Timeout, engine.ErrTimeout)
}

// streamEnded tells the owner that there is room.
func (m *Mux) streamEnded(*h2Stream) {
	if m.closed {
		return
	}
	if len(m.live) == 0 {
		m.idleSince = max(m.conn.Reactor().Now(), 1)
		m.armTimer(m.idleUntil())
		if m.codec.GoingAway() || m.draining {
			m.post()
		}
	}
	m.owner.OnRoom(m)
}

// onConnEvent acts on SETTINGS and GOAWAY.
func (m *Mux) onConnEvent(ev h2.Event) {
	switch ev.Kind {
	case h2.Settings:
		m.settingsSeen = true
		for _, s := range m.live {
			if s.pendingHead != nil {
				s.postpone(toSendHead)
			}
		}
		m.owner.OnRoom(m)
	case h2.GoAway:
		m.goAwayError = m.goAwayError || ev.Code != h2.NoError
		if !m.draining {
			m.draining = true
			m.owner.OnDraining(m)
		}
	}
}

// onBodyReceived does nothing: an origin has deadlines, but no least rate.
func (m *Mux) onBodyReceived(*h2Stream, int) {}

// onBodySent does nothing, for the same reason.
func (m *Mux) onBodySent(*h2Stream, int) {}

// onTunnel does nothing: the server counts tunnels.
func (m *Mux) onTunnel() {}

// settingsKnown reports whether it is known what the origin can do.
func (m *Mux) settingsKnown() bool { return m.settingsSeen }

// runDue closes a connection that was idle for too long.
func (m *Mux) runDue(now int64) int64 {
	at := m.idleUntil()
	if at != 0 && now >= at {
		m.draining = true
		m.codec.Close(h2.NoError)
	}
	return at
}
