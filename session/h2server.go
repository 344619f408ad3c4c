package session

import (
	"crypto/tls"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session/stream"
	"github.com/edge-proxy/edge/tlsconn"
)

// h2Server is one HTTP/2 connection of a client.
// Owned by its reactor.
//
//	idleUntil != 0 <=> no exchange is in progress: the connection ends then
type h2Server struct {
	link
	owner        *Server
	idleUntil    int64 // time of the reactor; at first by HeaderTimeout
	agedAt       int64 // time of the reactor from which no new exchanges are taken, 0: never
	settingsSeen bool  // SETTINGS came
	draining     bool  // we said GOAWAY
}

// newH2 makes the handler of a connection that speaks HTTP/2 from its first byte on.
func (s *Server) newH2(c *engine.Conn) *h2Server {
	local := &s.local[c.Reactor().Index()]
	h := &h2Server{owner: s}
	h.link.end, h.link.server, h.connected = h, true, true
	h.head, h.pool = &local.head, &local.streams
	codec := &local.codec
	if c.Reactor().Pressure() >= engine.PressureCache {
		codec = &local.scarce
	}
	h.start(c, h2.Server, codec)
	local.stats.H2++
	local.stats.H2Open++
	return h
}

// OnOpen sends SETTINGS and starts the deadlines.
func (h *h2Server) OnOpen(c *engine.Conn) {
	now := c.Reactor().Now()
	if d := tlsconn.DigestOf(c); d != nil && d.Version < tls.VersionTLS12 {
		h.codec.Close(h2.InadequateSecurity) // RFC 9113 §9.2: HTTP/2 over TLS MUST use TLS version 1.2 or higher
	}
	h.idleUntil = now + int64(h.owner.opts.HeaderTimeout)
	if age := h.owner.opts.H2.MaxAge; age > 0 {
		h.agedAt = now + int64(age-age/10+rand.N(age/10+1)) // those opened at once must not end at once
	}
	h.control()
	h.endBatch()
}

// stats returns the counters of the reactor.
func (h *h2Server) stats() *ServerStats { return &h.owner.local[h.conn.Reactor().Index()].stats }

// streamsUnder returns how many exchanges a connection may have for another one to be taken. Under pressure
// connections with few exchanges come before those with many.
func streamsUnder(p engine.Pressure) int {
	switch p {
	case engine.PressureAccept:
		return streamsScarce
	case engine.PressureRead:
		return 2
	case engine.PressureShed:
		return 1
	}
	return math.MaxInt
}

// newStream makes the stream of a request, unless the process cannot take more.
func (h *h2Server) newStream(cs *h2.Stream, end bool) *h2Stream {
	stats := h.stats()
	r := h.conn.Reactor()
	if len(h.live) >= streamsUnder(r.Pressure()) || r.Overloaded() {
		stats.Shed++
		h.codec.Reset(cs, h2.RefusedStream)
		return nil
	}
	stats.Requests++
	h.idleUntil = 0
	s := h.add(cs)
	s.verb, s.awaits100 = h.head.Verb, h.head.Continue
	s.tunnel = stream.AsksForTunnel(h.head)
	if !end {
		s.bodyPace.Reset()
	}
	s.receiver = h.owner.service.Accept(r, s)
	return s
}

// setDeadline sets the deadline for what the client has to do: take its answer, or send its body. While bytes of its
// body are owed it has to do nothing.
func (h *h2Server) setDeadline(s *h2Stream) {
	switch {
	case s.drainEnds: // the end of the drain is sooner than any other deadline
	case s.tunnel == stream.TunnelOpen && s.blocked == unblocked:
		s.setDeadlineIn(0)
	case s.blocked != unblocked:
		s.setDeadlineIn(s.answerPace.TimeToTake(h.owner.opts.SendTimeout, h.conn.Reactor().Now()))
	case s.endReceived || s.endDelivered || s.owed > 0 || s.awaits100, s.mayBeSilent():
		s.setDeadlineIn(0)
	case s.unhurried:
		s.setDeadlineIn(stream.OrTunnelIdle(0))
	default:
		d := h.owner.opts.BodyTimeout
		if h.owner.perByte > 0 {
			d = min(d, s.bodyPace.Shrink(h.conn.Reactor().Now()))
		}
		s.setDeadlineIn(d)
	}
}

