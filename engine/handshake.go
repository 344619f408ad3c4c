package engine

import "github.com/edge-proxy/edge/poller"

// Wire is a Conn as it is below its Layer, for handlers that make handshakes and read headers which other servers put
// before a connection. Owned by the reactor of the Conn.
type Wire Conn

// Wire returns c below its Layer.
func (c *Conn) Wire() *Wire { return (*Wire)(c) }

// Hold begins a handshake: until Secure via is the handler, which reads the wire and writes to it by Write. Bytes that
// are queued already are for the wire; what is written to the Conn from now on waits. next becomes the handler at
// Secure; SetHandler, PauseRead and ResumeRead take effect then.
func (w *Wire) Hold(via, next Handler) {
	c := (*Conn)(w)
	c.mustOwn()
	c.handler = via
	c.layer = &layered{next: next, out: c.out, sealed: c.queued}
	c.out = bufChain{}
}

// Unhold gives a handshake up: what waited for Secure is lost. The Conn is plain, and its handler the handshake.
func (w *Wire) Unhold() {
	c := (*Conn)(w)
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

// Write queues p for the wire as it is. p is borrowed until return.
func (w *Wire) Write(p []byte) error {
	c := (*Conn)(w)
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

// Read resumes reading for the handshake itself, or pauses it.
func (w *Wire) Read(on bool) {
	c := (*Conn)(w)
	c.mustOwn()
	if !on {
		c.flags &^= wantRead
	} else if c.flags&(wantRead|eof) == 0 {
		c.flags |= wantRead
		c.readyIfReadable()
	}
}

// Secure puts l between the Conn and its socket and hands it to next, or to the handler that Hold was given when next
// is nil. OnOpen comes first. rest holds the bytes of the wire that the handshake took and did not use; unread bytes
// follow them. Not inside a callback of the Conn. The Carrier of a carried Conn encrypts: there l is what Layer
// returns, and no more.
func (w *Wire) Secure(l Layer, next Handler, rest []byte) {
	c := (*Conn)(w)
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

// Held returns the handler that waits for Secure; nil: none does.
func (w *Wire) Held() Handler {
	c := (*Conn)(w)
	if !c.inHandshake() {
		return nil
	}
	return c.layer.next
}

// Told makes peer and local the addresses of the Conn, which came through another server: a trusted one has told them,
// by the PROXY protocol for instance. They hold for Peer and Local from now on, and so for later handlers. Such a
// connection is not given to another process, which would know the socket's addresses alone.
func (w *Wire) Told(peer, local poller.Addr) {
	c := (*Conn)(w)
	c.mustOwn()
	if c.extra == nil {
		c.extra = &extra{}
	}
	c.extra.socket, c.extra.local = c.Socket(), local
	c.peer = peer
	c.flags |= told
}

// AckNow acknowledges the last bytes of the peer at once, where they were few and more are due. A peer that writes a
// message in pieces, with Nagle's algorithm on, sends the next small piece only then, and TCP acknowledges up to 40 ms
// late. It is for OnData.
func (w *Wire) AckNow() {
	c := (*Conn)(w)
	c.mustOwn()
	if c.state == open && c.flags&bulk == 0 && !c.peer.IsUnix() && c.fd != poller.NoFD {
		c.reactor.kernel.AckNow(c.fd)
	}
}
