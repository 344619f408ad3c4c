package engine

import (
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// After FIN was sent, what the peer still sends is read and thrown away within these bounds. Closing with bytes unread
// makes the kernel send RST, and a RST may overtake the last answer.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// Close ends the connection. With nil the queue is sent, then FIN, then input is drained for a moment; with a cause the
// queue is dropped. Either way OnClose comes later, at the reap step, and no other event before it.
func (c *Conn) Close(cause error) {
	c.mustOwn()
	switch {
	case c.state == closed:
	case cause != nil || c.state == connecting || c.inHandshake():
		c.drop(cause)
	case c.state == open:
		c.state = closing
		c.setTimeout(c.reactor.opts.SendTimeout)
		c.makeDirty() // flush goes on from there
		if c.extra != nil {
			c.extra.unsplice()
		}
		if c.can&poller.CanRead != 0 {
			c.reactor.makeReady(c) // a peer that sends all before it reads must be read meanwhile
		}
	}
}

// Finish is Close(nil) for a peer that has said it sends no more: unless bytes of it lie unread, nothing is waited for
// once the queue has left.
func (c *Conn) Finish() {
	c.mustOwn()
	c.flags |= finished
	c.Close(nil)
}

// CloseWrite sends FIN after what is queued; reading goes on.
func (c *Conn) CloseWrite() {
	c.mustOwn()
	if c.writeClosed() {
		return
	}
	c.flags |= finDue
	c.makeDirty()
}

// onQueueEmpty is called when a closing Conn has an empty queue.
func (c *Conn) onQueueEmpty() {
	if c.layer.isCarried() {
		c.drop(nil)
		return
	}
	over := c.flags&eof != 0 || c.flags&finished != 0 && c.can&poller.CanRead == 0
	// Where it is over close(2) sends the FIN. But if bytes are unread it drops a segment that waits for the FIN.
	if c.flags&finSent == 0 && (!over || c.flags&finAwaited != 0) {
		if c.sendFIN(); c.state == closed {
			return
		}
	}
	if over || c.listener == nil { // we are the client: there is no answer that a RST could destroy
		c.drop(nil)
		return
	}
	c.setTimeout(lingerTime)
	if c.can&poller.CanRead != 0 {
		c.reactor.makeReady(c)
	}
}

func (c *Conn) sendFIN() {
	c.flags |= finSent
	if e := c.reactor.kernel.CloseWrite(c.fd); e != 0 && e != syscall.ENOTCONN {
		c.drop(e)
	}
}

// linger throws input away while c closes.
func (c *Conn) linger() {
	c.releaseKept()
	if c.flags&timedOut != 0 {
		if c.queued > 0 {
			c.reactor.stats.SendTimeouts++
		}
		c.giveUp(ErrTimeout)
		return
	}
	r := c.reactor
	for c.can&poller.CanRead != 0 && c.flags&eof == 0 && c.lingered < lingerBytes {
		n, e := r.kernel.Read(c.fd, r.scratch)
		switch {
		case n > 0:
			c.lingered += int32(n)
			if n < len(r.scratch) && c.can&(poller.PeerClosed|poller.Broken) == 0 {
				c.can &^= poller.CanRead
			}
		case e == syscall.EAGAIN:
			c.can &^= poller.CanRead
		case e != 0:
			c.giveUp(e)
			return
		default:
			c.flags |= eof
		}
	}
	if c.queued == 0 && (c.flags&eof != 0 || c.lingered >= lingerBytes) && (c.layer == nil || c.layer.endSent) {
		c.drop(nil)
	}
}

// Reset ends the connection like Close with a cause, and the peer sees an error in place of an orderly end. A
// message that is delimited by the end of its connection can be marked as incomplete in no other way. Over a Unix
// socket the peer sees an orderly end all the same.
//
// It may come until OnClose returns, also where the connection has ended by something else: by ErrStopped for instance.
func (c *Conn) Reset(cause error) {
	c.mustOwn()
	c.flags |= resetting
	c.drop(cause)
}

// giveUp ends a closing Conn early. The peer sees a reset if bytes for it were still queued.
func (c *Conn) giveUp(cause error) {
	if c.queued > 0 {
		c.Reset(cause)
		return
	}
	c.drop(nil)
}

// sendFailed ends a connection that cannot be written to. While bytes of the peer may still lie unread, the reader
// finds them first: a peer that answered and closed without reading all we sent has still answered. Until then the
// connection takes no more bytes.
func (c *Conn) sendFailed(e syscall.Errno) {
	c.can &^= poller.CanWrite
	gone := e == syscall.EPIPE || e == syscall.ECONNRESET
	if !gone || c.state != open || c.flags&eof != 0 || c.can&poller.CanRead == 0 {
		c.drop(e)
		return
	}
	c.releaseQueue()
	c.flags |= finSent
	if e == syscall.ECONNRESET {
		// The kernel tells of a reset once. The read after the last byte would take it for an orderly end.
		c.cause = e
	}
	c.can |= poller.Broken
	c.reactor.makeReady(c)
	if c.extra != nil && c.extra.spliceOut != nil {
		c.extra.spliceOut.stop() // its socket takes nothing any more
	}
	if c.flags&(congested|partSent) != 0 {
		c.makeDirty()
	}
}

// drop ends c at once and puts it on the dead list. Unread bytes stay until it is reaped, since the callback that
// runs now may have borrowed them.
func (c *Conn) drop(cause error) {
	if c.state == closed {
		return
	}
	c.state = closed
	c.cause = cause
	c.deadline = 0
	if c.extra != nil {
		c.extra.unsplice()
	}
	c.releaseQueue()
	c.reactor.dead = append(c.reactor.dead, c)
}

func (c *Conn) releaseQueue() {
	c.out.release(&c.reactor.bufs)
	c.queued = 0
	if ly := c.layer; ly != nil {
		ly.out.release(&c.reactor.bufs)
		ly.sealed = 0
	}
}

func (c *Conn) releaseKept() {
	if b := c.in; b != nil {
		c.in = nil
		c.reactor.bufs.put(b)
	}
	if c.layer != nil {
		c.releaseWire()
	}
	c.flags &^= redeliver
}

// release gives back c's descriptor, slot and buffers. It is called also when the handler panicked in OnClose.
func (c *Conn) release() {
	r := c.reactor
	if x := c.extra; x != nil {
		ends := x.ends
		x.ends = nil
		for _, end := range ends {
			end()
		}
	}
	r.wheel.Disarm(&c.timer)
	if d := c.dialing; d != nil {
		r.Disarm(&d.retry)
		if d.race != nil {
			d.race.stop()
		}
		c.dialing = nil
	}
	c.releaseKept()
	if c.layer.isCarried() {
		c.layer.carried.drop()
	}
	if c.fd != poller.NoFD {
		if c.flags&resetting != 0 {
			r.kernel.Reset(c.fd)
		} else {
			r.kernel.Close(c.fd)
		}
		c.fd = poller.NoFD
	}
	r.freeSlot(c.slot)
	if l := c.listener; l != nil {
		r.load.Add(-1)
		l.conns.Add(-1)
		r.acceptAny = r.acceptAny || l.connsMax.Load() > 0 // a connection that waits for room may take it
	}
	r.stats.Closed++
}
