package engine

import (
	"io"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// SealMax is the most plaintext that one record is given: RFC 8446 §5.1.
const SealMax = 16 << 10

// sealRoom is more than Seal adds to a record. A record that needs more room costs a copy.
const sealRoom = 96

// recordMax is more than Open may leave, which is a record that lacks a byte.
const recordMax = 5 + 16<<10 + 2048

// sealAhead bounds the ciphertext that waits for the socket. Bytes that are sealed later need no room for headers
// yet, and leave in fuller records.
const sealAhead = 4 * bufLarge

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
		b := ly.sealInto(len(piece), left, &c.reactor.bufs)
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
// gathered from several buffers only where that saves a record, as for a head and its small body.
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
func (ly *layered) sealInto(n, left int, bufs *bufPool) *Buf {
	if t := ly.out.tail; t != nil && t.room() >= n+sealRoom {
		return t
	}
	b := bufs.get(min(left+records(left)*sealRoom, bufLarge))
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
	sent, e := writeOut(r.kernel, c.fd, iov)
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
	if c.layer.isCarried() {
		c.layer.carried.by.OnFlush()
		return
	}
	if c.queued == 0 {
		c.sealCloseNotify()
	}
	if c.can&poller.CanWrite != 0 {
		c.sendSealed(nil)
	}
}
