package engine

import (
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// bulkReads times ReadSize is asked for when the last read of a Conn was full. Fewer and larger reads and writes
// cost less: answers of 1 MiB took 0.85 of the processor time.
const bulkReads = 4

// readLeast is the least room after kept bytes that is worth a read.
const readLeast = 1 << 10

// pauseReading pauses reading of c if it holds more than its share, until the retry timer fires. It reports
// whether it did.
func (c *Conn) pauseReading() bool {
	r := c.reactor
	share := r.share / max(r.load.Load(), 1)
	if int64(c.in.w-c.in.r+c.queued) <= share {
		return false
	}
	r.stats.ReadPaused++
	c.flags |= late
	r.late = append(r.late, c)
	r.retrySoon()
	return true
}

// readMore reads more bytes to the kept ones and delivers both.
func (c *Conn) readMore() {
	r := c.reactor
	b := c.roomFor(readLeast, 2*len(c.in.data))
	n, e := r.kernel.Read(c.fd, b.data[b.w:])
	room := b.room()
	if n > 0 {
		b.w += n
	}
	if c.accountRead(n, room, e) {
		c.deliverKept()
	}
}

// readSize returns how many bytes a read asks for.
func (c *Conn) readSize() int {
	r := c.reactor
	switch {
	case r.Pressure() >= PressureAccept:
		return min(bufSmall, r.opts.ReadSize)
	case c.flags&bulk != 0:
		return bulkReads * r.opts.ReadSize
	}
	return r.opts.ReadSize
}

// accountRead accounts for a read and reports whether there are bytes to deliver.
func (c *Conn) accountRead(n, room int, e syscall.Errno) bool {
	r := c.reactor
	switch {
	case e == syscall.EAGAIN:
		c.can &^= poller.CanRead
		return false
	case e != 0:
		c.drop(e)
		return false
	case n == 0:
		c.can &^= poller.CanRead
		if c.cause != nil { // see sendFailed
			c.drop(c.cause)
			return false
		}
		c.flags |= eof
		c.flags &^= wantRead
		c.handler.OnEOF(c)
		return false
	}
	// A short read has emptied the socket, and what comes later is a new edge. That is not so once the peer has
	// closed: there is no further edge, and only a read of 0 or an error tells the end.
	if n < room && c.can&(poller.PeerClosed|poller.Broken) == 0 {
		c.can &^= poller.CanRead
	}
	r.stats.BytesIn += uint64(n)
	return true
}

// keepUnread stores what OnData left. It is offered again with new bytes, on ResumeRead, or to a new handler.
func (c *Conn) keepUnread(rest []byte) {
	if c.state != open {
		return
	}
	b := c.reactor.bufs.get(len(rest) + 1)
	b.w = copy(b.data, rest)
	c.in = b
	c.checkKept()
}

// deliverKept offers the kept bytes.
func (c *Conn) deliverKept() {
	b := c.in
	if b == nil {
		return
	}
	used := c.handler.OnData(c, b.bytes())
	if c.state != open {
		return
	}
	b.r += used
	if b.r == b.w {
		c.in = nil
		c.reactor.bufs.put(b)
		return
	}
	c.checkKept()
}

// checkKept closes a connection whose handler wants more bytes than may be kept.
func (c *Conn) checkKept() {
	if c.flags&wantRead != 0 && c.flags&redeliver == 0 && c.in.w-c.in.r >= c.reactor.opts.ReadMax {
		c.reactor.stats.ReadFull++
		c.Close(ErrReadFull)
	}
}

// roomFor returns the Buf of the kept bytes with room for n more: they are moved to its front, or into a Buf of size.
func (c *Conn) roomFor(n, size int) *Buf {
	b := c.in
	if b.room() < n && b.r > 0 {
		b.w = copy(b.data, b.bytes())
		b.r = 0
	}
	if b.room() < n {
		c.in = c.reactor.bufs.get(size)
		c.in.w = copy(c.in.data, b.bytes())
		c.reactor.bufs.put(b)
	}
	return c.in
}