// onDeadline resets an exchange that takes too long: with 408 where it is the body and that is still possible.
func (h *h2Server) onDeadline(s *h2Stream) {
	stats := h.stats()
	switch {
	case s.drainEnds:
		stats.DrainedTunnels++
		s.drainTunnel()
	case s.blocked != unblocked:
		stats.Timeouts++
		s.fail(Timeout, engine.ErrTimeout)
	case s.mayBeSilent(): // it became so after this deadline was set
	default:
		stats.Timeouts++
		stats.SlowBodies++
		if s.framing == stream.NoHead {
			answer := message.Head{Status: 408, Length: 0}
			_ = s.queueHead(&answer, true) // the stream is reset in any case
		}
		s.fail(Timeout, ErrSlowBody)
	}
}

// onBodyReceived notes that n bytes of a body have come.
func (h *h2Server) onBodyReceived(s *h2Stream, n int) {
	if b := h.owner.perByte; b > 0 && s.tunnel != stream.TunnelOpen {
		s.bodyPace.Earn(n, b, int64(max(stream.BodyGrace, h.owner.opts.BodyTimeout)), h.conn.Reactor().Now())
	}
}

// onBodySent notes that n bytes of an answer were sent that the client did not take at once.
func (h *h2Server) onBodySent(s *h2Stream, n int) {
	perByte := h.owner.perByte
	if s.unhurried || s.tunnel == stream.TunnelOpen { // a client may work on a message before it reads on
		perByte = 0
	}
	s.answerPace.AddTaken(n, perByte, h.owner.opts.SendTimeout, h.conn.Reactor().Now())
}

// Relieve resets the exchanges that the client has kept waiting for age.
func (h *h2Server) Relieve(c *engine.Conn, age time.Duration) {
	for i := 0; i < len(h.live); {
		s := h.live[i]
		if waited, keeps := h.waited(s); !keeps || waited < age {
			i++
			continue
		}
		h.stats().GivenUp++
		if h.onDeadline(s); s.receiver != nil {
			i++
		} else {
			i = 0 // callbacks change the list
		}
		if !c.Open() || c.Reactor().Pressure() < engine.PressureAccept {
			return
		}
	}
}

// waited returns for how long the client keeps s waiting, and whether it does.
func (h *h2Server) waited(s *h2Stream) (time.Duration, bool) {
	o := &h.owner.opts
	now := h.conn.Reactor().Now()
	switch {
	case s.blocked != unblocked:
		return s.answerPace.WaitedFor(o.SendTimeout, now), true
	case s.deadline == 0 || !s.owesBody() || s.awaits100:
		return 0, false
	case s.tunnel == stream.TunnelOpen || s.mayBeSilent() || s.unhurried:
		return 0, false
	}
	return s.bodyPace.OwedFor(o.BodyTimeout-time.Duration(s.deadline-now), now), true
}

// onTunnel counts the tunnel.
func (h *h2Server) onTunnel() { h.stats().Tunnels++ }

// settingsKnown is true: only a client asks.
func (h *h2Server) settingsKnown() bool { return true }

// streamEnded starts the idle time after the last exchange.
func (h *h2Server) streamEnded(*h2Stream) {
	if len(h.live) > 0 {
		return
	}
	h.startIdle()
	if h.draining {
		h.post()
	}
}

// startIdle starts the time for which the connection may be without an exchange.
func (h *h2Server) startIdle() {
	h.idleUntil = h.conn.Reactor().Now() + int64(h.idleTime())
	h.armTimer(h.idleUntil)
}

