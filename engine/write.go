package engine

import (
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// largeWrite is where gathering ends: a Write of at least this much leaves at once, after what is queued, and only
// what the socket does not take is copied.
const largeWrite = 4 << 10

// Write queues or sends p, all of it, or returns ErrQueueFull and takes nothing. p is borrowed until return.
func (c *Conn) Write(p []byte) error {
	c.mustOwn()
	switch {
	case c.writeClosed():
		return ErrClosed
	case c.queued+len(p) > c.reactor.opts.SendMax:
		c.reactor.stats.QueueFull++
		return ErrQueueFull
	}
	if len(p) >= largeWrite && c.state == open && c.can&poller.CanWrite != 0 {
		n := c.send(p)
		p = p[n:]
		if c.flags&(congested|givable) != 0 {
			c.makeDirty() // the queue may have fallen below its low mark just now, or c may go
		}
		if len(p) == 0 || c.state > open || c.flags&finSent != 0 {
			return nil
		}
	}
	c.queue(p)
	c.noteQueued()
	return nil
}

// send writes the queue and then p in one call, and reports how much of p left. The rest of the queue stays there.
// May close c.
func (c *Conn) send(p []byte) (n int) {
	if c.layer != nil {
		return c.sendSealed(p)
	}
	r := c.reactor
	var sent, total int
	var e syscall.Errno
	if b := c.out.head; p == nil && b.next == nil { // most of what leaves lies in one Buf
		total = b.w - b.r
		switch {
		case c.state == closing || c.flags&finDue != 0:
			// flush goes on with FIN, which rides on the last segment: one segment in eight less.
			c.flags |= finAwaited
			fallthrough
		case c.flags&moreComes != 0:
			sent, e = r.kernel.WriteLast(c.fd, b.bytes())
		default:
			sent, e = r.kernel.Write(c.fd, b.bytes())
		}
	} else {
		sent, total, e = c.sendAll(p)
	}
	switch {
	case e == syscall.EAGAIN:
		sent = 0
	case e != 0:
		c.sendFailed(e)
		return 0
	}
	if sent < total {
		c.can &^= poller.CanWrite
	}
	r.stats.BytesOut += uint64(sent)
	return c.consume(sent)
}

// sendAll is send for bytes in several buffers. It returns how many bytes left, and how many should have.
func (c *Conn) sendAll(p []byte) (sent, total int, e syscall.Errno) {
	iov, total := c.out.appendTo(c.reactor.iov[:0])
	if total == c.queued && p != nil { // else p waits: the queue is longer than one call takes
		iov = append(iov, p)
		total += len(p)
	}
	sent, e = writeOut(c.reactor.kernel, c.fd, iov)
	return sent, total, e
}

// flush writes what is queued and follows up: FIN when it is due, OnSendable, the end of closing.
func (c *Conn) flush() {
	if c.state == connecting || c.state == closed {
		return
	}
	if c.layer != nil {
		c.flushSealed()
	} else {
		for c.queued > 0 && c.can&poller.CanWrite != 0 && c.state != closed {
			c.send(nil)
		}
	}
	if c.state == closed || c.inHandshake() {
		return
	}
	partTaken := c.flags&partSent != 0 && c.queued == 0 && (c.can&poller.CanWrite != 0 || c.writeClosed())
	if partTaken || c.flags&congested != 0 && c.queued <= c.reactor.opts.SendLow {
		c.flags &^= congested | partSent
		if c.state == open {
			c.flags |= sendable
			c.reactor.makeReady(c)
		}
	}
	if c.queued > 0 {
		return
	}
	switch {
	case c.state == closing:
		c.onQueueEmpty()
	case c.flags&(finDue|givable) == 0: // nearly always
	case c.flags&(finDue|finSent) == finDue:
		c.sendFIN()
	case c.flags&finDue == 0:
		c.reactor.giver.onFlushed(c)
	}
}
