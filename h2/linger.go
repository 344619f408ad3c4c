package h2

import "time"

const (
	// lingerMax is how many bytes of a request are thrown away after its answer before the peer is told to stop.
	lingerMax = 64 << 10
	// resetAfter is how long the peer has to read its answer then: curl 7.88 drops an answer that comes with its reset.
	resetAfter = 100 * time.Millisecond
)

// Linger discards what the peer still sends on s, which we have ended. RFC 9113 §8.1: a server MAY ask by RST_STREAM
// with NO_ERROR that the rest of a request that is answered is not sent, and clients MUST NOT discard the answer for
// it. Some do so all the same. So up to 64 KiB of the rest are thrown away, for LingerTime, before s is reset. s counts
// among the open streams until then, and costs its peer nothing else. No event follows: s is not the caller's any more.
func (c *Conn) Linger(s *Stream) {
	if s.flag&dead != 0 || s.conn != c {
		return
	}
	if s.flag&sentEnd == 0 || c.fault != nil {
		c.Reset(s, NoError)
		return
	}
	s.Owner = nil
	s.flag |= lingers
	s.lingerLeft, s.lingerBy = lingerMax, c.now+c.o.lingerTime()
	s.credit += c.forgive(s)
	c.lingering.push(s)
	c.creditStream(s)
}

// forgive sets what s owes to zero and returns what it was.
func (c *Conn) forgive(s *Stream) (n int64) {
	if n = s.owed; n == 0 {
		return 0
	}
	c.readers.remove(s)
	s.owed = 0
	tight := c.Tight()
	if c.owed -= n; tight {
		c.creditConn()
	}
	return n
}

// discard throws n bytes that came on s away.
func (c *Conn) discard(s *Stream, n int64) {
	if s.lingerLeft -= n; s.lingerLeft < 0 {
		s.lingerBy = min(s.lingerBy, c.now+int64(resetAfter)) // meanwhile its window bounds what comes
		return
	}
	s.credit += n
}

// lingered is told that s, which lingers, is closed. curl 7.88 does not notice the end of a stream that it brought
// about itself by the last of its body before another frame comes: it gets a PING.
func (c *Conn) lingered(s *Stream, how ending) {
	c.lingering.remove(s)
	if how == ended {
		c.control()
		c.ctl = appendPing(c.ctl, 0, []byte(pingEnded))
	}
}

// declineLate resets the streams that have lingered for long enough.
func (c *Conn) declineLate() {
	for s := c.lingering.first; s != nil; {
		next := s.links[byReading].next
		if s.lingerBy <= c.now {
			c.Reset(s, NoError)
		}
		s = next
	}
}
