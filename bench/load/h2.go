package load

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/session"
)

const (
	headRoom  = 256      // for a head whose fields are in the table
	pieceRoom = 16 << 10 // of a body that is sent at a time
	frameRoom = 64       // for the frames around it
)

// h2Client asks over HTTP/2. Owned by its reactor.
type h2Client struct {
	peer
	exchanges[h2.Stream]
	codec h2.Conn
	begun bool // codec is the codec of conn, which stands
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
	q := c.begin(s, start, now, c.w.plan.Body)
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
func (c *h2Client) sendBody(q *exchange[h2.Stream]) {
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
	c.begun = false
	return c.releaseAll()
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
	var q *exchange[h2.Stream]
	if ev.Stream != nil {
		q = c.of(ev.Stream, ev.Stream.Owner)
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
		if q != nil {
			c.release(q)
			c.w.lost(ev.Err)
		}
		return
	case h2.Fault:
		c.flush()
		c.leave(ev.Err)
		return
	}
	if ev.End && q != nil {
		c.answer(q)
	}
}

// answer counts the answer to q. What was not sent of its body need not be.
func (c *h2Client) answer(q *exchange[h2.Stream]) {
	if !q.stream.Ended() {
		c.codec.Reset(q.stream, h2.NoError)
	}
	c.answered(c.release(q))
}

// endBatch sends what the events of a batch have made possible.
func (c *h2Client) endBatch() {
	for c.begun && !c.conn.Congested() {
		s := c.codec.NextSendable()
		if s == nil {
			break
		}
		if q := c.of(s, s.Owner); q != nil {
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
	c.w.timedOut(c.expire(now-int64(c.w.plan.Timeout), func(s *h2.Stream) { c.codec.Reset(s, h2.Cancel) }))
	if c.endBatch(); c.conn == conn {
		c.watch()
	}
}

// watch arranges for OnTimeout when the oldest request is due, or the codec; a request that is sent later than now is
// due later than that.
func (c *h2Client) watch() {
	now := c.w.reactor.Now()
	next := c.oldest(now) + int64(c.w.plan.Timeout)
	if at := c.codec.Deadline(); at != 0 {
		next = min(next, at)
	}
	c.conn.SetTimeout(max(time.Duration(next-now), time.Millisecond))
}
