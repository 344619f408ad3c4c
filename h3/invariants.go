//go:build invariants

package h3

import "github.com/edge-proxy/edge/internal/base/invariant"

// check panics when the invariants of Conn do not hold.
func (c *Conn) check() {
	known, joined := 0, 0
	for s := c.streams.First(); s != nil; s = s.opening.Next() {
		known++
		joined += len(s.block)
		invariant.That(s.flag&dead == 0 && s.conn == c && s.qs.Owner == s, "stream %d is dead, or another's", s.ID)
		invariant.That(s.flag&(recvEnd|sentEnd) != recvEnd|sentEnd, "stream %d has ended twice and is open", s.ID)
		invariant.That(s.state == atHead || s.rest > 0, "stream %d has a payload without bytes", s.ID)
		invariant.That(len(s.block) <= c.limits.HeadBytes, "stream %d holds too much", s.ID)
	}
	invariant.That(known+c.unsent == c.open, "%d streams and %d unsent, %d counted", known, c.unsent, c.open)
	invariant.That(joined <= c.joined && c.joined <= joined+controlMax, "%d bytes joined, %d counted", joined, c.joined)
	for s := c.heads.First(); s != nil; s = s.heading.Next() {
		invariant.That(s.flag&(dead|recvHead) == 0, "stream %d waits for no head", s.ID)
	}
	invariant.That(c.flag&spent == 0 || c.current != nil || c.flag&doneDue == 0, "a stream is over without an event")
}
