package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
)

var errClosed = errors.New("the server closed the connection of QUIC")

// h3Client asks over HTTP/3, from a UDP port of its own. Owned by its reactor.
//
//	port ─► end ─► codec ─► take ─► worker        what they have to send leaves in the same tick
type h3Client struct {
	peer
	exchanges[h3.Stream]
	port  *engine.Port
	end   *quicpeer.End // nil: there is no connection
	left  *quicpeer.End // has to say that it is over
	codec h3.Conn

	first   int64 // Reconnect: the request for which the connection is made; 0: it was sent
	begunAt int64
	armed   int64 // when timer fires; 0: it is not armed
	timer   engine.Timer

	dialTask, flushTask engine.Task
	dialling, flushing  bool // its task is on its way
}

// h3Shared is what the clients of a worker share. Owned by its reactor.
type h3Shared struct {
	codec   h3.Options
	quic    quic.Arena
	in, out uint64 // bytes of datagrams
}

func newH3Client(depth int) *h3Client {
	c := &h3Client{exchanges: newExchanges[h3.Stream](depth)}
	c.dialTask.Run, c.flushTask.Run, c.timer.Run = c.connect, c.flush, c.onTime
	return c
}

// listen opens the port from which c asks. It stays, whatever connections come and go.
func (c *h3Client) listen(e *engine.Engine) error {
	any := netip.IPv6Unspecified()
	if c.w.plan.to.Addr().Is4() {
		any = netip.IPv4Unspecified()
	}
	o := engine.ListenOptions{Addr: poller.Addr{IP: netip.AddrPortFrom(any, 0)}}
	_, err := e.ListenDatagrams(o, func(p *engine.Port) engine.PortHandler {
		c.port = p
		return c
	})
	return err
}

func (c *h3Client) room() int {
	switch {
	case c.open && !c.codec.GoingAway():
		return min(len(c.free), c.codec.Room())
	case c.w.plan.Reconnect && c.end == nil && !c.dialling && !c.pausing:
		return 1
	}
	return 0
}

func (c *h3Client) send(start int64) {
	c.w.inFlight++
	if c.end == nil {
		c.first = start
		c.dial()
		return
	}
	c.ask(start)
}

func (c *h3Client) ask(start int64) {
	now := c.w.reactor.Now()
	s, err := c.codec.Open(now)
	if err != nil {
		c.first = start // forget counts it
		c.leave(err)
		return
	}
	q := c.begin(s, start, now, c.w.plan.Body)
	s.Owner = q
	if err = c.codec.SendHead(s, &c.w.plan.head, len(q.body) == 0); err == nil {
		err = c.sendBody(q)
	}
	if err != nil {
		c.leave(err)
		return
	}
	c.askFlush()
}

// sendBody sends as much of a body as the windows and memory take.
func (c *h3Client) sendBody(q *exchange[h3.Stream]) error {
	if len(q.body) == 0 {
		return nil
	}
	n, err := c.codec.SendData(q.stream, q.body, true)
	q.body = q.body[n:]
	return err
}

func (c *h3Client) forget() int {
	n := c.releaseAll()
	if c.first != 0 {
		c.first = 0
		n++
	}
	if c.end != nil {
		c.end.Conn.Close(uint64(h3.NoError))
		c.left, c.end = c.end, nil
		c.askFlush()
	}
	return n
}

// dial begins a connection in this tick: the one before may be in the middle of its events.
func (c *h3Client) dial() {
	if !c.dialling {
		c.dialling = true
		c.w.reactor.Defer(&c.dialTask)
	}
}

func (c *h3Client) connect(r *engine.Reactor) {
	c.dialling, c.begunAt = false, r.Now()
	c.end = &quicpeer.End{OnEvent: c.onEvent, Options: quic.Options{
		Arena: &c.w.h3.quic, HandshakeTimeout: c.w.plan.Timeout, Streams: -1,
	}}
	c.end.Begin(c.w.tls.Config, quic.Path{Peer: c.w.plan.to}, r.Now(), rand.Uint64)
	c.codec.Init(h3.Client, &c.end.Conn, &c.w.h3.codec)
	c.askFlush()
}

// OnDatagrams takes answers.
func (c *h3Client) OnDatagrams(_ *engine.Port, b *poller.Batch) {
	now := c.w.reactor.Now()
	for i := range b.Len() {
		for d := range b.At(i).Segments() {
			c.w.h3.in += uint64(len(d))
			if e := c.end; e != nil {
				e.Conn.Receive(d, e.Conn.Path(), now)
				e.Events()
			}
		}
	}
	c.endBatch()
}

