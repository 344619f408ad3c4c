package table

import (
	"math"
	"math/bits"
	"slices"

	"github.com/edge-proxy/edge/internal/base/yield"
)

// ranges says which of many prefixes has an address; the longest one does. Prefixes that overlap are cut into ranges
// that do not, and a range is known by its first place, its bound:
//
//	10.0.0.0/8 A, 10.1.0.0/16 B      bounds  10.0.0.0  10.1.0.0  10.2.0.0  11.0.0.0
//	                                 refs       A         B         A         0 (none)
//
// A look-up counts the bounds that are not above the address: its rank. The ref of the address is the ref of the last
// of these. In a list refs would be 1, 0, 1, 0…, so it has none, and an address is in it where the rank is odd. Bounds
// have 32, 64 or 128 bits, as few as all of them can do with: bounds of IPv4 have 32. After the last one there is
// padding, so that bucketMax of them can be read from each. Immutable.
type ranges struct {
	index
	upper32 []uint32 // the upper 32 bits of the bounds, or nil when some have more
	upper64 []uint64 // the upper 64 bits, or nil
	lower   []uint64 // the lower 64 bits, or nil when they are 0
	refs    []uint32 // by bound; nil in a list
	lines   lines    // in place of the index, or none
}

// rank is how many bounds are not above p. It looks among as many bounds as a bucket can have; those beyond the bucket
// are above p.
func (r *ranges) rank(p place) uint32 {
	if r.lines.all != nil {
		return r.lines.rank(r.upper32, r.count, uint32(p.hi>>32))
	}
	first := r.index.find(p)
	switch {
	case r.upper32 != nil:
		first += notAbove32((*[bucketMax]uint32)(r.upper32[first:]), uint32(p.hi>>32))
	case r.lower == nil:
		first += notAbove((*[bucketMax]uint64)(r.upper64[first:]), p.hi)
	default:
		first += below((*[bucketMax]uint64)(r.upper64[first:]), p.hi)
		for first < r.count && r.upper64[first] == p.hi && r.lower[first] <= p.lo {
			first++
		}
	}
	return min(first, r.count) // padding is not above the last place of all
}

// notAbove32 counts the bounds that are not above v. Each step halves what is left, without a branch.
func notAbove32(bounds *[bucketMax]uint32, v uint32) uint32 {
	n := upTo(uint64(bounds[3]), uint64(v)) << 2
	n += upTo(uint64(bounds[(n+1)&7]), uint64(v)) << 1
	n += upTo(uint64(bounds[n&7]), uint64(v))
	return uint32(n + upTo(uint64(bounds[n&7]), uint64(v)))
}

// notAbove counts the bounds that are not above v.
func notAbove(bounds *[bucketMax]uint64, v uint64) uint32 {
	n := upTo(bounds[3], v) << 2
	n += upTo(bounds[(n+1)&7], v) << 1
	n += upTo(bounds[n&7], v)
	return uint32(n + upTo(bounds[n&7], v))
}

// upTo is 1 when bound is not above v, else 0. The compiler would make a branch of a comparison.
func upTo(bound, v uint64) uint64 {
	_, above := bits.Sub64(v, bound, 0)
	return 1 - above
}

// below counts the bounds that are below v.
func below(bounds *[bucketMax]uint64, v uint64) (n uint32) {
	if v == 0 {
		return 0
	}
	return notAbove(bounds, v-1)
}

// has reports whether a prefix of a list has p.
func (r *ranges) has(p place) bool { return r.count != 0 && r.rank(p)&1 != 0 }

// ref is what a map says for p, or 0.
func (r *ranges) ref(p place) uint32 {
	if r.count != 0 {
		if n := r.rank(p); n > 0 {
			return r.refs[n-1]
		}
	}
	return 0
}

func (r *ranges) bound(i int) place {
	switch {
	case r.upper32 != nil:
		return place{hi: uint64(r.upper32[i]) << 32}
	case r.lower == nil:
		return place{hi: r.upper64[i]}
	}
	return place{r.upper64[i], r.lower[i]}
}

