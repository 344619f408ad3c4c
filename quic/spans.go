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

// add adds the numbers from from to below to. The set has one span more at most.
func (s *spans) add(from, to int64) {
	if from >= to {
		return
	}
	i := s.endingAt(from)
	j := i
	for ; j < len(*s) && (*s)[j].from <= to; j++ {
		from, to = min(from, (*s)[j].from), max(to, (*s)[j].to)
	}
	if i == j {
		*s = slices.Insert(*s, i, span{from, to})
		return
	}
	(*s)[i] = span{from, to}
	*s = slices.Delete(*s, i+1, j)
}

// remove takes the numbers from from to below to out. The set has one span more at most.
func (s *spans) remove(from, to int64) {
	if from >= to {
		return
	}
	i := s.endingAt(from + 1)
	for i < len(*s) && (*s)[i].from < to {
		e := (*s)[i]
		switch {
		case e.from < from && e.to > to:
			(*s)[i].to = from
			*s = slices.Insert(*s, i+1, span{to, e.to})
			return
		case e.from < from:
			(*s)[i].to = from
			i++
		case e.to > to:
			(*s)[i].from = to
			return
		default:
			*s = slices.Delete(*s, i, i+1)
		}
	}
}
