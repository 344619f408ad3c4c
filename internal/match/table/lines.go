package table

import (
	"math"
	"sort"

	"github.com/edge-proxy/edge/internal/base/yield"
)

// lines have the bounds of a large table of IPv4 so that a look-up reads one line of the processor's cache: a million
// prefixes are more than a cache has, and an index with bounds beside it is two lines. All lines have equally many
// places, a power of two, and a line has its bounds as their low bits:
//
//	first of line 0 ┌──────┬──────┬──────┬──────┐ last bound
//	                │ line │ line │ line │ line │
//	                └──────┴──────┴──────┴──────┘
//
// Immutable, outside of the heap.
type lines struct {
	all   []line
	from  uint32 // the first bound
	shift uint8  // a line has 2^shift places, 2^16 at most
}

// line is 64 bytes.
type line struct {
	first uint32             // the rank of its first bound, or of the next one
	count uint16             // of its bounds; bounds of a line that has no room for all are looked for among the bounds
	low   [lineBounds]uint16 // of its bounds, less the first place of the line; then padding
}

const (
	lineBounds = 29
	lineUsual  = 10        // bounds a line, at least; up to twice as many
	linesLeast = 512 << 10 // bounds of a table that has lines: fewer are in a cache with an index too
)

// rank is how many of the bounds are not above v.
func (x *lines) rank(bounds []uint32, count, v uint32) uint32 {
	if v < x.from {
		return 0
	}
	v -= x.from
	i := v >> (x.shift & 31)
	if i >= uint32(len(x.all)) {
		return count
	}
	l := &x.all[i]
	if l.count > lineBounds {
		some := bounds[l.first : l.first+uint32(l.count)]
		return l.first + uint32(sort.Search(len(some), func(i int) bool { return some[i]-x.from > v }))
	}
	return l.first + min(l.notAbove(uint16(v&(1<<(x.shift&31)-1))), uint32(l.count))
}

// notAbove counts the bounds, and the padding, that are not above v. Each step halves what is left, without a branch.
func (l *line) notAbove(v uint16) uint32 {
	n := upTo(uint64(l.low[13]), uint64(v)) * 14 // of 29 bounds 14 or 15 are left
	n += upTo(uint64(l.low[n+6]), uint64(v)) * 7
	n += upTo(uint64(l.low[n+3]), uint64(v)) * 4
	n += upTo(uint64(l.low[n+1]), uint64(v)) * 2
	n += upTo(uint64(l.low[n]), uint64(v))
	return uint32(n + upTo(uint64(l.low[n]), uint64(v)))
}

// fit returns the lines that bounds in order are for, still empty. ok is false where they are not for lines: they have
// too many places for their number, or are too crowded at some of them.
func fit(bounds []uint32, pace *yield.Pace) (x lines, n int, ok bool) {
	x.from = bounds[0]
	span, most := bounds[len(bounds)-1]-x.from, uint32(len(bounds)/lineUsual)
	for span>>x.shift >= most {
		x.shift++
	}
	if x.shift > 16 {
		return x, 0, false
	}
	crowded, before, here := 0, uint32(0), 0
	for i, b := range bounds {
		if i%walkStep == 0 {
			pace.Step()
		}
		if at := (b - x.from) >> x.shift; at != before {
			before, here = at, 0
		}
		if here++; here == lineBounds+1 {
			crowded += here
		} else if here > lineBounds {
			crowded++
		}
		if here > math.MaxUint16 || crowded > len(bounds)/8 {
			return x, 0, false
		}
	}
	return x, int(span>>x.shift) + 1, true
}

// buildLines makes the lines of the bounds, if these are for lines.
func (r *ranges) buildLines(m *memory, pace *yield.Pace) (ok bool, err error) {
	bounds := r.upper32[:r.count]
	x, n, ok := fit(bounds, pace)
	if !ok {
		return false, nil
	}
	if x.all, err = slice[line](m, n); err != nil {
		return false, err
	}
	next := 0 // the bound that is written next
	for i := range x.all {
		if i%(walkStep/lineUsual) == 0 {
			pace.Step()
		}
		l := &x.all[i]
		l.first = uint32(next)
		for ; next < len(bounds) && int((bounds[next]-x.from)>>x.shift) == i; next++ {
			if l.count < lineBounds {
				l.low[l.count] = uint16((bounds[next] - x.from) & (1<<x.shift - 1))
			}
			l.count++
		}
		for free := int(l.count); free < lineBounds; free++ {
			l.low[free] = math.MaxUint16
		}
	}
	r.lines = x
	return true, nil
}
