package load

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
)

const (
	headRoom  = 256      // for a head whose fields are in the table
	pieceRoom = 16 << 10 // of a body that is sent at a time
	frameRoom = 64       // for the frames around it
)

// h2Client asks over HTTP/2. Owned by its reactor.
//
//	a request is in free or has a stream
type h2Client struct {
	peer
	codec    h2.Conn
	requests []h2Request
	free     []*h2Request
	begun    bool // codec is the codec of conn, which stands
}

// h2Request is one request in progress. Owned by its client.
type h2Request struct {
	stream *h2.Stream // nil: free
	start  int64      // its latency counts from here
	sent   int64
	status uint16
	body   []byte // not sent yet
}

func (c *h2Client) room() int {
	if !c.open || c.codec.GoingAway() {
		return 0
	}
	return min(len(c.free), c.codec.Room())
}

func (c *h2Client) send(start int64) {
	now := c.w.reactor.Now()
	s, err := c.codec.Open(now)
	if err != nil {
		c.leave(err)
		return
	}
	q := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	*q = h2Request{stream: s, start: start, sent: now, body: c.w.plan.Body}
	s.Owner = q
	c.w.inFlight++
	out, err := c.codec.AppendHead(c.conn.Reserve(headRoom), s, &c.w.plan.head, len(q.body) == 0)
	c.conn.Commit(out)
	if err != nil {
		c.leave(err)
		return
	}
	if len(q.body) > 0 {
		c.sendBody(q)
	}
}

// sendBody sends as much of a body as the windows and the queue take.
func (c *h2Client) sendBody(q *h2Request) {
	for len(q.body) > 0 {
		if c.conn.Congested() {
			c.codec.Block(q.stream)
			return
		}
		p := q.body[:min(len(q.body), pieceRoom)]
		out, n, err := c.codec.AppendData(c.conn.Reserve(len(p)+frameRoom), q.stream, p, len(p) == len(q.body))
		c.conn.Commit(out)
		if q.body = q.body[n:]; err != nil || n < len(p) {
			return // blocked by a window, or answered before its end
		}
	}
}

func (c *h2Client) forget() int {
	n := 0
	c.free = c.free[:0]
	for i := range c.requests {
		if q := &c.requests[i]; q.stream != nil {
			q.stream = nil
			n++
		}
		c.free = append(c.free, &c.requests[i])
	}
	c.begun = false
	return n
}

func (c *h2Client) release(q *h2Request) {
	q.stream, q.body = nil, nil
	c.free = append(c.free, q)
}

// OnOpen says the preface. Requests follow when the settings of the server are known.
func (c *h2Client) OnOpen(conn *engine.Conn) {
	if d := tlsconn.DigestOf(conn); d != nil && d.ALPN != "h2" {
		c.leave(session.ErrNotH2)
		return
	}
	c.forget()
	c.codec.Init(h2.Client, &c.w.codec, conn.Reactor().Now())
	c.begun = true
	conn.SetTimeout(c.w.plan.Timeout)
	c.flush()
}

// flush queues what the codec has to say for itself.
func (c *h2Client) flush() {
	if c.begun && c.codec.Pending() {
		c.conn.Commit(c.codec.AppendControl(c.conn.Reserve(headRoom)))
	}
}

// OnData takes answers.
func (c *h2Client) OnData(conn *engine.Conn, in []byte) (used int) {
	now := conn.Reactor().Now()
	for {
		n, ev := c.codec.Next(in[used:], &c.w.head, now)
		used += n
		if ev.Kind == h2.NeedMore {
			break
		}
		if c.take(&ev); c.conn != conn {
			return len(in)
		}
	}
	c.endBatch()
	return used
}

// take acts on an event. It may leave the connection.
func (c *h2Client) take(ev *h2.Event) {
	var q *h2Request
	if ev.Stream != nil {
		q, _ = ev.Stream.Owner.(*h2Request)
	}
	switch ev.Kind {
	case h2.Settings:
		if !c.open {
			c.stands()
			c.watch()
		}
	case h2.HeadDone:
		if q != nil {
			q.status = c.w.head.Status
		}
	case h2.Data:
		c.codec.Release(ev.Stream, len(ev.Body))
	case h2.Reset:
		if q != nil && q.stream == ev.Stream {
			c.release(q)
			c.w.inFlight--
			c.w.errors.Read++
			c.w.note(ev.Err)
			c.w.checkOver()
		}
		return
	case h2.Fault:
		c.flush()
		c.leave(ev.Err)
		return
	}
	if ev.End && q != nil && q.stream == ev.Stream {
		c.answer(q)
	}
}

// answer counts the answer to q. What was not sent of its body need not be.
func (c *h2Client) answer(q *h2Request) {
	if !q.stream.Ended() {
		c.codec.Reset(q.stream, h2.NoError)
	}
	c.failures = 0
	start, status := q.start, q.status
	c.release(q)
	c.w.answered(start, status)
}

// endBatch sends what the events of a batch have made possible.
func (c *h2Client) endBatch() {
	for c.begun && !c.conn.Congested() {
		s := c.codec.NextSendable()
		if s == nil {
			break
		}
		if q, _ := s.Owner.(*h2Request); q != nil && q.stream == s {
			c.sendBody(q)
		}
	}
	c.fill()
	c.flush()
	if c.begun && c.codec.Done() {
		c.leave(nil)
	}
}

// OnSendable goes on with bodies.
func (c *h2Client) OnSendable(*engine.Conn) { c.endBatch() }

// OnTimeout gives up the requests that have no answer in time.
func (c *h2Client) OnTimeout(conn *engine.Conn) {
	if !c.open {
		c.leave(engine.ErrTimeout)
		return
	}
	now := conn.Reactor().Now()
	for ev := c.codec.Expire(now); ev.Kind != h2.NeedMore; ev = c.codec.Expire(now) {
		if c.take(&ev); c.conn != conn {
			return
		}
	}
	for i := range c.requests {
		if q := &c.requests[i]; q.stream != nil && q.sent+int64(c.w.plan.Timeout) <= now {
			c.codec.Reset(q.stream, h2.Cancel)
			c.release(q)
			c.w.inFlight--
			c.w.errors.Timeout++
			c.w.note(engine.ErrTimeout)
			c.w.checkOver()
		}
	}
	if c.endBatch(); c.conn == conn {
		c.watch()
	}
}

// watch arranges for OnTimeout when the oldest request is due, or the codec; a request that is sent later than now is
// due later than that.
func (c *h2Client) watch() {
	now := c.w.reactor.Now()
	next := now + int64(c.w.plan.Timeout)
	for i := range c.requests {
		if q := &c.requests[i]; q.stream != nil {
			next = min(next, q.sent+int64(c.w.plan.Timeout))
		}
	}
	if at := c.codec.Deadline(); at != 0 {
		next = min(next, at)
	}
	c.conn.SetTimeout(max(time.Duration(next-now), time.Millisecond))
}
