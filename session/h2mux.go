package session

import (
	"errors"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
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
	link         link
	end          muxEnd
	owner        MuxOwner
	opts         *MuxOptions
	streams      shared.Pool
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
	m.end = muxEnd{
		ClientTimes: shared.ClientTimes{FirstByte: o.FirstByte, BetweenBytes: o.BetweenBytes, TunnelIdle: o.TunnelIdle},
		m:           m,
	}
	m.settings = o.codec(&m.arena)
	m.link.head, m.link.end = head, &m.end
}

// Dial connects without TLS: HTTP/2 with prior knowledge. Requests may be opened at once; they leave when the
// connection is established.
func (m *Mux) Dial(r *engine.Reactor, to poller.Addr, o *engine.DialOptions) error {
	return m.dialled(r.Dial(to, m, o))
}

// DialTLS is Dial with TLS. ALPN in co must offer h2 alone.
func (m *Mux) DialTLS(
	r *engine.Reactor, to poller.Addr, o *engine.DialOptions, hs *Handshaker, co *TLSClient,
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
	m.link.start(c, h2.Client, &m.settings, &m.streams)
	m.link.control()
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
	m.link.mustOwn()
	m.uses++
	now := m.link.Conn().Reactor().Now()
	if d := m.opts.pingAfter(); d >= 0 && m.link.Established() && now-m.link.codec.Heard() >= int64(d) {
		m.link.codec.Ping(now)
		m.link.ArmTimer(m.link.codec.Deadline())
	}
	cs, err := m.link.codec.Open(now)
	s := m.link.open(cs, r)
	m.idleSince = 0
	switch {
	case err == nil && m.closed:
		s.FailLater(ConnectionLost, engine.ErrClosed)
	case err != nil:
		s.FailLater(Refused, err)
	}
	return s
}

// queuedMax is how many bytes may be queued for an origin that reads nothing. Above it no exchange is opened. They
// are heads: data stops at the low mark.
const queuedMax = 256 << 10

// Room returns how many more exchanges can be opened now.
func (m *Mux) Room() int {
	if m.draining || m.closed || m.link.Conn() == nil || !m.link.Conn().Open() || m.link.Conn().Queued() > queuedMax {
		return 0
	}
	return m.link.codec.Room()
}

// Limit returns how many exchanges the origin takes at one time, and whether it has said so: until its SETTINGS come
// it is assumed to take what RFC 9113 §6.5.2 wants of it.
func (m *Mux) Limit() (n int, known bool) { return m.link.codec.Limit(), m.settingsSeen }

// Streams returns how many exchanges are in progress.
func (m *Mux) Streams() int { return m.link.Streams() }

// Usable reports whether an exchange may be opened: the connection is established or connecting, has room and is
// not draining.
func (m *Mux) Usable() bool { return m.Room() > 0 }

// Upgrades reports whether the origin is known to take upgrades: the extended CONNECT of RFC 8441.
func (m *Mux) Upgrades() bool { return m.link.codec.ExtendedConnect() }

// Uses returns how many exchanges were opened on m.
func (m *Mux) Uses() int { return int(m.uses) }

// Connected reports whether the connection was ever established.
func (m *Mux) Connected() bool { return m.link.Established() }

// ConnectedAt returns the reactor time at which the connection was established, its handshake included, and how long
// that handshake took; 0 while it is not. In ns.
func (m *Mux) ConnectedAt() (at, handshake int64) { return m.connectedAt, handshakeTime(m.link.Conn()) }

// H2Stats returns the counters of the codec. On m's reactor only.
func (m *Mux) H2Stats() h2.Stats { return m.arena.Stats }

// SetIdleTimeout bounds how long m may be without an exchange; 0: for ever. It counts from the end of the last
// exchange.
func (m *Mux) SetIdleTimeout(d time.Duration) {
	m.idleFor = d
	m.link.ArmTimer(m.idleUntil())
}

func (m *Mux) idleUntil() int64 {
	if m.idleSince == 0 || m.idleFor <= 0 {
		return 0
	}
	return m.idleSince + int64(m.idleFor)
}

// Shutdown lets the exchanges that are in progress end, and then closes the connection.
func (m *Mux) Shutdown() {
	if m.draining = true; m.link.Conn() != nil && m.link.Conn().Open() {
		m.link.codec.Shutdown(m.link.Conn().Reactor().Now())
		m.link.Post()
	}
}

