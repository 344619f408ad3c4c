package h3

import "slices"

// Block says that the caller has to wait before it sends more of s, which comes from NextSendable in its turn.
func (c *Conn) Block(s *Stream) {
	if s.flag&(dead|waiting) != 0 || s.conn != c {
		return
	}
	s.flag |= waiting
	at := len(c.order)
	for at > 0 && s.precedes(c.order[at-1]) {
		at--
	}
	c.order = slices.Insert(c.order, at, s)
}

// precedes reports whether s has its turn before o (RFC 9218 §10): by urgency, serial streams by their numbers, and
// after them the others in turns.
func (s *Stream) precedes(o *Stream) bool {
	switch {
	case s.urgency != o.urgency:
		return s.urgency < o.urgency
	case s.serial && o.serial:
		return s.ID < o.ID
	}
	return s.serial
}

// leastTurn is how often the last stream of the order has its turn, so that none starves.
const leastTurn = 16

// NextSendable takes the next stream off the order of those that wait; nil when there is none.
func (c *Conn) NextSendable() *Stream {
	if len(c.order) == 0 {
		return nil
	}
	s := c.order[0]
	if c.picks++; c.picks%leastTurn == 0 {
		s = c.order[len(c.order)-1]
	}
	c.unblock(s)
	return s
}

// unblock takes s out of the order, and reports whether it was there.
func (c *Conn) unblock(s *Stream) bool {
	if s.flag&waiting == 0 {
		return false
	}
	s.flag &^= waiting
	at := slices.Index(c.order, s)
	c.order = slices.Delete(c.order, at, at+1)
	return true
}
