package engine

import (
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

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

func (c *Conn) noteQueued() {
	if c.queued > c.reactor.opts.SendLow {
		c.flags |= congested
	}
	c.makeDirty()
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

// writeOut sends iov, by the plain call when there is one buffer.
func writeOut(k poller.Kernel, fd poller.FD, iov [][]byte) (n int, e syscall.Errno) {
	if len(iov) == 1 {
		n, e = k.Write(fd, iov[0])
		iov[0] = nil // as clear would, without a call
	} else {
		n, e = k.Writev(fd, iov)
		clear(iov)
	}
	if e == syscall.EAGAIN {
		return 0, 0
	}
	return n, e
}
