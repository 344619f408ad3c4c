//go:build invariants

package engine

import (
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/poller"
)

// checkedMax bounds the reactors that check themselves after each tick: the walk is linear.
const checkedMax = 512

// MustOwn panics unless it runs on r's goroutine, or r does not run.
func (r *Reactor) MustOwn() { invariant.OnReactor(&r.owner) }

func (c *Conn) mustOwn() { invariant.OnReactor(&c.reactor.owner) }

// check panics when the invariants of Reactor do not hold at the end of a tick.
func (r *Reactor) check() {
	if len(r.slots) > checkedMax || !r.settled() {
		return
	}
	var held int64
	tenants, opened := 0, 0
	for i := range r.slots {
		s := &r.slots[i]
		invariant.That(s.conn == nil || s.accept == nil, "slot %d has two tenants", i)
		if s.conn != nil || s.accept != nil {
			tenants++
		}
		if c := s.conn; c != nil {
			invariant.That(c.slot == uint32(i) && c.gen == s.gen, "slot %d: its conn is at %d", i, c.slot)
			c.check()
			held += c.bufBytes()
			if c.listener != nil {
				opened++
			}
		}
	}
	invariant.That(tenants+len(r.free) == len(r.slots), "%d slots, %d tenants, %d free",
		len(r.slots), tenants, len(r.free))
	if r.reserved != nil {
		held += int64(len(r.reserved.data))
	}
	held += r.bufs.accounted
	if n := r.bufs.inUse(); held != n { // compared here, since arguments that are printed are allocated
		invariant.That(false, "conns hold %d bytes, %d are out", held, n)
	}
	invariant.That(int64(opened) <= r.load.Load(), "%d conns accepted, load %d", opened, r.load.Load())
	for _, c := range r.ready[r.readyAt:] {
		invariant.That(c.flags&onReady != 0, "on the ready list without the flag")
	}
}

// check panics when the invariants of Conn do not hold at the end of a tick.
func (c *Conn) check() {
	n, _ := c.out.check()
	n += c.checkLayer()
	invariant.That(n == c.queued, "queued %d, in the queue %d", c.queued, n)
	invariant.That(c.in == nil || c.in.r < c.in.w, "kept bytes that are none")
	invariant.That(c.state != closed, "closed and not reaped at the end of a tick")
	if c.state == connecting {
		invariant.That(c.dialing != nil, "connecting without a dial")
		return
	}
	invariant.That(c.dialing == nil && c.fd != poller.NoFD, "%d without a descriptor", c.state)
	invariant.That(c.out.head == nil || n > 0, "an idle conn holds a buf")
	c.checkEdges()
}

// checkEdges panics when something could be done and no list has c for it: a lost edge.
func (c *Conn) checkEdges() {
	coming := c.flags&(onReady|dirty) != 0
	canRead := c.can&poller.CanRead != 0 && c.flags&(eof|late) == 0
	waiting := c.queued
	if c.shaking() {
		waiting = c.layer.sealed
	}
	invariant.That(coming || waiting == 0 || c.can&poller.CanWrite == 0, "%d queued, writable, not ready", waiting)
	switch c.state {
	case open:
		invariant.That(coming || c.flags&wantRead == 0 || !canRead, "readable, not ready")
		invariant.That(coming || c.flags&(finDue|finSent) != finDue || c.queued > 0 || c.shaking(), "FIN is due")
		told := c.layer == nil || !c.layer.due() || c.flags&(wantRead|eof) != wantRead
		invariant.That(coming || told, "an end is due")
		invariant.That(coming || c.shaking() || c.flags&congested == 0 || c.queued > c.reactor.opts.SendLow,
			"OnSendable is due")
		invariant.That(coming || c.flags&(sendable|timedOut|openDue) == 0, "a callback is due, flags %b", c.flags)
	case closing:
		invariant.That(coming || !canRead || c.lingered >= lingerBytes, "closing: readable, not ready")
		invariant.That(coming || c.queued > 0 || c.flags&finSent != 0, "closing: FIN is due")
		invariant.That(c.timer.Armed(), "closing without a deadline")
	}
}

// checkLayer panics when the invariants of layered do not hold, and returns the sealed bytes.
func (c *Conn) checkLayer() int {
	ly := c.layer
	if ly == nil {
		return 0
	}
	n, _ := ly.out.check()
	invariant.That(n == ly.sealed, "sealed %d, in the queue %d", ly.sealed, n)
	invariant.That(ly.out.head == nil || n > 0, "an idle layer holds a buf")
	invariant.That(ly.wire == nil || ly.wire.r < ly.wire.w, "a part of a record that is none")
	invariant.That(!ly.undecoded || ly.wire != nil, "nothing to open")
	return n
}

// check panics when the invariants of bufChain do not hold. It returns how many bytes q holds, and the size of its
// Bufs.
func (q *bufChain) check() (n, size int) {
	var last *Buf
	for b := q.head; b != nil; last, b = b, b.next {
		invariant.That(0 <= b.r && b.r <= b.w && b.w <= len(b.data), "buf %d..%d of %d", b.r, b.w, len(b.data))
		n += b.w - b.r
		size += len(b.data)
	}
	invariant.That(last == q.tail, "the tail is not the last")
	return n, size
}

// bufBytes is how many bytes of the reactor's buffers c has.
func (c *Conn) bufBytes() int64 {
	_, n := c.out.check()
	if ly := c.layer; ly != nil {
		_, sealed := ly.out.check()
		n += sealed
		if ly.wire != nil {
			n += len(ly.wire.data)
		}
	}
	if c.in != nil {
		n += len(c.in.data)
	}
	return int64(n)
}

// poison overwrites a Buf that was put back: code that kept a slice of it reads nonsense.
func poison(p []byte) {
	for i := range p {
		p[i] = 0xDB
	}
}

// scramble does the same to the read scratch, once the callback that borrowed it has returned.
func scramble(p []byte) { poison(p) }