// onEvent takes an event of QUIC.
func (c *h3Client) onEvent(in *quic.Event) {
	for c.end != nil {
		n, ev := c.codec.Next(in, &c.w.head, c.w.reactor.Now())
		in.Body = in.Body[n:]
		if ev.Kind == h3.NeedMore {
			return
		}
		c.take(&ev)
	}
}

// take acts on an event. It may leave the connection.
func (c *h3Client) take(ev *h3.Event) {
	var q *exchange[h3.Stream]
	if ev.Stream != nil {
		q = c.of(ev.Stream, ev.Stream.Owner)
	}
	switch ev.Kind {
	case h3.Settings:
		c.settled()
	case h3.HeadDone:
		if q != nil {
			q.status = c.w.head.Status
		}
	case h3.Data:
		c.codec.Release(ev.Stream, len(ev.Body))
	case h3.Sendable:
		if q != nil {
			if err := c.sendBody(q); err != nil {
				c.leave(err)
			}
		}
	case h3.Reset:
		if q != nil {
			c.release(q)
			c.w.lost(ev.Err)
		}
		return
	case h3.Fault:
		c.fail(ev.Err)
		return
	}
	if ev.End && q != nil {
		c.answer(q)
	}
}

// fail leaves a connection that is over.
func (c *h3Client) fail(err error) {
	switch k := c.end.Conn.Closed(); {
	case c.end.Err != nil: // of TLS
		err = c.end.Err
	case k.Err == quic.ErrHandshakeTimeout, k.Err == quic.ErrIdle:
		err = engine.ErrTimeout
	case err == h3.ErrQUIC && k.Err != nil:
		err = k.Err
	case err == h3.ErrQUIC:
		err = fmt.Errorf("%w: %v", errClosed, h3.Code(k.Code))
	}
	c.leave(err)
}

// settled begins to ask.
func (c *h3Client) settled() {
	if c.open {
		return
	}
	c.stands()
	if start := c.first; start != 0 {
		c.first = 0
		c.ask(start)
	}
}

// answer counts the answer to q. What was not sent of its body need not be.
func (c *h3Client) answer(q *exchange[h3.Stream]) {
	if !q.stream.Ended() {
		c.codec.Reset(q.stream, h3.NoError)
	}
	c.answered(c.release(q))
	if c.w.plan.Reconnect {
		c.leave(nil)
	}
}

// endBatch sends what events have made possible.
func (c *h3Client) endBatch() {
	if c.end == nil {
		return
	}
	c.fill()
	if c.end != nil && c.codec.Done() {
		c.leave(nil)
	}
	c.askFlush()
}

func (c *h3Client) askFlush() {
	if !c.flushing {
		c.flushing = true
		c.w.reactor.Defer(&c.flushTask)
	}
}

// flush sends the datagrams that may leave.
func (c *h3Client) flush(r *engine.Reactor) {
	c.flushing = false
	if c.left != nil {
		c.write(c.left)
		c.left.Stop()
		c.left = nil
	}
	if c.end == nil {
		return
	}
	at := c.oldest(r.Now()) + int64(c.w.plan.Timeout)
	if !c.write(c.end) {
		at = r.Now() + int64(pauseFirst) // the kernel takes no more now
	}
	for _, other := range []int64{c.end.Conn.Deadline(), c.codec.Deadline()} {
		if other != 0 {
			at = min(at, other)
		}
	}
	if c.armed == 0 || at < c.armed {
		c.armed = at
		r.Arm(&c.timer, at)
	}
}

// write reports whether all datagrams that may leave have.
func (c *h3Client) write(e *quicpeer.End) bool {
	for e.Conn.Pending() {
		room := c.port.Reserve(quic.DatagramMax)
		if room == nil {
			return false
		}
		d, p := e.Conn.AppendDatagram(room, c.w.reactor.Now())
		if len(d) == 0 {
			break
		}
		c.w.h3.out += uint64(len(d))
		c.port.Commit(d, p.Peer, p.Local)
	}
	return true
}

// onTime acts on times that have come, and gives up the requests that have no answer in time.
func (c *h3Client) onTime(r *engine.Reactor) {
	c.armed = 0
	e, now := c.end, r.Now()
	if e == nil {
		return
	}
	if at := e.Conn.Deadline(); at != 0 && at <= now {
		e.Conn.Expire(now)
		e.Events()
	}
	for c.end != nil {
		ev := c.codec.Expire(now)
		if ev.Kind == h3.NeedMore {
			break
		}
		c.take(&ev)
	}
	last := now - int64(c.w.plan.Timeout)
	switch {
	case c.end == nil:
		return
	case !c.open && c.begunAt <= last:
		c.leave(engine.ErrTimeout)
	default:
		c.w.timedOut(c.expire(last, func(s *h3.Stream) { c.codec.Reset(s, h3.RequestCancelled) }))
	}
	c.endBatch()
}
