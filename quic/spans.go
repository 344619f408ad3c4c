package quic

import (
	"cmp"
	"slices"
)

// span is the numbers, or the offsets, from from to below to.
type span struct{ from, to int64 }

// spans is a set of numbers. Sorted; no span is empty, and none touches the next one.
type spans []span

// endingAt returns the index of the first span that ends at n or later.
func (s spans) endingAt(n int64) int {
	i, _ := slices.BinarySearchFunc(s, n, func(e span, n int64) int { return cmp.Compare(e.to, n) })
	return i
}

// has reports whether n is in the set.
func (s spans) has(n int64) bool {
	i := s.endingAt(n + 1)
	return i < len(s) && s[i].from <= n
}

// add adds the numbers from from to below to, and returns how many were not in the set. It has one span more at most.
func (s *spans) add(from, to int64) (fresh int64) {
	if from >= to {
		return 0
	}
	i := s.endingAt(from)
	j := i
	for ; j < len(*s) && (*s)[j].from <= to; j++ {
		from, to = min(from, (*s)[j].from), max(to, (*s)[j].to)
		fresh -= (*s)[j].to - (*s)[j].from
	}
	fresh += to - from
	if i == j {
		*s = slices.Insert(*s, i, span{from, to})
		return fresh
	}
	(*s)[i] = span{from, to}
	*s = slices.Delete(*s, i+1, j)
	return fresh
}

// remove takes the numbers from from to below to out, and returns how many were in the set. It has one span more at
// most.
func (s *spans) remove(from, to int64) (taken int64) {
	if from >= to {
		return 0
	}
	i := s.endingAt(from + 1)
	for i < len(*s) && (*s)[i].from < to {
		e := (*s)[i]
		taken += min(e.to, to) - max(e.from, from)
		switch {
		case e.from < from && e.to > to:
			(*s)[i].to = from
			*s = slices.Insert(*s, i+1, span{to, e.to})
			return taken
		case e.from < from:
			(*s)[i].to = from
			i++
		case e.to > to:
			(*s)[i].from = to
			return taken
		default:
			*s = slices.Delete(*s, i, i+1)
		}
	}
	return taken
}
