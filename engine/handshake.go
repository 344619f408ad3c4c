package engine

import "github.com/edge-proxy/edge/poller"

// Hold begins a handshake: until Secure via is c's handler, which reads the wire and writes to it by WriteWire. Bytes
// that are queued already are for the wire; what is written in other ways from now on waits. next becomes the handler
// at Secure; SetHandler, PauseRead and ResumeRead take effect then.
func (c *Conn) Hold(via, next Handler) {
	c.mustOwn()
	c.handler = via
	c.layer = &layered{next: next, out: c.out, sealed: c.queued}
	c.out = bufChain{}
}

// Unhold gives a handshake up: what waited for Secure is lost, and c is a plain connection whose handler is still the
// handshake's.
func (c *Conn) Unhold() {
	c.mustOwn()
	ly := c.layer
	if !c.inHandshake() || c.state == closed {
		return
	}
	c.layer = nil
	c.releaseQueue()
	c.flags &^= finDue
	c.out, c.queued = ly.out, ly.sealed
	c.makeDirty()
}

// WriteWire queues p for the wire as it is, for handshakes. p is borrowed until return.
func (c *Conn) WriteWire(p []byte) error {
	c.mustOwn()
	if c.layer == nil {
		return c.Write(p)
	}
	if c.state > open || c.flags&finSent != 0 || c.layer.isCarried() {
		return ErrClosed
	}
	c.queueSealed(p)
	c.makeDirty()
	return nil
}

// ReadWire pauses reading, or resumes it, for the handshake itself.
func (c *Conn) ReadWire(on bool) {
	c.mustOwn()
	if !on {
		c.flags &^= wantRead
	} else if c.flags&(wantRead|eof) == 0 {
		c.flags |= wantRead
		c.readyIfReadable()
	}
}

// Secure puts l between c and its socket and hands c to next, or to the handler that Hold was given when next is
// nil. OnOpen comes first. rest holds the bytes of the wire that the handshake took and did not use; unread bytes
// follow them. Not inside a callback of c. The Carrier of a carried Conn encrypts: there l is what Layer returns, and
// no more.
func (c *Conn) Secure(l Layer, next Handler, rest []byte) {
	c.mustOwn()
	if c.state != open {
		return
	}
	ly := c.layer
	if ly == nil {
		ly = &layered{out: c.out, sealed: c.queued} // of the handshake
		c.layer, c.out = ly, bufChain{}
	}
	ly.layer = l
	if next == nil {
		next = ly.next
	}
	ly.next = nil
	c.takeWire(rest)
	c.begin(next)
	if c.flags&eof != 0 { // the next read tells it again, to next
		c.can |= poller.CanRead
	}
	c.flags &^= eof
	if ly.paused {
		c.flags &^= wantRead
	} else {
		c.flags |= wantRead
	}
	c.readyIfReadable()
	if c.queued > 0 || c.flags&finDue != 0 {
		c.makeDirty()
	}
}

// takeWire makes rest and the unread bytes the ones that Open gets first.
func (c *Conn) takeWire(rest []byte) {
	n := len(rest)
	if c.in != nil {
		n += c.in.w - c.in.r
	}
	if n == 0 {
		return
	}
	b := c.reactor.bufs.get(n)
	b.w = copy(b.data, rest)
	if c.in != nil {
		b.w += copy(b.data[b.w:], c.in.bytes())
		c.releaseKept()
	}
	c.layer.wire, c.layer.undecoded = b, true
}

// Begin hands c to h as if it had been opened just now: OnOpen comes first, without a timeout, then unread bytes.
func (c *Conn) Begin(h Handler) {
	c.mustOwn()
	if c.state > open {
		return
	}
	c.begin(h)
	c.readyIfReadable()
}

func (c *Conn) begin(h Handler) {
	c.handler = h
	c.setTimeout(0)
	c.flags |= openDue
	c.reactor.makeReady(c)
}
