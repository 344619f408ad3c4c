package load

import (
	"errors"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
)

var (
	errEnded   = errors.New("the server closed the connection before its answer was whole")
	errUnasked = errors.New("the server answered what it had not been asked")
)

// h1Client asks over HTTP/1. Owned by its reactor.
//
//	n requests are in progress; the oldest is starts[at]
type h1Client struct {
	peer
	dec     h1.Decoder
	starts  []int64 // a ring of Depth: when the latencies of the requests in progress begin
	at, n   int
	status  uint16
	closing bool // the server said so
}

func (c *h1Client) room() int {
	switch {
	case c.open:
		return len(c.starts) - c.n
	case c.w.plan.Reconnect && c.conn == nil && !c.pausing:
		return 1
	}
	return 0
}

func (c *h1Client) send(start int64) {
	c.starts[(c.at+c.n)%len(c.starts)] = start
	c.n++
	c.w.inFlight++
	if c.conn == nil {
		c.dial()
		return
	}
	c.write()
}

// write writes a request. Its connection has room for as many as may be in progress.
func (c *h1Client) write() {
	if err := c.conn.Write(c.w.nextRequest()); err == nil && c.n == 1 {
		c.conn.SetTimeout(c.w.plan.Timeout)
	}
}

func (c *h1Client) forget() int {
	n := c.n
	c.at, c.n = 0, 0
	return n
}

// OnOpen begins to ask.
func (c *h1Client) OnOpen(*engine.Conn) {
	c.dec.InitResponses(nil)
	c.dec.Expect(c.w.plan.verb)
	c.stands()
	if c.n > 0 { // Reconnect: the request for which it was dialled
		c.write()
		return
	}
	c.fill()
}

// OnData takes answers.
func (c *h1Client) OnData(conn *engine.Conn, in []byte) (used int) {
	for used < len(in) {
		if c.n == 0 {
			c.leave(errUnasked)
			return len(in)
		}
		n, ev, _, err := c.dec.Next(in[used:], &c.w.head)
		used += n
		if err != nil {
			c.leave(err)
			return len(in)
		}
		if ev == h1.NeedMore {
			break
		}
		if ev&h1.HeadDone != 0 {
			c.status, c.closing = c.w.head.Status, c.w.head.Close
		}
		if ev&h1.End == 0 {
			continue
		}
		c.pop()
		if c.closing || c.w.plan.Reconnect {
			c.leave(nil)
			return len(in)
		}
	}
	switch {
	case c.n == 0:
		conn.SetTimeout(0)
	case len(c.starts) > 1:
		conn.SetTimeout(c.w.plan.Timeout)
	}
	c.fill()
	return used
}

// pop counts the answer to the oldest request.
func (c *h1Client) pop() {
	start := c.starts[c.at]
	c.at = (c.at + 1) % len(c.starts)
	c.n--
	c.dec.Expect(c.w.plan.verb)
	c.answered(start, c.status)
}

// OnEOF ends an answer that lasts until the connection closes.
func (c *h1Client) OnEOF(*engine.Conn) {
	if c.n > 0 {
		if ev, err := c.dec.EOF(); err == nil && ev&h1.End != 0 {
			c.pop()
		}
	}
	c.leave(nil)
}
