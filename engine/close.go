package engine

import (
	"time"

	"github.com/edge-proxy/edge/poller"
)

// After FIN was sent, what the peer still sends is read and thrown away within these bounds. Closing with bytes unread
// makes the kernel send RST, and a RST may overtake the last answer.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// Close ends the connection. With nil the queue is sent, then FIN, then input is drained for a moment; with a cause
// what is queued is dropped. Either way OnClose comes later, at the reap step, and no other event before it.
func (c *Conn) Close(cause error) {
	switch {
	case c.state == closed:
	case cause != nil || c.state == connecting:
		c.drop(cause)
	case c.state == open:
		c.state = closing
		c.SetTimeout(c.reactor.opts.SendTimeout)
		c.makeDirty() // flush goes on from there
	}
}

// sent is called when a closing Conn has an empty queue.
func (c *Conn) sent() {
	if c.flags&eof != 0 {
		c.drop(nil)
		return
	}
	if c.flags&finSent == 0 {
		c.flags |= finSent
		if c.sendFIN(); c.state == closed {
			return
		}
	}
	if c.listener == nil { // we were the client: the peer has nothing to lose
		c.drop(nil)
		return
	}
	c.SetTimeout(lingerTime)
	if c.can&poller.CanRead != 0 {
		c.reactor.makeReady(c)
	}
}

// drain throws input away while c closes.
func (c *Conn) drain() {
	r := c.reactor
	if c.flags&timedOut != 0 {
		if c.queued > 0 {
			c.drop(ErrTimeout)
		} else {
			c.drop(nil)
		}
		return
	}
	c.releaseKept()
	for c.can&poller.CanRead != 0 && c.drained < lingerBytes {
		n, e := r.kernel.Read(c.fd, r.scratch)
		switch {
		case n > 0:
			c.drained += n
			if n < len(r.scratch) && c.can&(poller.PeerClosed|poller.Broken) == 0 {
				c.can &^= poller.CanRead
			}
			continue
		case n == 0:
			c.flags |= eof
		}
		c.can &^= poller.CanRead
		if n != 0 && c.can&poller.Broken == 0 { // EAGAIN
			return
		}
		if c.queued == 0 || e != 0 {
			c.drop(nil)
		}
		return
	}
	if c.drained >= lingerBytes && c.queued == 0 {
		c.drop(nil)
	}
}

// drop ends c at once: it goes on the dead list.
func (c *Conn) drop(cause error) {
	if c.state == closed {
		return
	}
	c.state = closed
	c.cause = cause
	c.deadline = 0
	c.releaseQueue()
	c.releaseKept()
	c.reactor.dead = append(c.reactor.dead, c)
}

func (c *Conn) releaseKept() {
	if b := c.in; b != nil {
		c.in = nil
		c.reactor.bufs.put(b)
	}
	c.flags &^= redeliver
}

// reap tells the handler that c is closed and gives its descriptor and its slot back.
func (c *Conn) reap() {
	r := c.reactor
	r.wheel.Disarm(&c.timer)
	r.current = c
	c.flags |= reaping
	c.handler.OnClose(c, c.cause)
	c.release()
}

// release gives back what the operating system and the reactor lent to c. A handler that panicked in OnClose does not
// keep it from that.
func (c *Conn) release() {
	r := c.reactor
	if c.fd != poller.NoFD {
		r.kernel.Close(c.fd)
		c.fd = poller.NoFD
	}
	if c.slot != noSlot {
		r.freeSlot(c.slot)
	}
	if c.flags&accepted != 0 {
		r.load.Add(-1)
		c.listener.conns.Add(-1)
	}
	r.stats.Closed++
}

// Detach takes the descriptor away from the engine: it is no longer watched, nor closed. unread is what OnData left.
// What is queued is lost: wait until Queued is 0. No event follows, OnClose included.
func (c *Conn) Detach() (fd poller.FD, unread []byte) {
	if c.state == closed || c.state == connecting {
		return poller.NoFD, nil
	}
	r := c.reactor
	if c.in != nil {
		unread = append(unread, c.in.bytes()...)
	}
	fd, c.fd = c.fd, poller.NoFD
	r.kernel.Del(fd)
	c.handler = NopHandler{}
	c.drop(nil)
	return fd, unread
}
