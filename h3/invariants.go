//go:build invariants

package h3

import "github.com/edge-proxy/edge/internal/invariant"

// check panics when the invariants of Conn do not hold.
func (c *Conn) check() {
	known := 0
	for s := c.streams.First(); s != nil; s = s.opening.Next() {
		known++
		invariant.That(s.flag&dead == 0 && s.conn == c && s.qs.Owner == s, "stream %d is dead, or another's", s.ID)
		invariant.That(s.flag&(recvEnd|sentEnd) != recvEnd|sentEnd, "stream %d has ended twice and is open", s.ID)
		invariant.That(s.state == atHead || s.rest > 0, "stream %d has a payload without bytes", s.ID)
		invariant.That(len(s.block) <= c.o.headBytes() && s.promised >= 0, "stream %d holds too much", s.ID)
	}
	invariant.That(known+c.unsent == c.open, "%d streams and %d unsent, %d counted", known, c.unsent, c.open)
	for i, s := range c.order {
		invariant.That(s.flag&(dead|waiting) == waiting && s.conn == c, "a stream waits that is over")
		invariant.That(i == 0 || !s.precedes(c.order[i-1]), "stream %d waits behind its turn", s.ID)
	}
	for s := c.heads.First(); s != nil; s = s.heading.Next() {
		invariant.That(s.flag&(dead|recvHead) == 0, "stream %d waits for no head", s.ID)
	}
	invariant.That(c.flag&spent == 0 || c.current != nil || c.flag&doneDue == 0, "a stream is over without an event")
}
