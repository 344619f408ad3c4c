//go:build invariants

package quic

import "github.com/edge-proxy/edge/internal/base/invariant"

// poison overwrites a page that is given back, so that a reader of its data fails.
func (p *page) poison() {
	for i := range p.data {
		p.data[i] = 0xdb
	}
}

// check panics when the invariants of assembly do not hold.
func (s *assembly) check() {
	invariant.That(s.next <= s.high && (!s.sized || s.high <= s.size), "%d delivered, %d came", s.next, s.high)
	invariant.That((s.gaps != nil) == (s.first != nil), "pages without a table, or a table without pages")
	at := s.next
	for i, e := range s.gaps {
		invariant.That(e.from < e.to && e.from >= at && (i == 0 || e.from > at), "%d-%d after %d", e.from, e.to, at)
		at = e.to
	}
	invariant.That(at <= s.high, "data at %d, %d came", at, s.high)
	count := 0
	for p := s.first; p != nil; p = p.next {
		invariant.That(p.next != nil || p == s.last, "the last page is not the last")
		invariant.That(p.at%pageData == 0 && (p.next == nil || p.at < p.next.at), "pages out of order at %d", p.at)
		count++
	}
	invariant.That(s.first == nil || s.charged() == (count+1)*pageSize, "%d pages, %d charged", count, s.charged())
}

// check panics when the invariants of outgoing do not hold.
func (o *outgoing) check() {
	invariant.That(o.base <= o.next && o.next <= o.size, "%d acknowledged, %d sent, %d written", o.base, o.next, o.size)
	for _, set := range []spans{o.lost, o.acked} {
		for _, e := range set {
			invariant.That(e.from >= o.base && e.to <= o.next, "span %d-%d of %d-%d", e.from, e.to, o.base, o.next)
		}
	}
	invariant.That((o.first == nil) == (o.base == o.size), "pages that hold nothing, or bytes without a page")
}

// check panics when the invariants of Conn do not hold: after a datagram was read, and before one leaves.
func (c *Conn) check() {
	if c.state != open {
		return // a fault was found halfway
	}
	f := &c.flow
	invariant.That(c.spaces[OneRTT] != nil, "no space of 1-RTT packets")
	invariant.That(c.sent.window.flight >= 0, "%d bytes on their way", c.sent.window.flight)
	invariant.That(f.owed >= 0 && f.withheld >= 0 && f.withheld <= f.owed, "%d owed, %d withheld", f.owed, f.withheld)
	invariant.That(f.credited <= f.taken && f.taken <= f.takeMax, "%d credited, %d came of %d", f.credited, f.taken,
		f.takeMax)
	held, refs, all := int64(0), int32(0), kept{}
	for _, s := range c.streams.slots {
		if s != nil {
			s.check()
			held += int64(s.out.held())
			refs += s.refs
			all.count(&s.in)
		}
	}
	invariant.That(held == f.held, "%d bytes are held, %d counted", held, f.held)
	for _, s := range c.spaces {
		if s != nil {
			refs -= s.check()
			all.count(&s.cryptoIn)
		}
	}
	invariant.That(all == c.kept, "%+v are kept, %+v counted", all, c.kept)
	invariant.That(refs == 0, "%d frames of streams are not on their way", refs)
}

// count adds what s keeps.
func (k *kept) count(s *assembly) {
	k.pages += int64(s.pages)
	for _, e := range s.gaps {
		k.bytes += e.to - e.from
	}
}

// check panics when the invariants of Stream do not hold.
func (s *Stream) check() {
	invariant.That(s.refs >= 0, "stream %d has %d frames on their way", s.ID, s.refs)
	freed := s.flag&(streamDone|recvOver|sendOver) == streamDone|recvOver|sendOver && s.refs == 0
	invariant.That(!freed, "stream %d is over and kept", s.ID)
	invariant.That(s.released <= s.delivered, "stream %d: %d released of %d", s.ID, s.released, s.delivered)
}

// check panics when the invariants of space do not hold, and returns how many frames of streams are on their way.
func (s *space) check() (streams int32) {
	flying, frames, last := 0, 0, none
	for i := range s.sent.n {
		p := s.sent.at(i)
		invariant.That(p.number > last && p.number < s.next, "packet %d after %d, before %d", p.number, last, s.next)
		last = p.number
		if p.state == sentFlying {
			flying++
		}
		for k := range int(p.count) {
			if s.frame(p, k).stream != nil {
				streams++
			}
		}
		frames += int(p.count)
	}
	invariant.That(flying == s.flying, "%d packets on their way, %d counted", flying, s.flying)
	invariant.That(frames == s.frames.n, "%d frames of packets, %d kept", frames, s.frames.n)
	return streams
}
