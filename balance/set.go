package balance

import (
	"fmt"
	"sync/atomic"
)

const (
	backendsMax = 1<<16 - 1 // an index fits a Tried's uint16
	weightMax   = 1<<16 - 1 // sums stay far from overflow
)

// Set is the backends of one upstream: their weights, and which of them are up.
// Safe for any goroutine; weights are immutable after NewSet.
type Set struct {
	weights  []int
	equal    bool            // all weights above zero are the same
	eligible []uint64        // bit set: weight above zero
	down     []atomic.Uint64 // bit set: not up
}

// NewSet makes a set of len(weights) backends, all up. One of weight 0 is never picked.
// It panics when there are more than 65535 backends or a weight is negative or above 65535. weights is copied.
func NewSet(weights []int) *Set {
	if len(weights) > backendsMax {
		panic(fmt.Sprintf("balance: %d backends", len(weights)))
	}
	words := (len(weights) + 63) / 64
	s := &Set{
		weights:  append([]int(nil), weights...),
		equal:    true,
		eligible: make([]uint64, words),
		down:     make([]atomic.Uint64, words),
	}
	first := 0
	for i, weight := range weights {
		if weight < 0 || weight > weightMax {
			panic(fmt.Sprintf("balance: weight %d", weight))
		}
		if weight == 0 {
			continue
		}
		s.eligible[i/64] |= 1 << (i % 64)
		if first == 0 {
			first = weight
		}
		s.equal = s.equal && weight == first
	}
	return s
}

// SetUp says whether backend i is up, and reports whether that is news.
func (s *Set) SetUp(i int, up bool) (changed bool) {
	bit := uint64(1) << (i % 64)
	if up {
		return s.down[i/64].And(^bit)&bit != 0
	}
	return s.down[i/64].Or(bit)&bit == 0
}

// Up reports whether backend i is up.
func (s *Set) Up(i int) bool { return s.down[i/64].Load()>>(i%64)&1 == 0 }

// Weight is the weight of backend i.
func (s *Set) Weight(i int) int { return s.weights[i] }

// Len is the number of backends, whether up or down.
func (s *Set) Len() int { return len(s.weights) }

// open returns a bit for each backend of word that may be picked.
func (s *Set) open(word int, tried *Tried) uint64 {
	return s.eligible[word] &^ s.down[word].Load() &^ tried.word(word)
}
