//go:build invariants

package shared

import (
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/stream"
)

func (s *Stream) mustOwn() { s.link.conn.Reactor().MustOwn() }

// Check panics when the invariants of l and of its streams do not hold at the end of a batch.
func (l *Link) Check() { l.check() }

// check panics when the invariants of Link do not hold.
func (l *Link) check() {
	invariant.That(l.inCallback == nil && !l.inBatch && !l.inTurn, "a batch inside another one")
	todos, queueBlocked := 0, 0
	for i, s := range l.live {
		invariant.That(int(s.index) == i && s.link == l, "stream %d is at %d", i, s.index)
		if s.todo != nothing {
			todos++
		}
		if s.blocked == ByQueue {
			queueBlocked++
		}
		s.check()
	}
	invariant.That(todos == l.todos, "%d streams have something to be told, %d counted", todos, l.todos)
	invariant.That(queueBlocked == l.queueBlocked, "%d streams wait for the queue, %d counted",
		queueBlocked, l.queueBlocked)
}

// Check panics when the invariants of ServerEnd, and of its Link, do not hold at the end of a batch.
func (e *ServerEnd) Check() {
	e.link.check()
	n := e.link.Streams()
	invariant.That((e.idleUntil != 0) == (n == 0), "%d streams, idle until %d", n, e.idleUntil)
}

// check panics when the invariants of Stream do not hold at the end of a batch.
func (s *Stream) check() {
	l := s.link
	invariant.That(s.receiver != nil && !s.inCallback, "a stream without a receiver")
	invariant.That(s.owed >= 0, "%d bytes are owed", s.owed)
	invariant.That(!s.endDelivered || s.endReceived || s.tunnel == stream.TunnelAsked, "an end that did not come")
	invariant.That(!s.endSent || s.framing == stream.Ended || s.framing == stream.NoBody, "an end that was not said")
	invariant.That(!s.endSent || !s.endReceived || s.handle == nil, "a dead stream of the codec")
	invariant.That(s.framing != stream.Ended || !s.endDelivered, "an exchange that is over")
	invariant.That(s.pendingHead == nil || !l.server, "a server waits with a head")
	invariant.That(len(s.earlyBytes) == 0 || l.server && s.tunnel != stream.NoTunnel, "early bytes without a tunnel")
	invariant.That(s.deadline == 0 || !l.connected || l.armed != 0 && l.armed <= s.deadline, "a lost deadline")
}
