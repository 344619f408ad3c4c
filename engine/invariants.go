//go:build invariants

package engine

import (
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// checkedMax bounds the reactors that check themselves after each tick: the walk is linear.
const checkedMax = 512

// check panics when the invariants of Reactor do not hold at the end of a tick.
func (r *Reactor) check() {
	if len(r.slots) > checkedMax {
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
		r.reserved.check()
		held += int64(len(r.reserved.data))
	}
	r.bufs.check(held)
	r.relief.check(len(r.slots))
	r.giver.check(len(r.slots))
	if r.share < r.engine.budget.floor {
		invariant.That(false, "share %d, floor %d", r.share, r.engine.budget.floor)
	}
	invariant.That(int64(opened) <= r.load.Load(), "%d conns accepted, load %d", opened, r.load.Load())
	for _, a := range r.acceptors {
		if a.port != nil {
			a.port.check()
		}
	}
	for _, c := range r.ready[r.readyAt:] {
		invariant.That(c.flags&onReady != 0, "on the ready list without the flag")
	}
}

// check panics when the invariants of Conn do not hold at the end of a tick.
func (c *Conn) check() {
	n, _ := c.out.check()
	n += c.checkLayer()
	invariant.That(n == c.queued || c.layer.isCarried(), "queued %d, in the queue %d", c.queued, n)
	if c.in != nil {
		c.in.check()
		invariant.That(c.in.r < c.in.w, "kept bytes that are none")
	}
	c.extra.check(c)
	invariant.That(c.state != closed, "closed and not reaped at the end of a tick")
	if c.state == connecting {
		invariant.That(c.dialing != nil, "connecting without a dial")
		return
	}
	invariant.That(c.dialing == nil && (c.fd != poller.NoFD || c.layer.isCarried()), "%d without a descriptor", c.state)
	invariant.That(c.out.head == nil || n > 0, "an idle conn holds a buf")
	c.checkEdges()
}

// check panics when the invariants of Port do not hold at the end of a tick.
func (p *Port) check() {
	invariant.That(p.from == 0 || p.blocked, "%d messages have left, and the rest does not wait", p.from)
	invariant.That(p.blocked || p.out.Len() == 0, "%d messages wait for nothing", p.out.Len())
	invariant.That(p.blocked || len(p.waiting) == 0, "%d conns wait for nothing", len(p.waiting))
}

// checkEdges panics when something could be done and no list has c for it: a lost edge.
func (c *Conn) checkEdges() {
	coming := c.flags&(onReady|dirty) != 0
	canRead := c.can&poller.CanRead != 0 && c.flags&(eof|late) == 0
	waiting := c.queued
	if c.inHandshake() {
		waiting = c.layer.sealed
	}
	invariant.That(coming || waiting == 0 || c.can&poller.CanWrite == 0, "%d queued, writable, not ready", waiting)
	switch c.state {
	case open:
		invariant.That(coming || c.flags&wantRead == 0 || !canRead, "readable, not ready")
		invariant.That(coming || c.flags&(finDue|finSent) != finDue || c.queued > 0 || c.inHandshake(), "FIN is due")
		told := c.layer == nil || !c.layer.deliverable() || c.flags&(wantRead|eof) != wantRead
		invariant.That(coming || told, "an end is due")
		invariant.That(coming || c.inHandshake() || c.flags&congested == 0 || c.queued > c.reactor.opts.SendLow,
			"OnSendable is due")
		invariant.That(coming || c.flags&partSent == 0 || c.queued > 0 || c.can&poller.CanWrite == 0,
			"OnSendable is due after a part of a file")
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
	if ly.wire != nil {
		ly.wire.check()
		invariant.That(ly.wire.r < ly.wire.w, "a part of a record that is none")
	}
	invariant.That(!ly.undecoded || ly.wire != nil, "nothing to open")
	if ly.layer == nil {
		invariant.That(ly.wire == nil && ly.err == nil && !ly.ended && !ly.endSent, "a record during the handshake")
	} else {
		invariant.That(ly.next == nil, "the handler after the handshake waits, and there is none")
	}
	return n
}

// check panics when the invariants of Splice do not hold for those that c takes part in.
func (p *extra) check(c *Conn) {
	if p == nil {
		return
	}
	if s := p.spliceIn; s != nil {
		invariant.That(s.active && s.from == c, "the splice of the input is another's")
		s.check()
	}
	if s := p.spliceOut; s != nil {
		invariant.That(s.active && s.to == c, "the splice of the output is another's")
		s.check()
	}
}

// check panics when the invariants of Buf do not hold.
func (b *Buf) check() {
	if b.r < 0 || b.w < b.r || len(b.data) < b.w { // compared here, since arguments that are printed are allocated
		invariant.That(false, "buf %d..%d of %d", b.r, b.w, len(b.data))
	}
}

// check panics when the invariants of bufPool do not hold, where Bufs of held bytes are handed out.
func (p *bufPool) check(held int64) {
	free := int64(0)
	for class, size := range bufSizes {
		n := 0
		for b := p.free[class]; b != nil; b = b.next {
			b.check()
			invariant.That(b.w == 0 && len(b.data) == size, "a free buf holds bytes, or is in the list of another size")
			n++
		}
		if n != p.count[class] {
			invariant.That(false, "%d free bufs of %d, %d counted", n, size, p.count[class])
		}
		free += int64(n * size)
	}
	if sum := held + free + p.accounted + p.kept; sum != p.total {
		invariant.That(false, "total %d; %d held, %d free, %d accounted, %d kept", p.total, held, free,
			p.accounted, p.kept)
	}
}

// check panics when the invariants of relief do not hold, with so many slots.
func (s *relief) check(slots int) {
	invariant.That(0 <= s.left && s.left <= slots, "%d of %d slots are left to be searched", s.left, slots)
	invariant.That(0 <= s.round && s.round <= len(reliefAges), "round %d of a search", s.round)
	invariant.That(s.left == 0 || s.round > 0, "%d slots are left of no round", s.left)
	invariant.That(0 <= s.hand && s.hand < max(slots, 1), "slot %d of %d is searched", s.hand, slots)
}

// check panics when the invariants of connGiver do not hold, with so many slots.
func (v *connGiver) check(slots int) {
	invariant.That(v == nil || 0 <= v.left && v.left <= slots, "slots are left of a walk that are none")
}

// checkBudget panics when the invariants of budget do not hold. The caller owns every reactor.
func (e *Engine) checkBudget() {
	b := &e.budget
	sum := b.spare.Load()
	for _, r := range e.reactors {
		invariant.That(b.floor <= r.share, "reactor %d has %d, the floor is %d", r.index, r.share, b.floor)
		sum += r.share
	}
	all := evenShare(e.opts.Memory, len(e.reactors)) * int64(len(e.reactors))
	invariant.That(sum == all, "%d bytes are lent or spare, of %d", sum, all)
}

// check panics when the invariants of bufChain do not hold. It returns how many bytes q holds, and the size of its
// Bufs.
func (q *bufChain) check() (n, size int) {
	var last *Buf
	for b := q.head; b != nil; last, b = b, b.next {
		b.check()
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
