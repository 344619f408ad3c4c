package session

import (
	"math"

	"github.com/edge-proxy/edge/engine"
)

// Relayed is a Receiver that need not see all bytes of a body.
type Relayed interface {
	// OnRelayed says that in more bytes of the body have come and that out were given to the stream that Relay was
	// called with: OnData does not come for them, nor are they owed.
	OnRelayed(s Stream, in, out int)
}

// Relay lets up to limit bytes of the body that from delivers go to to inside the kernel, behind what was sent there,
// and reports whether it does. It does where both are plain HTTP/1, the body's length is known and much of it is to
// come, or both are a tunnel; see engine.Conn.Splice for the rest. From's receiver has to be a Relayed, and owes
// nothing. It goes on to receive OnData whenever that is better, so this is worth a try after each of them. Nothing
// may be sent on to while bytes go there by themselves; deadlines and the end of either side are as ever.
func Relay(from, to Stream, limit int64) bool {
	f, ok := from.(half)
	if !ok {
		return false
	}
	t, ok := to.(half)
	if !ok {
		return false
	}
	n := min(limit, f.coming(), t.going())
	if n <= 0 {
		return false
	}
	c, by := f.relayed()
	if c.Unread() || by == nil {
		return false
	}
	d, _ := t.relayed()
	by.to = t
	return c.Splice(&by.splice, d, n, by)
}

// half is a connection of HTTP/1 as an end of a relay.
type half interface {
	Stream
	// coming is how many bytes of the body it receives are to come and would be passed on as they are.
	coming() int64
	// going is how many bytes it may be given as they are.
	going() int64
	// tookIn notes that n bytes were taken from it; they wait for another connection.
	tookIn(n int, waits bool)
	// gaveOut notes that n bytes were given to it; it takes no more for now.
	gaveOut(n int, waits bool)
	// relayed returns the connection and the relay from it, nil if its receiver is no Relayed.
	relayed() (*engine.Conn, *relaying)
	receives() Relayed
}

// relaying is the relay from one connection to another. Owned by the connection it takes from.
type relaying struct {
	splice engine.Splice
	from   half
	to     half
}

// OnSpliced keeps the account of both sides.
func (l *relaying) OnSpliced(in, out int, waits bool) {
	l.from.tookIn(in, waits)
	l.to.gaveOut(out, waits)
	if r := l.from.receives(); r != nil {
		r.OnRelayed(l.from, in, out)
	}
}

func (s *serverConn) coming() int64 {
	switch {
	case s.receiver == nil || s.requestDone || s.owed > 0 || s.gone:
		return 0
	case s.tunnel:
		return math.MaxInt64
	}
	return s.dec.Counted()
}

func (s *serverConn) going() int64 { return s.body.raw(s.tunnel) }

func (s *serverConn) tookIn(n int, waits bool) {
	if s.tunnel {
		return
	}
	s.dec.Skip(n)
	s.expects = false
	s.paid(n)
	if waits && !s.conn.Congested() { // it owes nothing
		s.conn.SetTimeout(0)
	} else {
		s.await()
	}
}

func (s *serverConn) gaveOut(n int, waits bool) {
	s.body.passed(n)
	s.took(n)
	if n > 0 {
		s.answerMoves()
	}
	switch {
	case s.tunnel && waits:
		s.patience()
	case waits:
		s.awaitTaken()
	default:
		s.taking.rest(s.conn.Reactor().Now())
		if !s.tunnel {
			s.await()
		}
	}
}

func (s *serverConn) relayed() (*engine.Conn, *relaying) {
	if s.relay == nil && s.receives() != nil {
		s.relay = &relaying{from: s}
	}
	return s.conn, s.relay
}

func (s *serverConn) receives() Relayed {
	r, _ := s.receiver.(Relayed)
	return r
}

func (c *Client) coming() int64 {
	switch {
	case c.receiver == nil || c.responseDone || c.owed > 0:
		return 0
	case c.tunnel:
		return math.MaxInt64
	}
	return c.dec.Counted()
}

func (c *Client) going() int64 {
	if !c.opened {
		return 0
	}
	return c.body.raw(c.tunnel)
}

func (c *Client) tookIn(n int, waits bool) {
	if !c.tunnel {
		c.dec.Skip(n)
	}
	if waits && !c.tunnel { // whatever is missing, it is not the origin's
		c.conn.SetTimeout(0)
	} else {
		c.conn.SetTimeout(c.between())
	}
}

func (c *Client) gaveOut(n int, waits bool) {
	c.body.passed(n)
	c.full = waits
	if n > 0 {
		c.expects = false
	}
	if n > 0 || !c.tunnel {
		c.await()
	}
}

func (c *Client) relayed() (*engine.Conn, *relaying) {
	if c.relay == nil && c.receives() != nil {
		c.relay = &relaying{from: c}
	}
	return c.conn, c.relay
}

func (c *Client) receives() Relayed {
	r, _ := c.receiver.(Relayed)
	return r
}

// raw is how many bytes of the body may be sent as they are.
func (b *bodyWriter) raw(tunnel bool) int64 {
	switch {
	case b.framing == counted:
		return b.left
	case b.framing == untilClose && tunnel:
		return math.MaxInt64
	}
	return 0
}

// passed notes that n bytes of the body went another way.
func (b *bodyWriter) passed(n int) {
	if b.framing == counted {
		b.left -= int64(n)
	}
}
