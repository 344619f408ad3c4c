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
	"github.com/edge-proxy/edge/tlsconn"
)

// H2Options bound HTTP/2 connections of clients, beside the times that ServerOptions has for all. The zero value is
// good.
type H2Options struct {
	MaxStreams   int           // exchanges at one time; 0: 128
	IdleTimeout  time.Duration // without an exchange; 0: ServerOptions.IdleTimeout
	MaxAge       time.Duration // after which a connection takes no new exchanges; 0: none
	StreamWindow int           // bytes of one request body that may wait; 0: 64 KiB - 1, growing to 512 KiB
	Budget       int           // bytes of all request bodies that may wait; 0: 2 MiB, more while there is memory
	HeaderTable  int           // bytes of the table for the compression of heads; 0: 4096; below 0: none
	PingInterval time.Duration // silence after which a client is asked whether it lives; 0: never
	Connectless  bool          // do not offer extended CONNECT, by which WebSockets come
}

// codec returns the options of the codec for the connections of one reactor.
func (o *ServerOptions) codec(a *h2.Arena) h2.Options {
	return h2.Options{
		Arena: a, MaxStreams: o.H2.MaxStreams, HeaderTable: o.H2.HeaderTable,
		HeadBytes: o.Limits.HeadBytes, RequestLine: o.Limits.RequestLine,
		FieldCount: o.Limits.FieldCount, FieldBytes: o.Limits.FieldBytes,
		StreamWindow: o.H2.StreamWindow, StreamWindowMax: o.H2.StreamWindow, Budget: o.H2.Budget,
		HeadTimeout: o.HeaderTimeout, StallTimeout: o.SendTimeout, PingInterval: o.H2.PingInterval,
		LingerTime:        min(o.BodyTimeout, bodyGrace),
		NoExtendedConnect: o.H2.Connectless,
	}
}

// h2Server is one HTTP/2 connection of a client.
// Owned by its reactor.
//
//	idle != 0 <=> no exchange is in progress: then the connection ends. The first one has HeaderTimeout
type h2Server struct {
	link
	owner    *Server
	idle     int64 // time of the reactor
	old      int64 // time of the reactor at which no new exchanges are taken any more, 0: never
	begun    bool  // SETTINGS came
	draining bool  // GOAWAY was said
}

// newH2 makes the handler of a connection that speaks HTTP/2 from its first byte on.
func (s *Server) newH2(c *engine.Conn) *h2Server {
	local := &s.local[c.Reactor().Index()]
	h := &h2Server{owner: s}
	h.link.end, h.link.server, h.opened = h, true, true
	h.head, h.pool = &local.head, &local.streams
	codec := &local.codec
	if c.Reactor().Pressure() >= engine.PressureCache {
		codec = &local.scarce
	}
	h.start(c, h2.Server, codec)
	local.stats.H2++
	return h
}

// OnOpen sends SETTINGS and starts the deadlines.
func (h *h2Server) OnOpen(c *engine.Conn) {
	now := c.Reactor().Now()
	if d := tlsconn.DigestOf(c); d != nil && d.Version < tls.VersionTLS12 {
		h.codec.Close(h2.InadequateSecurity) // RFC 9113 §9.2: HTTP/2 over TLS MUST use TLS version 1.2 or higher
	}
	h.idle = now + int64(h.owner.opts.HeaderTimeout)
	if age := h.owner.opts.H2.MaxAge; age > 0 {
		h.old = now + int64(age-age/10+rand.N(age/10+1)) // not all at once that were opened at once
	}
	h.control()
	h.settle()
}

// stats returns the counters of the reactor.
func (h *h2Server) stats() *ServerStats { return &h.owner.local[h.conn.Reactor().Index()].stats }

// streamsScarce is how many exchanges a client may have on one connection while memory is short.
const streamsScarce = 16

// streamsUnder returns how many exchanges may be in progress on a connection for another one to be taken: those with
// many give way to those with few.
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

// begin makes the stream of a request, unless the process cannot take more.
func (h *h2Server) begin(cs *h2.Stream, end bool) *h2Stream {
	stats := h.stats()
	r := h.conn.Reactor()
	if len(h.live) >= streamsUnder(r.Pressure()) || r.Overloaded() {
		stats.Shed++
		h.codec.Reset(cs, h2.RefusedStream)
		return nil
	}
	stats.Requests++
	h.idle = 0
	s := h.add(cs)
	s.verb, s.expects = h.head.Verb, h.head.Continue
	s.asked = h.head.Upgrade || h.head.Verb == message.VerbConnect
	if !end {
		s.pace.begin()
	}
	s.receiver = h.owner.service.Accept(r, s)
	return s
}

