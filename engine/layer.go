package engine

import (
	"io"

	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/poller"
)

// Layer encrypts between a Conn and its socket: TLS is one. Handlers do not notice: OnData gets plaintext, and all
// ways to write take plaintext. Open and Seal mean what they do in crypto/cipher.
// Owned by its Conn's reactor.
type Layer interface {
	// Open decodes the whole records at the front of b in place: b[:n] is the plaintext then, and b[used:] the
	// rest, less than a record. reply has to be sent at once; it is borrowed until the next call. err is io.EOF
	// when the peer said that nothing follows b[:n]; any other error ends the connection after b[:n] was delivered.
	Open(b []byte) (n, used int, reply []byte, err error)
	// Seal appends p, at most SealMax bytes, to dst as one record. p is borrowed until return.
	Seal(dst, p []byte) ([]byte, error)
	// End appends to dst what tells the peer that nothing follows.
	End(dst []byte) []byte
}

// SealMax is the most plaintext that one record is given: RFC 8446 §5.1.
const SealMax = 16 << 10

// sealRoom is more than Seal adds to a record. A record that needs more room costs a copy.
const sealRoom = 96

// recordMax is more than Open may leave, which is a record that lacks a byte.
const recordMax = 5 + 16<<10 + 2048

// sealAhead bounds the ciphertext that waits for the socket. Bytes that are sealed later need no room for headers
// yet, and leave in fuller records.
const sealAhead = 4 * bufLarge

// layered is the state of a Conn with a Layer. The Conn's send queue and its kept bytes are plaintext.
// Owned by its Conn's reactor.
//
//	write ─► Conn.out ── Seal, at the flush ──► out ─► socket      Conn.queued counts both
//	OnData ◄─ Conn.in ◄──────── Open ◄──────── wire ◄─ socket
//
//	sealed == bytes in out; wire == nil or it holds bytes
//	layer == nil => a handshake is going on: its handler is the Conn's and reads the wire itself, so that wire == nil
//	layer != nil => next == nil: the handler that waited has the Conn
//	undecoded => wire != nil: it is what the handshake left; else it is a part of a record
type layered struct {
	layer     Layer
	next      Handler // of the Conn, after the handshake
	wire      *Buf
	out       bufChain
	sealed    int   // bytes in out
	err       error // of Open: told after the last plaintext
	undecoded bool
	paused    bool // by PauseRead during the handshake
	ended     bool // the peer said that nothing follows
	endSent   bool // we said that nothing follows
}