// Close closes the connection, whatever is in progress.
func (m *Mux) Close() { m.link.Conn().Close(engine.ErrClosed) }

// Peer is the address of the origin.
func (m *Mux) Peer() poller.Addr { return m.link.Conn().Peer() }

// Local is the address of our end.
func (m *Mux) Local() poller.Addr { return m.link.Conn().Local() }

// TLS is what is known of a TLS connection.
func (m *Mux) TLS() *Digest { return tlsconn.DigestOf(m.link.Conn()) }

// OnOpen starts the deadlines of the exchanges that waited for the connection, and asks for their bodies.
func (m *Mux) OnOpen(c *engine.Conn) {
	if d := tlsconn.DigestOf(c); d != nil && d.ALPN != "h2" {
		m.link.cause = ErrNotH2
		c.Close(ErrNotH2)
		return
	}
	m.connectedAt = c.Reactor().Now()
	m.link.Connected()
}

// OnData decodes frames and passes their events to the streams.
func (m *Mux) OnData(c *engine.Conn, in []byte) (used int) { return m.link.OnData(c, in) }

// OnTimeout acts on times that are due.
func (m *Mux) OnTimeout(c *engine.Conn) { m.link.OnTimeout(c) }

// Relieve resets exchanges whose requests the origin has not taken for age: engine.Reliever.
func (m *Mux) Relieve(_ *engine.Conn, age time.Duration) { m.end.Relieve(&m.link.Link, age) }

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
	m.link.Charge(0)
	if m.link.cause != nil {
		cause = m.link.cause
	}
	m.link.FailLost(m.codeAtEnd(cause), cause)
	m.owner.OnGone(m, cause)
}

// codeAtEnd says what the end of the connection means to an exchange whose answer has not begun.
func (m *Mux) codeAtEnd(cause error) Code {
	switch {
	case m.link.goAwayError:
		return WentAway
	case m.link.Established():
		return ConnectionLost
	case cause == engine.ErrConnectTimeout:
		return ConnectTimeout
	}
	return ConnectFailed
}

// muxEnd is the end of a client. Owned by its Mux.
type muxEnd struct {
	shared.ClientTimes
	m *Mux
}

// newStream refuses a request from a server. The codec refuses it before that.
func (e *muxEnd) newStream(cs *h2.Stream, _ bool) *shared.Stream {
	e.m.link.codec.Reset(cs, h2.ProtocolError)
	return nil
}

// OnDeadline resets an exchange for which the origin takes too long. If the origin sent nothing at all meanwhile, no
// further exchanges are opened: the connection may be broken unseen.
func (e *muxEnd) OnDeadline(s *shared.Stream) {
	m := e.m
	silence := m.link.Conn().Reactor().Now() - m.link.codec.Heard()
	if silence >= int64(e.Silence()) && !m.draining {
		m.draining = true
		m.owner.OnDraining(m)
	}
	s.Fail(Timeout, engine.ErrTimeout)
}

// OnEnded tells the owner that there is room.
func (e *muxEnd) OnEnded(*shared.Stream) {
	m := e.m
	if m.closed {
		return
	}
	if m.link.Streams() == 0 {
		m.idleSince = max(m.link.Conn().Reactor().Now(), 1)
		m.link.ArmTimer(m.idleUntil())
		if m.link.codec.GoingAway() || m.draining {
			m.link.Post()
		}
	}
	m.owner.OnRoom(m)
}

// onConnEvent acts on SETTINGS and GOAWAY.
func (e *muxEnd) onConnEvent(ev h2.Event) {
	m := e.m
	switch ev.Kind {
	case h2.Settings:
		m.settingsSeen = true
		m.link.SendHeads()
		m.owner.OnRoom(m)
	case h2.GoAway:
		m.link.goAwayError = m.link.goAwayError || ev.Code != h2.NoError
		if !m.draining {
			m.draining = true
			m.owner.OnDraining(m)
		}
	}
}

// settingsKnown reports whether it is known what the origin can do.
func (e *muxEnd) settingsKnown() bool { return e.m.settingsSeen }

// runDue closes a connection that was idle for too long.
func (e *muxEnd) runDue(now int64) int64 {
	m := e.m
	at := m.idleUntil()
	if at != 0 && now >= at {
		m.draining = true
		m.link.codec.Close(h2.NoError)
	}
	return at
}
