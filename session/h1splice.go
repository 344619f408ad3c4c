package session

import (
	"math"

	"github.com/edge-proxy/edge/engine"
)

// SpliceReceiver is a Receiver that need not see all bytes of a body.
type SpliceReceiver interface {
	// OnSpliced says that in more bytes of the body have come and that out were given to the stream that Splice was
	// called with. OnData does not come for them, and they are not owed.
	OnSpliced(s Stream, in, out int)
}

// Splice lets up to limit bytes of the body that from delivers go to to inside the kernel, after what was sent there.
// It reports whether it does: both have to be HTTP/1 without TLS, and either the body's length is known and much of it
// is to come, or both are a tunnel. engine.Conn.Splice has more conditions.
//
// The receiver of from has to be a SpliceReceiver and to owe nothing. It receives OnData again whenever that is better,
// so Splice is worth another call after each OnData. Nothing may be sent on to while bytes go there by themselves. The
// deadlines and the end of either side stay as they are.
func Splice(from, to Stream, limit int64) bool {
	f, ok := from.(spliceEnd)
	if !ok {
		return false
	}
	t, ok := to.(spliceEnd)
	if !ok {
		return false
	}
	n := min(limit, f.toReceive(), t.toSend())
	if n <= 0 {
		return false
	}
	c, s := f.spliceFrom()
	if c.Unread() || s == nil {
		return false
	}
	d, _ := t.spliceFrom()
	s.to = t
	return c.Splice(&s.splice, d, n, s)
}

// spliceEnd is a connection of HTTP/1 as one end of a splice.
type spliceEnd interface {
	Stream
	// toReceive is how many bytes of the body that it receives may be passed on as they come.
	toReceive() int64
	// toSend is how many bytes of the body that it sends may be given to its socket as they are.
	toSend() int64
	// splicedIn notes that n bytes were taken from its socket. waits: the other connection takes no more for now.
	splicedIn(n int, waits bool)
	// splicedOut notes that n bytes were given to its socket. waits: the socket takes no more for now.
	splicedOut(n int, waits bool)
	// spliceFrom returns the connection and the splice from it, nil if its receiver is no SpliceReceiver.
	spliceFrom() (*engine.Conn, *splice)
	spliceReceiver() SpliceReceiver
}

// splice moves a body from one connection to another. Owned by the connection that it takes from.
type splice struct {
	splice engine.Splice
	from   spliceEnd
	to     spliceEnd
}

// OnSpliced keeps the account of both ends.
func (l *splice) OnSpliced(in, out int, waits bool) {
	l.from.splicedIn(in, waits)
	l.to.splicedOut(out, waits)
	if r := l.from.spliceReceiver(); r != nil {
		r.OnSpliced(l.from, in, out)
	}
}

func (s *h1Server) toReceive() int64 {
	switch {
	case s.receiver == nil || s.requestDone || s.owed > 0 || s.peerFIN:
		return 0
	case s.tunnel == tunnelOpen:
		return math.MaxInt64
	}
	return s.dec.Counted()
}

func (s *h1Server) toSend() int64 { return s.body.toSplice(s.tunnel == tunnelOpen) }

func (s *h1Server) splicedIn(n int, waits bool) {
	if s.tunnel == tunnelOpen {
		return
	}
	s.dec.Skip(n)
	s.awaits100 = false
	s.noteBodyReceived(n)
	if waits && !s.conn.Congested() { // it owes nothing
		s.conn.SetTimeout(0)
	} else {
		s.setDeadline()
	}
}

func (s *h1Server) splicedOut(n int, waits bool) {
	s.body.spliced(n)
	s.noteAnswerTaken(n)
	if n > 0 {
		s.answerMoves()
	}
	switch {
	case s.tunnel == tunnelOpen && waits:
		s.timeToTake()
	case waits:
		s.awaitTaken()
	default:
		s.answerPace.pause(s.conn.Reactor().Now())
		if s.tunnel != tunnelOpen {
			s.setDeadline()
		}
	}
}

func (s *h1Server) spliceFrom() (*engine.Conn, *splice) {
	if s.splice == nil && s.spliceReceiver() != nil {
		s.splice = &splice{from: s}
	}
	return s.conn, s.splice
}

func (s *h1Server) spliceReceiver() SpliceReceiver {
	r, _ := s.receiver.(SpliceReceiver)
	return r
}

func (c *Client) toReceive() int64 {
	switch {
	case c.receiver == nil || c.answer == answerDone || c.owed > 0:
		return 0
	case c.tunnel:
		return math.MaxInt64
	}
	return c.dec.Counted()
}

func (c *Client) toSend() int64 {
	if !c.connected {
		return 0
	}
	return c.body.toSplice(c.tunnel)
}

func (c *Client) splicedIn(n int, waits bool) {
	if !c.tunnel {
		c.dec.Skip(n)
	}
	if waits && !c.tunnel { // the origin does not owe the missing bytes
		c.conn.SetTimeout(0)
	} else {
		c.conn.SetTimeout(c.between())
	}
}

func (c *Client) splicedOut(n int, waits bool) {
	c.body.spliced(n)
	c.spliceWaits = waits
	if n > 0 {
		c.awaits100 = false
	}
	if n > 0 || !c.tunnel {
		c.setDeadline()
	}
}

func (c *Client) spliceFrom() (*engine.Conn, *splice) {
	if c.splice == nil && c.spliceReceiver() != nil {
		c.splice = &splice{from: c}
	}
	return c.conn, c.splice
}

func (c *Client) spliceReceiver() SpliceReceiver {
	r, _ := c.receiver.(SpliceReceiver)
	return r
}

// toSplice is how many bytes of the body may be sent as they are.
func (b *bodyWriter) toSplice(tunnel bool) int64 {
	switch {
	case b.framing == counted:
		return b.left
	case b.framing == untilClose && tunnel:
		return math.MaxInt64
	}
	return 0
}

// spliced notes that the kernel sent n bytes of the body.
func (b *bodyWriter) spliced(n int) {
	if b.framing == counted {
		b.left -= int64(n)
	}
	b.check()
}
