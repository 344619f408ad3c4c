//go:build invariants

package quic

import "github.com/edge-proxy/edge/internal/invariant"

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
