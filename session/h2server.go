package session

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// h2Server is one HTTP/2 connection of a client.
// Owned by its reactor.
type h2Server struct {
	link
	shared.ServerEnd
	stats *ServerStats // of the reactor
}

// newH2 makes the handler of a connection that speaks HTTP/2 from its first byte on.
func (s *Server) newH2(c *engine.Conn) *h2Server {
	local := &s.local[c.Reactor().Index()]
	h := &h2Server{stats: &local.stats}
	h.end, h.head = h, &local.head
	codec := &local.codec
	if c.Reactor().Pressure() >= engine.PressureCache {
		codec = &local.scarce
	}
	h.start(c, h2.Server, codec, &local.streams)
	h.ServerEnd.Start(&h.Link, h, &s.terms, h.stats)
	h.stats.H2++
	h.stats.H2Open++
	return h
}

// OnOpen sends SETTINGS.
func (h *h2Server) OnOpen(c *engine.Conn) {
	if d := tlsconn.DigestOf(c); d != nil && d.Version < tls.VersionTLS12 {
		h.codec.Close(h2.InadequateSecurity) // RFC 9113 §9.2: HTTP/2 over TLS MUST use TLS version 1.2 or higher
	}
	h.control()
	h.EndBatch()
}

// newStream makes the stream of a request, unless the process cannot take more.
func (h *h2Server) newStream(cs *h2.Stream, end bool) *shared.Stream {
	s := h.NewStream(cs, h.head, end)
	if s == nil {
		h.stats.Shed++
		h.codec.Reset(cs, h2.RefusedStream)
		return nil
	}
	cs.Owner = s
	return s
}

// settingsKnown is true: only a client asks.
func (h *h2Server) settingsKnown() bool { return true }

// onConnEvent tells the service of a malformed request. The first SETTINGS end the time that HeaderTimeout gives.
func (h *h2Server) onConnEvent(ev h2.Event) {
	switch ev.Kind {
	case h2.Reset:
		h.Refused(refusedStatus(ev.Err), ev.Err)
	case h2.Settings:
		h.OnSettings()
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
func (h *h2Server) runDue(now int64) int64 { return h.RunDue(now) }

// Shutdown sends GOAWAY.
func (h *h2Server) Shutdown(now int64) { h.codec.Shutdown(now) }

// CloseIdle ends the connection by GOAWAY.
func (h *h2Server) CloseIdle() { h.codec.Close(h2.NoError) }

// Idle reports whether no exchange is in progress.
func (h *h2Server) Idle() bool { return h.Streams() == 0 && !h.codec.Pending() }

// OnPart ends an idle connection whose client has not closed it after GOAWAY.
func (h *h2Server) OnPart(c *engine.Conn) {
	h.stats.DrainedH2++
	h.Part(c)
}

// Relieve gives up the head and the exchanges that the client has kept waiting for age: engine.Reliever.
func (h *h2Server) Relieve(c *engine.Conn, age time.Duration) {
	if h.relieve(age) {
		h.stats.GivenUp++
		return
	}
	h.ServerEnd.Relieve(c, age)
}

// OnEOF ends the connection: HTTP/2 has no half-closed connections.
func (h *h2Server) OnEOF(c *engine.Conn) {
	h.BeginBatch()
	h.FailAll(Cancelled, nil)
	h.AbandonBatch()
	c.Close(nil)
}

// OnClose resets the exchanges that were in progress.
func (h *h2Server) OnClose(_ *engine.Conn, cause error) {
	h.Charge(0)
	h.stats.H2Open--
	h.FailAll(ConnectionLost, cause)
}