// Hold begins a handshake: until Secure via is c's handler, which reads the wire and writes to it by WriteWire.
// What is written in other ways waits. next becomes the handler at Secure; SetHandler, PauseRead and ResumeRead
// take effect then.
func (c *Conn) Hold(via, next Handler) {
	c.mustOwn()
	c.handler = via
	c.layer = &layered{next: next}
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

// Held returns the handler that waits for Secure; nil when c does not.
func (c *Conn) Held() Handler {
	if !c.inHandshake() {
		return nil
	}
	return c.layer.next
}

// inHandshake reports whether c is between Hold and Secure.
func (c *Conn) inHandshake() bool { return c.layer != nil && c.layer.layer == nil }

// WriteWire queues p for the wire as it is, for handshakes. p is borrowed until return.
func (c *Conn) WriteWire(p []byte) error {
	c.mustOwn()
	if c.layer == nil {
		return c.Write(p)
	}
	if c.state > open || c.flags&finSent != 0 {
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
// follow them. Not inside a callback of c.
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

// Layer returns the Layer of c; nil for a plain connection, and before Secure.
func (c *Conn) Layer() Layer {
	if c.layer == nil {
		return nil
	}
	return c.layer.layer
}

// Truncated reports, from OnEOF on, that the peer sent FIN without having said that nothing follows: a third party
// may have cut the connection. It is always false for a plain connection.
func (c *Conn) Truncated() bool {
	return c.layer != nil && c.layer.layer != nil && c.flags&eof != 0 && !c.layer.ended
}

// allDelivered reports whether nothing has come that was not delivered.
func (ly *layered) allDelivered() bool {
	return ly.wire == nil && !ly.ended && ly.err == nil && ly.layer != nil
}

// deliverable reports whether something can be delivered without reading.
func (ly *layered) deliverable() bool { return ly.undecoded || ly.ended || ly.err != nil }

// readSealed reads once and delivers the plaintext of what has become whole.
func (c *Conn) readSealed() {
	r, ly := c.reactor, c.layer
	k := 0
	if ly.wire != nil {
		k = ly.wire.w - ly.wire.r
	}
	ask := c.readSize()
	p := r.wireScratch(k + ask)
	n, e := r.kernel.Read(c.fd, p[k:])
	if n < ask {
		c.flags &^= bulk
	} else {
		c.flags |= bulk
	}
	if n == 0 && e == 0 {
		c.releaseWire()
	}
	if c.accountRead(n, ask, e) {
		c.decode(p[:k+n], k)
	}
}

// wireScratch returns n bytes to read into and to decode in.
func (r *Reactor) wireScratch(n int) []byte {
	if n > len(r.wire) {
		r.wire = make([]byte, max(n, recordMax+bulkReads*r.opts.ReadSize))
	}
	return r.wire[:n]
}

// deliverDecoded delivers, after the kept bytes, what needs no reading: what the handshake left, and the end.
func (c *Conn) deliverDecoded() {
	ly := c.layer
	if c.state != open || c.flags&wantRead == 0 || ly.layer == nil {
		return
	}
	if ly.undecoded {
		n := ly.wire.w - ly.wire.r
		ly.undecoded = false
		c.decode(c.reactor.wireScratch(n), n)
		return
	}
	c.tellEnd()
}

// decode opens the records of p, whose first k bytes are those that wait in wire, and delivers.
func (c *Conn) decode(p []byte, k int) {
	ly := c.layer
	if k > 0 {
		copy(p, ly.wire.bytes())
	}
	n, used, reply, err := ly.layer.Open(p)
	c.keepWire(p[used:])
	if len(reply) > 0 && !c.queueReply(reply) {
		return
	}
	if err == io.EOF {
		ly.ended = true
	} else {
		ly.err = err
	}
	if n > 0 {
		c.deliver(p[:n])
	}
	poison(p)
	c.tellEnd()
}

// queueReply queues what Open wants sent, and reports whether c is still open. It checks the limit of the queue: a peer
// that reads nothing could make Open reply again and again.
func (c *Conn) queueReply(p []byte) bool {
	r := c.reactor
	switch {
	case c.layer.endSent: // RFC 8446 §6.1: nothing is sent after close_notify
	case c.queued+len(p) > r.opts.SendMax:
		r.stats.QueueFull++
		c.drop(ErrQueueFull)
		return false
	default:
		c.queueSealed(p)
		c.makeDirty()
	}
	return true
}

// deliver offers plaintext, after the kept bytes.
func (c *Conn) deliver(p []byte) {
	if c.in != nil {
		b := c.roomFor(len(p), len(c.in.bytes())+len(p))
		b.w += copy(b.data[b.w:], p)
		c.deliverKept()
		return
	}
	if used := c.handler.OnData(c, p); used < len(p) {
		c.keepUnread(p[used:])
	}
}

// keepWire stores the part of a record that has come, in place of the part that was stored.
func (c *Conn) keepWire(rest []byte) {
	ly := c.layer
	b := ly.wire
	if b != nil && (len(rest) == 0 || len(b.data) < len(rest)) {
		c.reactor.bufs.put(b)
		b = nil
	}
	if b == nil && len(rest) > 0 {
		b = c.reactor.bufs.get(len(rest))
	}
	if b != nil {
		b.r, b.w = 0, copy(b.data, rest)
	}
	ly.wire = b
}

// tellEnd tells the handler of an end or an error that followed the last plaintext, once that was delivered.
func (c *Conn) tellEnd() {
	ly := c.layer
	if c.state != open || c.flags&(wantRead|redeliver|eof) != wantRead {
		return
	}
	switch {
	case ly.err != nil:
		if c.can&poller.CanWrite != 0 && ly.sealed > 0 {
			c.writeSealed() // the alert
		}
		c.drop(ly.err)
	case ly.ended:
		c.flags |= eof
		c.flags &^= wantRead
		c.handler.OnEOF(c)
	}
}

// sendSealed seals the queue and then p, and writes what was sealed. It reports how much of p it took; the rest,
// for which the socket has no room, has to be queued. May close c.
func (c *Conn) sendSealed(p []byte) (n int) {
	ly := c.layer
	for {
		if ly.sealed < sealAhead && ly.layer != nil { // what a handshake or an alert queued leaves with the rest
			n += c.seal(p[n:])
		}
		if ly.sealed == 0 || c.state == closed || c.can&poller.CanWrite == 0 {
			break
		}
		if c.writeSealed(); c.state == closed || c.flags&finSent != 0 {
			return n
		}
	}
	if c.queued > c.reactor.opts.SendLow {
		c.flags |= congested
	}
	return n
}

// seal makes records of the queue and then of p, and of the end when it is due. It stops at sealAhead and reports
// how much of p it took.
func (c *Conn) seal(p []byte) (n int) {
	ly := c.layer
	for ly.sealed < sealAhead {
		plain := c.queued - ly.sealed
		left := plain + len(p) - n
		if left == 0 {
			c.sealCloseNotify()
			return n
		}
		piece := c.nextPlaintext(p[n:], plain)
		b := c.sealInto(len(piece), left)
		dst := b.data[b.w:b.w:len(b.data)]
		out, err := ly.layer.Seal(dst, piece)
		if err != nil {
			c.drop(err)
			return n
		}
		n += c.consume(len(piece))
		c.linkSealed(b, out)
	}
	return n
}

// nextPlaintext returns the plaintext of the next record: of the queue, which holds plain bytes, and then of p. It is
// gathered from several places only where that saves a record, as for a head and its small body.
func (c *Conn) nextPlaintext(p []byte, plain int) []byte {
	if plain == 0 {
		return p[:min(len(p), SealMax)]
	}
	first, left := c.out.head.bytes(), plain+len(p)
	n := len(first)
	if n >= SealMax {
		return first[:SealMax]
	}
	if n == left || 1+records(left-n) <= records(left) {
		return first
	}
	r := c.reactor
	if r.gather == nil {
		r.gather = make([]byte, SealMax)
	}
	n = 0
	for b := c.out.head; b != nil && n < SealMax; b = b.next {
		n += copy(r.gather[n:], b.bytes())
	}
	n += copy(r.gather[n:], p)
	return r.gather[:n]
}

// records is how many records n bytes need.
func records(n int) int { return (n + SealMax - 1) / SealMax }

// sealInto returns a Buf for a record of n bytes of plaintext. left is how many bytes are to be sealed with it.
func (c *Conn) sealInto(n, left int) *Buf {
	ly := c.layer
	if t := ly.out.tail; t != nil && t.room() >= n+sealRoom {
		return t
	}
	b := c.reactor.bufs.get(min(left+records(left)*sealRoom, bufLarge))
	ly.out.link(b)
	return b
}

// linkSealed queues out, which Seal appended to b, or to memory of its own if b was too small.
func (c *Conn) linkSealed(b *Buf, out []byte) {
	c.layer.sealed += len(out)
	c.queued += len(out)
	if len(out) <= b.room() {
		b.w += len(out)
		return
	}
	own := c.reactor.bufs.get(len(out))
	own.w = copy(own.data, out)
	c.layer.out.link(own)
}

// sealCloseNotify tells the peer that nothing follows, when that is due.
func (c *Conn) sealCloseNotify() {
	ly := c.layer
	if ly.endSent || ly.layer == nil || c.state != closing && c.flags&finDue == 0 {
		return
	}
	ly.endSent = true
	c.queueSealed(ly.layer.End(nil))
}

// queueSealed queues a copy of p, which is sealed already.
func (c *Conn) queueSealed(p []byte) {
	c.layer.out.add(p, &c.reactor.bufs)
	c.layer.sealed += len(p)
	c.queued += len(p)
}

// writeSealed writes what was sealed, in one call. May close c.
func (c *Conn) writeSealed() {
	r, ly := c.reactor, c.layer
	iov, total := ly.out.appendTo(r.iov[:0])
	sent, e := r.writeOut(c.fd, iov)
	if e != 0 {
		c.sendFailed(e)
		return
	}
	if sent < total {
		c.can &^= poller.CanWrite
	}
	r.stats.BytesOut += uint64(sent)
	ly.sealed -= sent
	c.queued -= sent
	rest := ly.out.consume(sent, &r.bufs)
	invariant.That(rest == 0 && (ly.sealed == 0) == (ly.out.head == nil), "%d sealed bytes are nowhere", ly.sealed)
}

// flushSealed writes what is queued as far as the socket takes it.
func (c *Conn) flushSealed() {
	if c.queued == 0 {
		c.sealCloseNotify()
	}
	if c.can&poller.CanWrite != 0 {
		c.sendSealed(nil)
	}
}

// releaseWire gives back the bytes that Open has not decoded.
func (c *Conn) releaseWire() {
	if b := c.layer.wire; b != nil {
		c.layer.wire, c.layer.undecoded = nil, false
		c.reactor.bufs.put(b)
	}
}
