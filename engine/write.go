package engine

import (
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// largeWrite is where gathering ends: a Write of at least this much leaves at once, after what is queued, and only
// what the socket does not take is copied.
const largeWrite = 4 << 10

// Reserve returns an empty slice over the free end of the send queue, with room for at least n bytes. Append to it
// and hand the result to Commit before any other method of a Conn of this reactor is called. So heads are written
// where they will be sent from. It never returns nil; after the Conn was closed the bytes are thrown away.
func (c *Conn) Reserve(n int) []byte {
	c.mustOwn()
	r := c.reactor
	if t := c.out.tail; t != nil && t.room() >= n {
		return t.data[t.w:t.w:len(t.data)]
	}
	if r.reserved != nil {
		r.unreserve()
	}
	r.reserved = r.bufs.get(n)
	return r.reserved.data[:0]
}

// unreserve takes back what was reserved and not committed.
func (r *Reactor) unreserve() {
	if t := r.reserved; t != nil {
		r.reserved = nil
		r.bufs.put(t)
	}
}

// Commit queues b, which was appended to what Reserve returned. A b that outgrew its room is copied. Above the hard
// limit of the queue, which Room tells, the connection is closed with ErrQueueFull.
func (c *Conn) Commit(b []byte) {
	c.mustOwn()
	r := c.reactor
	if len(b) == 0 || c.writeClosed() {
		r.unreserve()
		return
	}
	if c.queued+len(b) > r.opts.SendMax {
		r.stats.QueueFull++
		r.unreserve()
		c.drop(ErrQueueFull)
		return
	}
	tail, fresh := c.out.tail, r.reserved
	switch {
	case fresh != nil && &b[0] == &fresh.data[0]:
		r.reserved = nil
		if tail != nil && tail.room() >= len(b) {
			// A handler that reserves much and writes little must not make a queue of nearly empty Bufs.
			tail.w += copy(tail.data[tail.w:], b)
			r.bufs.put(fresh)
		} else {
			fresh.w = len(b)
			c.out.link(fresh)
		}
		c.queued += len(b)
	case tail != nil && len(b) <= tail.room() && &b[0] == &tail.data[tail.w]:
		tail.w += len(b)
		c.queued += len(b)
	default:
		c.queue(b) // b may lie in what was reserved
		r.unreserve()
	}
	c.noteQueued()
}

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

// Queued returns the bytes that were written and have not left.
func (c *Conn) Queued() int { return c.queued }

// Room returns how many bytes Write would take now.
func (c *Conn) Room() int {
	if c.writeClosed() {
		return 0
	}
	return max(c.reactor.opts.SendMax-c.queued, 0)
}

// Congested reports whether more than the low mark is queued: OnSendable will come.
func (c *Conn) Congested() bool { return c.queued > c.reactor.opts.SendLow }

// CloseWrite sends FIN after what is queued; reading goes on.
func (c *Conn) CloseWrite() {
	c.mustOwn()
	if c.writeClosed() {
		return
	}
	c.flags |= finDue
	c.makeDirty()
}

// writeClosed reports whether nothing more can be queued: c closes, or FIN was asked for.
func (c *Conn) writeClosed() bool { return c.state > open || c.flags&(finDue|finSent) != 0 }

func (c *Conn) noteQueued() {
	if c.queued > c.reactor.opts.SendLow {
		c.flags |= congested
	}
	c.makeDirty()
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
		if c.state == closing { // flush goes on with FIN, which rides on the last segment: one segment in eight less
			c.flags |= finAwaited
			sent, e = r.kernel.WriteLast(c.fd, b.bytes())
		} else {
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

// sendAll is send for bytes in several places. It returns how many bytes left, and how many should have.
func (c *Conn) sendAll(p []byte) (sent, total int, e syscall.Errno) {
	iov, total := c.out.appendTo(c.reactor.iov[:0])
	if total == c.queued && p != nil { // else p waits: the queue is longer than one call takes
		iov = append(iov, p)
		total += len(p)
	}
	sent, e = c.reactor.writeOut(c.fd, iov)
	return sent, total, e
}

// writeOut sends iov, by the plain call when there is one buffer.
func (r *Reactor) writeOut(fd poller.FD, iov [][]byte) (int, syscall.Errno) {
	var n int
	var e syscall.Errno
	if len(iov) == 1 {
		n, e = r.kernel.Write(fd, iov[0])
	} else {
		n, e = r.kernel.Writev(fd, iov)
	}
	if len(iov) == 1 {
		iov[0] = nil // as clear would, without a call
	} else {
		clear(iov)
	}
	if e == syscall.EAGAIN {
		return 0, 0
	}
	return n, e
}

// queue copies p to the end of the queue.
func (c *Conn) queue(p []byte) {
	c.queued += len(p)
	c.out.add(p, &c.reactor.bufs)
}

// consume removes sent bytes from the queue and returns how many of them were not the queue's but of what was sent
// after it.
func (c *Conn) consume(sent int) (rest int) {
	rest = c.out.consume(sent, &c.reactor.bufs)
	c.queued -= sent - rest
	return rest
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
	if c.flags&congested != 0 && c.queued <= c.reactor.opts.SendLow {
		c.flags &^= congested
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

func (c *Conn) sendFIN() {
	c.flags |= finSent
	if e := c.reactor.kernel.CloseWrite(c.fd); e != 0 && e != syscall.ENOTCONN {
		c.drop(e)
	}
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
	if c.splices != nil && c.splices.out != nil {
		c.splices.out.stop() // its socket takes nothing any more
	}
	if c.flags&congested != 0 {
		c.makeDirty()
	}
}

func (c *Conn) releaseQueue() {
	c.out.release(&c.reactor.bufs)
	c.queued = 0
	if ly := c.layer; ly != nil {
		ly.out.release(&c.reactor.bufs)
		ly.sealed = 0
	}
}
