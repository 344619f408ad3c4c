package session

import "github.com/edge-proxy/edge/engine"

// A connection without a request in progress gives its place to a newcomer when there is no other place.

var (
	_ engine.Yielder = (*h1Server)(nil)
	_ engine.Yielder = (*h2Server)(nil)
	_ engine.Yielder = (*sniffer)(nil)
)

// IdleSince returns when the last answer had been sent, or when the connection opened. It is computed from the
// deadline.
func (s *h1Server) IdleSince(c *engine.Conn) int64 {
	if s.requests == 0 {
		return c.Deadline() - int64(s.server.opts.HeaderTimeout)
	}
	return c.Deadline() - int64(s.server.opts.IdleTimeout)
}

// OnYield ends an idle connection.
func (s *h1Server) OnYield(c *engine.Conn) { c.Finish() }

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
	h.batch()
	c.Finish()
}

// IdleSince returns when the connection opened.
func (s *sniffer) IdleSince(c *engine.Conn) int64 { return (*h1Server)(s).IdleSince(c) }

// OnYield ends a connection that has sent nothing.
func (s *sniffer) OnYield(c *engine.Conn) { c.Finish() }
