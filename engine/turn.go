package engine

import "github.com/edge-proxy/edge/poller"

// readsPerTurn bounds the reads of one Conn in a turn.
const readsPerTurn = 4

// turn gives c its share of the tick: write first, then read.
func (c *Conn) turn() {
	c.flags &^= onReady
	if c.state == connecting && !c.finishConnect() || c.state == closed {
		return
	}
	if (c.queued > 0 || c.flags&partSent != 0) && c.flags&dirty == 0 && c.can&poller.CanWrite != 0 {
		c.flush()
	}
	if c.can&poller.Broken != 0 && c.state == open && (c.flags&eof != 0 || c.flags&wantRead == 0 && c.listener != nil) {
		c.readSocketError()
	}
	switch c.state {
	case closed:
		return
	case closing:
		c.linger()
		return
	}
	if c.flags&(openDue|sendable|timedOut) != 0 {
		c.runCallbacks()
	}
	if c.extra != nil {
		c.extra.resumeSplice()
	}
	for range readsPerTurn {
		if c.flags&openDue != 0 { // OnData called Begin
			c.runCallbacks()
		}
		if c.state != open || c.flags&wantRead == 0 {
			return
		}
		if c.flags&redeliver != 0 {
			c.flags &^= redeliver
			c.deliverKept()
			if c.layer != nil {
				c.deliverDecoded()
			}
			continue
		}
		if c.can&poller.CanRead == 0 || c.flags&eof != 0 {
			return
		}
		if c.extra != nil && c.extra.spliceIn != nil {
			c.extra.spliceIn.run()
			return
		}
		if !c.read() {
			return
		}
		if c.can&poller.Broken != 0 && c.flags&eof != 0 && c.state == open {
			c.readSocketError() // the reset came with the FIN, and the read told of the FIN only
			return
		}
	}
	c.turnLater()
}

// readSocketError asks the kernel why c is broken, where no read will tell soon: its FIN was read, or reading is
// paused. A peer that reset the connection waits for nothing any more. A peer that we dialled may have answered before,
// and the answer is unread: there the read tells.
func (c *Conn) readSocketError() {
	if e := c.reactor.kernel.SockError(c.fd); e != 0 {
		c.drop(e)
	} else if c.cause != nil { // see sendFailed
		c.drop(c.cause)
	}
}

// runCallbacks makes the callbacks that are due, but for data.
func (c *Conn) runCallbacks() {
	for c.flags&openDue != 0 && c.state == open { // again after Begin
		c.flags &^= openDue
		c.handler.OnOpen(c)
	}
	if c.flags&sendable != 0 && c.state == open {
		c.flags &^= sendable
		c.handler.OnSendable(c)
	}
	if c.flags&timedOut != 0 && c.state == open {
		c.flags &^= timedOut
		c.handler.OnTimeout(c)
	}
}

// read reads once and delivers: into the scratch when nothing is kept, else after the kept bytes. It reports false
// when reading was put off.
func (c *Conn) read() bool {
	r := c.reactor
	if c.in != nil && (c.flags&late != 0 || r.Pressure() >= PressureRead && c.pauseReading()) {
		return false
	}
	if c.layer != nil && c.layer.layer != nil {
		c.readSealed()
		return true
	}
	if c.in != nil {
		c.readMore()
		return true
	}
	p := r.scratch[:c.readSize()]
	n, e := r.kernel.Read(c.fd, p)
	if n < len(p) {
		c.flags &^= bulk
	} else {
		c.flags |= bulk
	}
	if !c.accountRead(n, len(p), e) {
		return true
	}
	used := c.handler.OnData(c, p[:n])
	if used < n {
		c.keepUnread(p[used:n])
	}
	poison(p[:n])
	return true
}
