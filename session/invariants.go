//go:build invariants

package session

import (
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/session/stream"
)

func (s *h1Server) mustOwn() { s.conn.Reactor().MustOwn() }
func (c *Client) mustOwn()   { c.conn.Reactor().MustOwn() }
func (l *link) mustOwn()     { l.conn.Reactor().MustOwn() }
func (s *h2Stream) mustOwn() { s.link.mustOwn() }

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

// check panics when the invariants of link, of its end, a Mux or an h2Server, and of its streams do not hold at the end
// of a batch.
func (l *link) check() {
	if !l.conn.Open() {
		return
	}
	invariant.That(l.inCallback == nil && !l.inBatch && !l.inTurn, "a batch inside another one")
	todos, queueBlocked := 0, 0
	for i, s := range l.live {
		invariant.That(int(s.index) == i && s.link == l, "stream %d is at %d", i, s.index)
		if s.todo != nothing {
			todos++
		}
		if s.blocked == byQueue {
			queueBlocked++
		}
		s.check()
	}
	invariant.That(todos == l.todos, "%d streams have something to be told, %d counted", todos, l.todos)
	invariant.That(queueBlocked == l.queueBlocked, "%d streams wait for the queue, %d counted",
		queueBlocked, l.queueBlocked)
	idle := len(l.live) == 0
	switch end := l.end.(type) {
	case *h2Server:
		invariant.That((end.idleUntil != 0) == idle, "%d streams, idle until %d", len(l.live), end.idleUntil)
	case *Mux:
		invariant.That((end.idleSince != 0) == idle, "%d streams, idle since %d", len(l.live), end.idleSince)
	}
}

// check panics when the invariants of h2Stream do not hold at the end of a batch.
func (s *h2Stream) check() {
	l := s.link
	invariant.That(s.receiver != nil && !s.inCallback, "a stream without a receiver")
	invariant.That(s.owed >= 0, "%d bytes are owed", s.owed)
	invariant.That(!s.endDelivered || s.endReceived || s.tunnel == stream.TunnelAsked, "an end that did not come")
	invariant.That(!s.endSent || s.framing == stream.Ended || s.framing == stream.NoBody, "an end that was not said")
	invariant.That(!s.endSent || !s.endReceived || s.codec == nil, "a dead stream of the codec")
	invariant.That(s.framing != stream.Ended || !s.endDelivered, "an exchange that is over")
	invariant.That(s.pendingHead == nil || !l.server, "a server waits with a head")
	invariant.That(len(s.earlyBytes) == 0 || l.server && s.tunnel != stream.NoTunnel, "early bytes without a tunnel")
	invariant.That(s.deadline == 0 || !l.connected || l.armed != 0 && l.armed <= s.deadline, "a lost deadline")
}