// idleTime is how long the connection may be without an exchange.
func (h *h2Server) idleTime() time.Duration {
	if d := h.owner.opts.H2.IdleTimeout; d != 0 {
		return d
	}
	return h.owner.opts.IdleTimeout
}

// onConnEvent counts a malformed request and tells the service of it. The first SETTINGS end the time that
// HeaderTimeout gives.
func (h *h2Server) onConnEvent(ev h2.Event) {
	switch ev.Kind {
	case h2.Reset:
		h.stats().Malformed++
		h.owner.service.Refused(h.conn.Reactor(), h.conn.Peer(), refusedStatus(ev.Err), ev.Err)
	case h2.Settings:
		if !h.settingsSeen && len(h.live) == 0 {
			h.startIdle()
		}
		h.settingsSeen = true
	}
}

// refusedStatus is the status that an HTTP/1 client would have got.
func refusedStatus(err error) int {
	if errors.Is(err, h2.ErrHeadTooLarge) || errors.Is(err, h2.ErrTooManyFields) {
		return 431
	}
	if errors.Is(err, h2.ErrTargetTooLong) {
		return 414
	}
	if errors.Is(err, h2.ErrExpectation) {
		return 417
	}
	return 400
}

// runDue ends an idle or aged connection, and one whose process drains.
func (h *h2Server) runDue(now int64) int64 {
	if !h.draining && (h.agedAt != 0 && now >= h.agedAt || h.conn.Reactor().Engine().Draining()) {
		h.draining = true
		h.codec.Shutdown(now)
	}
	if h.idleUntil != 0 && now >= h.idleUntil {
		h.codec.Close(h2.NoError)
	}
	switch {
	case h.draining:
		return h.idleUntil
	case h.agedAt != 0 && (h.idleUntil == 0 || h.agedAt < h.idleUntil):
		return h.agedAt
	}
	return h.idleUntil
}

// Idle reports whether no exchange is in progress.
func (h *h2Server) Idle() bool { return len(h.live) == 0 && !h.codec.Pending() }

// IdleSince returns when the last exchange ended, or when the connection opened.
func (h *h2Server) IdleSince(*engine.Conn) int64 {
	if !h.settingsSeen {
		return h.idleUntil - int64(h.owner.opts.HeaderTimeout)
	}
	return h.idleUntil - int64(h.idleTime())
}

// OnYield sends GOAWAY and ends an idle connection.
func (h *h2Server) OnYield(c *engine.Conn) {
	h.idleUntil = c.Reactor().Now()
	h.runEmptyBatch()
	c.Finish()
}

// OnPart ends an idle connection whose client has not closed it after GOAWAY.
func (h *h2Server) OnPart(c *engine.Conn) {
	h.stats().DrainedH2++
	h.idleUntil = c.Reactor().Now()
	h.runEmptyBatch()
	c.Close(nil)
}

// OnDrainBegin sends GOAWAY at once, so that idle clients get it too.
func (h *h2Server) OnDrainBegin(*engine.Conn) { h.runEmptyBatch() }

// OnDrain gives each tunnel a random part of the time that is left: their clients should not all come back at once.
func (h *h2Server) OnDrain(_ *engine.Conn, left time.Duration) {
	for _, s := range h.live {
		if s.tunnel == stream.TunnelOpen {
			s.drainEnds = true
			s.setDeadlineIn(1 + rand.N(left-left/8+1))
		}
	}
}

// OnEOF ends the connection: HTTP/2 has no half-closed connections.
func (h *h2Server) OnEOF(c *engine.Conn) {
	h.inBatch = true
	h.failAll(Cancelled, nil)
	h.inBatch = false
	c.Close(nil)
}

// OnClose resets the exchanges that were in progress.
func (h *h2Server) OnClose(_ *engine.Conn, cause error) {
	h.stats().H2Open--
	h.failAll(ConnectionLost, cause)
}
