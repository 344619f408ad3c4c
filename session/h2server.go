package session

import (
	"crypto/tls"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/session/shared"
	"github.com/edge-proxy/edge/tlsconn"
)

// h2Server is one HTTP/2 connection of a client.
// Owned by its reactor.
//
//	idleUntil != 0 <=> no exchange is in progress: the connection ends then
type h2Server struct {
	link
	shared.ServerTimes
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
	h.end, h.head = h, &local.head
	h.ServerTimes.Start(&s.terms, h)
	codec := &local.codec
	if c.Reactor().Pressure() >= engine.PressureCache {
		codec = &local.scarce
	}
	h.start(c, h2.Server, codec, &local.streams)
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
	h.EndBatch()
}

// stats returns the counters of the reactor.
func (h *h2Server) stats() *ServerStats { return &h.owner.local[h.Conn().Reactor().Index()].stats }

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
func (h *h2Server) newStream(cs *h2.Stream, end bool) *shared.Stream {
	stats := h.stats()
	r := h.Conn().Reactor()
	if h.Streams() >= streamsUnder(r.Pressure()) || r.Overloaded() {
		stats.Shed++
		h.codec.Reset(cs, h2.RefusedStream)
		return nil
	}
	stats.Requests++
	h.idleUntil = 0
	s := h.Accept(cs, h.head, end)
	cs.Owner = s
	s.Receive(h.owner.service.Accept(r, s))
	return s
}

// Relieve resets the exchanges that the client has kept waiting for age.
func (h *h2Server) Relieve(_ *engine.Conn, age time.Duration) { h.ServerTimes.Relieve(&h.Link, age) }

// Count counts what happens to streams.
func (h *h2Server) Count(c shared.Count) {
	stats := h.stats()
	switch c {
	case shared.TimedOut:
		stats.Timeouts++
	case shared.SlowBody:
		stats.SlowBodies++
	case shared.GivenUp:
		stats.GivenUp++
	case shared.Tunnelled:
		stats.Tunnels++
	case shared.TunnelDrained:
		stats.DrainedTunnels++
	}
}

// settingsKnown is true: only a client asks.
func (h *h2Server) settingsKnown() bool { return true }

// OnEnded starts the idle time after the last exchange.
func (h *h2Server) OnEnded(*shared.Stream) {
	if h.Streams() > 0 {
		return
	}
	h.startIdle()
	if h.draining {
		h.Post()
	}
}

// startIdle starts the time for which the connection may be without an exchange.
func (h *h2Server) startIdle() {
	h.idleUntil = h.Conn().Reactor().Now() + int64(h.idleTime())
	h.ArmTimer(h.idleUntil)
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
		h.owner.service.Refused(h.Conn().Reactor(), h.Conn().Peer(), refusedStatus(ev.Err), ev.Err)
	case h2.Settings:
		if !h.settingsSeen && h.Streams() == 0 {
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
	if !h.draining && (h.agedAt != 0 && now >= h.agedAt || h.Conn().Reactor().Engine().Draining()) {
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
func (h *h2Server) Idle() bool { return h.Streams() == 0 && !h.codec.Pending() }

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
	h.RunBatch()
	c.Finish()
}

// OnPart ends an idle connection whose client has not closed it after GOAWAY.
func (h *h2Server) OnPart(c *engine.Conn) {
	h.stats().DrainedH2++
	h.idleUntil = c.Reactor().Now()
	h.RunBatch()
	c.Close(nil)
}

// OnDrainBegin sends GOAWAY at once, so that idle clients get it too.
func (h *h2Server) OnDrainBegin(*engine.Conn) { h.RunBatch() }

// OnDrain gives each tunnel a part of the time that is left.
func (h *h2Server) OnDrain(_ *engine.Conn, left time.Duration) { h.DrainTunnels(&h.Link, left) }

// OnEOF ends the connection: HTTP/2 has no half-closed connections.
func (h *h2Server) OnEOF(c *engine.Conn) {
	h.BeginBatch()
	h.FailAll(Cancelled, nil)
	h.AbandonBatch()
	c.Close(nil)
}

// OnClose resets the exchanges that were in progress.
func (h *h2Server) OnClose(_ *engine.Conn, cause error) {
	h.stats().H2Open--
	h.FailAll(ConnectionLost, cause)
}
