package h2

// Two windows bound what the peer may send, and each has its purpose:
//
//	stream      back-pressure: opened by Release, grows while it is drained fast
//	connection  a budget of memory: opened when bytes come, so that one stream that is not read stops no other
//
//	budget  |<-------------- half ------------->|<-------------- half ------------->|
//	        | owed: delivered and not released  | window that the peer sees         |
//
// While no more than half of the budget is owed the peer always sees the other half. Beyond that the window closes as
// far as more is owed, and the stream of which nothing was released for longest is reset once that has lasted. An
// owner that has memory makes the budget larger before that: readers that pause are no fault of the streams. The window
// stays what it was, since that cannot be taken back when memory becomes short:
//
//	budget  |<-------------------------- more ------------------------->|<-------------- half ------------->|

func (c *Conn) half() int64 { return int64(c.o.budget()) / 2 }

// Tight reports whether so much is owed that the window closes.
func (c *Conn) Tight() bool { return c.owed > c.budget-c.half() }

// Widen doubles the budget while it is tight, as far as Options.Budget lets it grow. It is for the owner of c, which
// knows how much memory there is.
func (c *Conn) Widen() {
	most := int64(c.o.budgetMax())
	if !c.Tight() || c.budget >= most || c.fault != nil {
		return
	}
	for c.Tight() && c.budget < most {
		c.budget = min(2*c.budget, most)
	}
	c.creditConn()
}

// owe adds n bytes to what was delivered on s.
func (c *Conn) owe(s *Stream, n int64) {
	if s.owed == 0 && n > 0 {
		s.readAt = c.now
		c.readers.push(s)
	}
	s.owed += n
	c.owed += n
}

// Release says that the caller needs n more of the bytes that Data delivered on s no longer.
func (c *Conn) Release(s *Stream, n int) {
	if s.flag&dead != 0 || s.conn != c || n <= 0 {
		return
	}
	k := min(int64(n), s.owed)
	if k > 0 {
		s.owed -= k
		c.owed -= k
		c.readers.remove(s)
		if s.owed > 0 {
			s.readAt = c.now
			c.readers.push(s)
		}
	}
	s.credit += k
	c.creditStream(s)
	if c.owed+k > c.budget-c.half() {
		c.creditConn()
	}
}

// creditStream opens the window of s when half of it may be.
func (c *Conn) creditStream(s *Stream) {
	if s.credit < s.windowSize/2 || s.flag&recvEnd != 0 {
		return
	}
	grow := int64(0)
	if limit := min(int64(c.o.streamWindowMax()), int64(c.o.budget())/4); c.now-s.drainedAt < growWithin &&
		s.windowSize < limit {
		grow = max(min(s.windowSize, limit-s.windowSize, int64(c.o.grownMax())-c.grown), 0)
		s.grown += grow
		c.grown += grow
	}
	s.drainedAt = c.now
	s.windowSize += grow
	n := s.credit + grow
	s.credit = 0
	s.recvWindow += n
	c.control()
	c.ctl = appendWindowUpdate(c.ctl, s.ID, n)
}

// creditConn opens the window of the connection when a quarter of it may be.
func (c *Conn) creditConn() {
	half := c.half()
	want := min(half, c.budget-c.owed) - c.recvWindow
	if want < half/4 {
		return
	}
	c.recvWindow += want
	c.control()
	c.ctl = appendWindowUpdate(c.ctl, 0, want)
}

// relieve resets the stream of which nothing was released for longest, when more than half of the budget is owed.
func (c *Conn) relieve(ev *Event) bool {
	s := c.readers.first
	if !c.Tight() || s == nil || c.now-s.readAt < c.o.readStall() {
		return false
	}
	c.arena.Stats.StalledReader++
	c.resetStream(s, Cancel)
	ev.Kind, ev.Code, ev.Stream, ev.Err = Reset, Cancel, s, ErrStalledReader
	return true
}
