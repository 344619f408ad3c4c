//go:build invariants

package h2

import "github.com/edge-proxy/edge/internal/base/invariant"

// check panics when the invariants of Conn do not hold.
func (c *Conn) check() {
	var owed int64
	count, starved, ordered := 0, 0, 0
	for i, s := range c.streams.slots {
		if s == nil {
			continue
		}
		count++
		owed += s.owed
		invariant.That(s.flag&dead == 0 && s.conn == c && s.ID != 0, "slot %d holds a stream that is dead", i)
		invariant.That(c.streams.get(s.ID) == s, "stream %d is not found", s.ID)
		invariant.That(s.owed >= 0 && s.credit >= 0, "stream %d owes %d, credit %d", s.ID, s.owed, s.credit)
		invariant.That(s.flag&(recvEnd|sentEnd) != recvEnd|sentEnd, "stream %d has ended twice and is open", s.ID)
		switch s.queued {
		case waitStream:
			starved++
		case queueFull, waitConn:
			ordered++
		}
	}
	for s := c.lingering.first; s != nil; s = s.links[byReading].next {
		invariant.That(s.flag&(lingers|sentEnd|recvEnd|dead) == lingers|sentEnd, "stream %d does not linger", s.ID)
		invariant.That(s.owed == 0 && s.Owner == nil, "stream %d lingers with an owner", s.ID)
	}
	invariant.That(count == c.streams.count && count <= c.open, "%d streams, %d counted", count, c.streams.count)
	invariant.That(owed == c.owed, "%d owed by streams, %d counted", owed, c.owed)
	invariant.That(c.blockID == 0 || c.state == atFrame, "a header block and a body at once")
	invariant.That(c.state != inData && c.state != inSkip || c.rest > 0, "a payload without bytes")
	n := 0
	for s := c.starved.first; s != nil; s = s.links[bySending].next {
		n++
		invariant.That(s.queued == waitStream, "stream %d is in the wrong list", s.ID)
	}
	invariant.That(n == starved, "%d wait for window, %d are listed", starved, n)
	if c.order != nil {
		invariant.That(c.order.count >= ordered, "%d are to send, %d are listed", ordered, c.order.count)
	}
	var last int64
	for s := c.readers.first; s != nil; s = s.links[byReading].next {
		invariant.That(s.owed > 0 && s.readAt >= last, "stream %d is out of the order of readers", s.ID)
		last = s.readAt
	}
}
