//go:build invariants

package session

import (
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/stream"
)

func (s *h1Server) mustOwn() { s.conn.Reactor().MustOwn() }
func (c *Client) mustOwn()   { c.conn.Reactor().MustOwn() }
func (l *link) mustOwn()     { l.Conn().Reactor().MustOwn() }

// check panics when the invariants of h1Server do not hold at the end of a callback. After a panic of the receiver, and
// while the connection closes, nothing is promised.
func (s *h1Server) check() {
	if s.inCallback || !s.conn.Open() {
		return
	}
	exchange := s.receiver != nil
	invariant.That(s.owed >= 0, "%d bytes are owed", s.owed)
	invariant.That(s.owed <= 0 || s.discarding || !s.conn.Reading(), "reading while %d bytes are owed", s.owed)
	invariant.That(!s.discarding || !exchange && !s.requestDone, "discards what belongs to an exchange")
	invariant.That(!s.requestDone || exchange, "a whole request without an exchange")
	invariant.That(!s.requestDone || s.body.framing != stream.Ended, "an exchange that is over")
	invariant.That(!exchange || !s.headBegun && !s.backlog, "reads a head amid an exchange")
	invariant.That(s.tunnel != stream.TunnelOpen || exchange && s.closeAfter, "a tunnel without an exchange")
	s.body.check()
}

// check panics when the invariants of Client do not hold at the end of a callback.
func (c *Client) check() {
	if c.inCallback || c.conn == nil || !c.conn.Open() {
		return
	}
	invariant.That(c.owed >= 0, "%d bytes are owed", c.owed)
	invariant.That(c.owed == 0 || !c.conn.Reading(), "reading while %d bytes are owed", c.owed)
	invariant.That(c.receiver != nil || c.owed == 0, "%d bytes are owed by nobody", c.owed)
	invariant.That(!c.tunnel || c.answer != noAnswer, "a tunnel before the answer")
	over := c.answer == answerDone && c.body.framing == stream.Ended
	invariant.That(c.receiver == nil || !over, "an exchange that is over")
	invariant.That(c.connected || c.answer == noAnswer, "an answer without a connection")
	c.body.check()
}

// check panics when the invariants of bodyWriter do not hold.
func (b *bodyWriter) check() {
	invariant.That(b.left >= 0, "%d bytes of a body are to come", b.left)
	invariant.That(b.left == 0 || b.framing == stream.Counted, "%d bytes of a body are to come: %d", b.left, b.framing)
}

// check panics when the invariants of link, and of its end, a Mux or an h2Server, do not hold at the end of a batch.
func (l *link) check() {
	if !l.Conn().Open() {
		return
	}
	switch end := l.end.(type) {
	case *h2Server:
		end.ServerEnd.Check()
	case *muxEnd:
		l.Check()
		idle := l.Streams() == 0
		invariant.That((end.m.idleSince != 0) == idle, "%d streams, idle since %d", l.Streams(), end.m.idleSince)
	}
}