// await sets the deadline of what the client owes: to take its answer, or to send its body. While its body waits for
// us, it owes nothing.
func (h *h2Server) await(s *h2Stream) {
	switch {
	case s.tunnel && !s.blocked:
		s.until(0)
	case s.blocked:
		s.until(s.taking.patience(h.owner.opts.SendTimeout, h.conn.Reactor().Now()))
	case s.peerDone || s.received || s.owed > 0 || s.expects, s.unbounded():
		s.until(0)
	case s.pace.unhurried:
		s.until(orTunnelIdle(0))
	default:
		d := h.owner.opts.BodyTimeout
		if h.owner.perByte > 0 {
			d = min(d, s.pace.left(h.conn.Reactor().Now()))
		}
		s.until(d)
	}
}

// expired resets an exchange that takes too long: with 408 where it is the body and that is still possible.
func (h *h2Server) expired(s *h2Stream) {
	stats := h.stats()
	switch {
	case s.parting:
		s.part()
	case s.blocked:
		stats.Timeouts++
		s.fail(Timeout, engine.ErrTimeout)
	case s.unbounded(): // since this deadline was set
	default:
		stats.Timeouts++
		stats.SlowBodies++
		if s.framing == noHead {
			answer := message.Head{Status: 408, Length: 0}
			_ = s.queueHead(&answer, true) // what fails here is reset anyway
		}
		s.fail(Timeout, ErrSlowBody)
	}
}

// tunnelled counts.
func (h *h2Server) tunnelled() { h.stats().Tunnels++ }

// settled is a client's question.
func (h *h2Server) settled() bool { return true }

// over starts the time of an idle connection.
func (h *h2Server) over(*h2Stream) {
	if len(h.live) > 0 {
		return
	}
	h.rest()
	if h.draining {
		h.post()
	}
}

// rest starts the time that the connection may be without an exchange.
func (h *h2Server) rest() {
	h.idle = h.conn.Reactor().Now() + int64(h.restTime())
	h.arm(h.idle)
}

// restTime is how long the connection may be without an exchange.
func (h *h2Server) restTime() time.Duration {
	if d := h.owner.opts.H2.IdleTimeout; d != 0 {
		return d
	}
	return h.owner.opts.IdleTimeout
}

// news counts a request that was malformed: nobody else hears of it. The first SETTINGS are what the time for a head
// waited for.
func (h *h2Server) news(ev h2.Event) {
	switch ev.Kind {
	case h2.Reset:
		h.stats().Malformed++
		h.owner.service.Refused(h.conn.Reactor(), h.conn.Peer(), refusedStatus(ev.Err), ev.Err)
	case h2.Settings:
		if !h.begun && len(h.live) == 0 {
			h.rest()
		}
		h.begun = true
	}
}

// refusedStatus is what an HTTP/1 client would have been answered.
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

// due ends an idle or aged connection, and one whose process drains.
func (h *h2Server) due(now int64) int64 {
	if !h.draining && (h.old != 0 && now >= h.old || h.conn.Reactor().Engine().Draining()) {
		h.draining = true
		h.codec.Shutdown(now)
	}
	if h.idle != 0 && now >= h.idle {
		h.codec.Close(h2.NoError)
	}
	switch {
	case h.draining:
		return h.idle
	case h.old != 0 && (h.idle == 0 || h.old < h.idle):
		return h.old
	}
	return h.idle
}

// Idle reports whether no exchange is in progress.
func (h *h2Server) Idle() bool { return len(h.live) == 0 && !h.codec.Pending() }

// OnDrainBegin says GOAWAY at once: a client that has nothing to ask would not hear of it otherwise.
func (h *h2Server) OnDrainBegin(*engine.Conn) { h.batch() }

// OnDrain gives each tunnel a part of the time that is left: not all should come back at once.
func (h *h2Server) OnDrain(_ *engine.Conn, left time.Duration) {
	for _, s := range h.live {
		if s.tunnel {
			s.parting = true
			s.until(1 + rand.N(left-left/8+1))
		}
	}
}

// OnEOF ends the connection: RFC 9113 knows no half of it.
func (h *h2Server) OnEOF(c *engine.Conn) {
	h.busy = true
	h.failAll(Cancelled, nil)
	h.busy = false
	c.Close(nil)
}

// OnClose resets the exchanges that were in progress.
func (h *h2Server) OnClose(_ *engine.Conn, cause error) { h.failAll(ConnectionLost, cause) }
