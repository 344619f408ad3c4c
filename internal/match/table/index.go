package table

import (
	"math/bits"

	"github.com/edge-proxy/edge/internal/base/yield"
)

// index leads from a place to the few bounds among which its rank is decided.
//
// A node divides the places from its first bound to its last one into slots of equal size, a power of two, one for 2
// to 4 bounds. Where bounds are spread evenly, one node is enough. A slot with more than bucketMax bounds has a node
// of its own, which divides the places from its own first bound to its last one, and so on: since a node begins at
// its first bound, long common beginnings cost nothing. Each node divides by the upper half of a place, or by the
// lower one when all of its bounds have the same upper half.
//
//	node    0 ┌────┬────┬────┬────┐ last bound
//	          └─┬──┴────┴─┬──┴────┘
//	     bounds a…b       └► node of this slot
//
// Immutable, outside of the heap when it is large.
type index struct {
	nodes []node // the first one is of all bounds; none: there are bucketMax bounds at most
	slots []uint32
	count uint32 // of bounds
}

// node is 40 bytes. Its slots are in the order of their places.
type node struct {
	from       uint64 // the half of the first bound that it divides by
	upper      uint64 // the upper half of all its bounds, when it divides by the lower one
	first, end uint32 // its bounds, as ranks
	base       uint32 // its first slot
	slots      uint32
	shift      uint8 // a slot has 2^shift places
	byLower    bool
}

const (
	bucketMax   = 8
	boundsASlot = 1

	slotIsNode = 1 << 31 // the rest is the number of a node, else of the first bound of the slot, or after it
)

// find returns the first bound of a bucket: the rank of p is first, and one more for each of the bounds from there on
// that is not above p, bucketMax at most.
func (x *index) find(p place) (first uint32) {
	if len(x.nodes) == 0 {
		return 0
	}
	n := &x.nodes[0]
	for {
		half := p.hi
		if n.byLower {
			if p.hi != n.upper {
				if p.hi < n.upper {
					return n.first
				}
				return n.end
			}
			half = p.lo
		}
		if half < n.from {
			return n.first
		}
		i := (half - n.from) >> (n.shift & 63)
		if i >= uint64(n.slots) {
			return n.end
		}
		s := x.slots[uint64(n.base)+i]
		if s < slotIsNode {
			return s
		}
		n = &x.nodes[s&^slotIsNode]
	}
}

// indexer builds an index, in two goes: it counts nodes and slots, and then writes them.
type indexer struct {
	*ranges
	pace         *yield.Pace
	steps        int
	write        bool
	nodeN, slotN int
}

func (r *ranges) buildIndex(m *memory, pace *yield.Pace) (err error) {
	n := int(r.count)
	if n <= bucketMax {
		return nil
	}
	b := indexer{ranges: r, pace: pace}
	b.node(0, n)
	if b.slotN > 1<<31 {
		return errMemory
	}
	if r.nodes, err = slice[node](m, b.nodeN); err != nil {
		return err
	}
	if r.slots, err = slice[uint32](m, b.slotN); err != nil {
		return err
	}
	b = indexer{ranges: r, pace: pace, write: true}
	b.node(0, n)
	return nil
}

// half is what a node divides by of a bound.
func (b *indexer) half(i int, n *node) uint64 {
	if n.byLower {
		return b.bound(i).lo
	}
	return b.bound(i).hi
}

// divide returns a node without its place among the slots. There are two bounds or more.
func (b *indexer) divide(first, end int) node {
	low, high := b.bound(first), b.bound(end-1)
	n := node{first: uint32(first), end: uint32(end), byLower: low.hi == high.hi, upper: low.hi}
	n.from = b.half(first, &n)
	span := b.half(end-1, &n) - n.from
	most := uint64(max(2, (end-first)/boundsASlot))
	for n.shift = uint8(max(0, bits.Len64(span)-bits.Len64(most))); span>>n.shift >= most; n.shift++ {
	}
	n.slots = uint32(span>>n.shift) + 1
	return n
}

// node makes the node of bounds, and the nodes of its slots, and returns its number.
func (b *indexer) node(first, end int) (number int) {
	n := b.divide(first, end)
	number, n.base = b.nodeN, uint32(b.slotN)
	b.nodeN++
	b.slotN += int(n.slots)
	if b.write {
		b.nodes[number] = n
	}
	next := 0 // the slot that is written next
	for at := first; at < end; {
		i := int((b.half(at, &n) - n.from) >> n.shift)
		to := at + 1
		for to < end && int((b.half(to, &n)-n.from)>>n.shift) == i {
			to++
		}
		if b.steps += to - at; b.steps >= walkStep {
			b.steps = 0
			b.pace.Step()
		}
		word := uint32(at)
		if to-at > bucketMax {
			word = slotIsNode | uint32(b.node(at, to))
		}
		if b.write {
			for ; next < i; next++ {
				b.slots[int(n.base)+next] = uint32(at) // no bounds
			}
			b.slots[int(n.base)+i] = word
			next++
		}
		at = to
	}
	return number
}
