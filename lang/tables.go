package lang

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// few is how many elements of a set are compared one after another: that is faster than any search.
const few = 4

// textSet is a set of texts that is written out. Immutable.
type textSet struct {
	few  []string
	many map[string]struct{}
}

func newTextSet(texts []string) *textSet {
	s := new(textSet)
	if len(texts) <= 2*few {
		s.few = texts
		return s
	}
	s.many = make(map[string]struct{}, len(texts))
	for _, text := range texts {
		s.many[text] = struct{}{}
	}
	return s
}

func (s *textSet) has(b []byte) bool {
	for _, text := range s.few {
		if string(b) == text {
			return true
		}
	}
	if s.many == nil {
		return false
	}
	_, ok := s.many[string(b)]
	return ok
}

// needles are texts that are looked for in another one, all at once and in time in proportion to its length: the
// automaton of Aho and Corasick. Immutable.
//
//	node 0 is the empty text, any other stands for a begin of a needle; for its end with cmpEnds
//	next leads from a node and a byte to the node that is a byte longer
//	fail leads to the longest node that is an end of this one
//	last says that a needle ends here
type needles struct {
	by   cmp // cmpContains, cmpStarts or cmpEnds
	next map[uint64]int32
	fail []int32
	last []bool
}

func newNeedles(texts [][]byte, by cmp) *needles {
	t := &needles{by: by, next: make(map[uint64]int32), fail: []int32{0}, last: []bool{false}}
	type growing struct {
		text []byte
		node int32
	}
	list := make([]growing, len(texts))
	for i, text := range texts {
		list[i] = growing{text, 0}
	}
	// All of them grow by a byte in each turn, so that the nodes that fail leads to are there.
	for at := 0; len(list) > 0; at++ {
		rest := list[:0]
		for _, g := range list {
			if at == len(g.text) {
				t.last[g.node] = true
				continue
			}
			g.node = t.child(g.node, t.byteAt(g.text, at))
			rest = append(rest, g)
		}
		list = rest
	}
	for i := range t.fail[1:] { // shorter ones come first
		t.last[i+1] = t.last[i+1] || by == cmpContains && t.last[t.fail[i+1]]
	}
	return t
}

// child returns the node after a byte, a new one where there is none.
func (t *needles) child(node int32, c byte) int32 {
	to, ok := t.next[edge(node, c)]
	if ok {
		return to
	}
	fail := int32(0)
	for at := node; at != 0 && !ok; {
		at = t.fail[at]
		fail, ok = t.next[edge(at, c)]
	}
	to = int32(len(t.fail))
	t.next[edge(node, c)] = to
	t.fail, t.last = append(t.fail, fail), append(t.last, false)
	return to
}

func edge(node int32, c byte) uint64 { return uint64(node)<<8 | uint64(c) }

func (t *needles) byteAt(text []byte, i int) byte {
	if t.by == cmpEnds {
		return text[len(text)-1-i]
	}
	return text[i]
}

// in reports whether text has one of the needles where t looks for them.
func (t *needles) in(text []byte) bool {
	node := int32(0)
	for i := range text {
		if t.last[node] {
			return true
		}
		c := t.byteAt(text, i)
		to, ok := t.next[edge(node, c)]
		for !ok && node != 0 && t.by == cmpContains {
			node = t.fail[node]
			to, ok = t.next[edge(node, c)]
		}
		if !ok && t.by != cmpContains {
			return false
		}
		node = to
	}
	return t.last[node]
}

// addressSet is a set of prefixes that is written out: ranges that neither overlap nor touch, in order. Immutable.
type addressSet struct {
	few  []netip.Prefix
	four []range4
	six  []range6
}

type range4 struct{ first, last uint32 }

type range6 struct{ first, last [2]uint64 }

func newAddressSet(prefixes []netip.Prefix) *addressSet {
	s := new(addressSet)
	if len(prefixes) <= few {
		s.few = prefixes
		return s
	}
	for _, p := range prefixes {
		if p.Addr().Is4() {
			first := word4(p.Addr())
			s.four = append(s.four, range4{first, first | uint32(1<<(32-p.Bits())-1)})
			continue
		}
		first := words6(p.Addr())
		last := first
		if n := 128 - p.Bits(); n >= 64 {
			last[0] |= 1<<(n-64) - 1
			last[1] = ^uint64(0)
		} else {
			last[1] |= 1<<n - 1
		}
		s.six = append(s.six, range6{first, last})
	}
	slices.SortFunc(s.four, func(a, b range4) int { return compare(a.first, b.first) })
	slices.SortFunc(s.six, func(a, b range6) int { return compare6(a.first, b.first) })
	s.four = merged(s.four, func(a *range4, b range4) bool {
		if b.first > a.last {
			return false
		}
		a.last = max(a.last, b.last)
		return true
	})
	s.six = merged(s.six, func(a *range6, b range6) bool {
		if compare6(b.first, a.last) > 0 {
			return false
		}
		if compare6(b.last, a.last) > 0 {
			a.last = b.last
		}
		return true
	})
	return s
}

// merged joins neighbours that join says yes for.
func merged[R any](ranges []R, join func(*R, R) bool) (out []R) {
	for _, r := range ranges {
		if len(out) == 0 || !join(&out[len(out)-1], r) {
			out = append(out, r)
		}
	}
	return slices.Clip(out)
}

func (s *addressSet) has(a netip.Addr) bool {
	for i := range s.few {
		if s.few[i].Contains(a) {
			return true
		}
	}
	switch {
	case !a.IsValid():
		return false
	case a.Is4():
		w, list := word4(a), s.four
		for len(list) > 0 { // the last range that begins at or before it
			half := len(list) / 2
			if list[half].first > w {
				list = list[:half]
			} else if list[half].last >= w {
				return true
			} else {
				list = list[half+1:]
			}
		}
		return false
	case len(s.six) == 0:
		return false
	}
	w := words6(a)
	i := sort.Search(len(s.six), func(i int) bool { return compare6(s.six[i].first, w) > 0 })
	return i > 0 && compare6(w, s.six[i-1].last) <= 0
}

func word4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func words6(a netip.Addr) [2]uint64 {
	b := a.As16()
	return [2]uint64{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func compare[T uint32 | uint64 | int64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compare6(a, b [2]uint64) int {
	if c := compare(a[0], b[0]); c != 0 {
		return c
	}
	return compare(a[1], b[1])
}