// sortStep is how many comparisons are made between two looks at the clock.
const sortStep = 1024

// sortRecords puts IPv4 first, and sorts by place, and prefixes with the same place by length: the prefix that has
// others comes before them.
func sortRecords(all []record, pace *yield.Pace) {
	n := 0
	slices.SortFunc(all, func(a, b record) int {
		if n++; n%sortStep == 0 {
			pace.Step()
		}
		switch {
		case a.is6 != b.is6:
			if b.is6 {
				return -1
			}
		case a.from == b.from:
			return int(a.bits) - int(b.bits)
		case a.from.less(b.from):
			return -1
		}
		return 1
	})
}

// newRanges builds ranges of sorted records in m. withRefs is true for a map.
func newRanges(m *memory, sorted []record, withRefs bool, pace *yield.Pace) (*ranges, error) {
	r := &ranges{}
	if len(sorted) == 0 {
		return r, nil
	}
	n, union := 0, place{}
	eachBound(sorted, pace, func(at place, _ uint32) {
		n++
		union.hi |= at.hi
		union.lo |= at.lo
	})
	err := r.reserve(m, n, union)
	if err == nil && withRefs {
		r.refs, err = slice[uint32](m, n)
	}
	if err != nil {
		return nil, err
	}
	i := 0
	eachBound(sorted, pace, func(at place, ref uint32) {
		if r.upper32 != nil {
			r.upper32[i] = uint32(at.hi >> 32)
		} else {
			r.upper64[i] = at.hi
		}
		if r.lower != nil {
			r.lower[i] = at.lo
		}
		if withRefs {
			r.refs[i] = ref
		}
		i++
	})
	for ; i < n+bucketMax; i++ {
		if r.upper32 != nil {
			r.upper32[i] = math.MaxUint32
		} else {
			r.upper64[i] = math.MaxUint64
		}
	}
	r.count = uint32(n)
	if r.upper32 != nil && n >= linesLeast {
		if ok, err := r.buildLines(m, pace); ok || err != nil {
			return r, err
		}
	}
	return r, r.buildIndex(m, pace)
}

// reserve gets memory for n bounds which have no other bits than the bits of union.
func (r *ranges) reserve(m *memory, n int, union place) (err error) {
	if union.hi<<32 == 0 && union.lo == 0 {
		r.upper32, err = slice[uint32](m, n+bucketMax)
		return err
	}
	if r.upper64, err = slice[uint64](m, n+bucketMax); err == nil && union.lo != 0 {
		r.lower, err = slice[uint64](m, n)
	}
	return err
}

// walkStep is how many simple steps are made between two looks at the clock.
const walkStep = 4096

// eachBound calls f with the bounds of sorted records, in their order, and the ref from there on. Neighbours differ in
// their refs.
func eachBound(sorted []record, pace *yield.Pace, f func(at place, ref uint32)) {
	var (
		open  [129]record // prefixes that have each other, the shortest first
		depth int
		next  place  // the bound that f is called with when another place comes
		ref   uint32 // from next on
		told  uint32 // what f was called with last
	)
	move := func(at place, to uint32) {
		if at != next {
			if ref != told {
				f(next, ref)
				told = ref
			}
			next = at
		}
		ref = to
	}
	// leave ends the prefixes that do not reach at.
	leave := func(at place, all bool) {
		for depth > 0 {
			end, ends := open[depth-1].after()
			if !all && (!ends || at.less(end)) {
				return
			}
			depth--
			switch {
			case !ends: // and so do all that have it
			case depth > 0:
				move(end, open[depth-1].ref)
			default:
				move(end, 0)
			}
		}
	}
	for i := range sorted {
		if i%walkStep == 0 {
			pace.Step()
		}
		leave(sorted[i].from, false)
		move(sorted[i].from, sorted[i].ref)
		if depth > 0 && open[depth-1].bits == sorted[i].bits {
			continue // the same prefix again
		}
		open[depth] = sorted[i]
		depth++
	}
	leave(place{}, true)
	if ref != told {
		f(next, ref)
	}
}
