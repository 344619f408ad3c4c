package balance

import (
	"fmt"
	"slices"
)

const (
	backendsMax = 1<<16 - 1 // an index fits a Tried's uint16
	weightMax   = 1<<16 - 1 // sums stay far from overflow
)

// View is the backends that a Picker chooses from: their weights, and which of them are open.
// Immutable: when a backend opens, closes, comes or goes, another View takes its place.
type View struct {
	*layout
	open []uint64 // bit set: may be picked
}

// layout holds the weights of the backends. Views that differ only in their open backends share one.
// Immutable.
type layout struct {
	weights  []int
	total    int      // sum of the weights
	equal    bool     // all weights above zero are the same
	eligible []uint64 // bit set: weight above zero
}

// NewView makes a view of len(weights) backends, all open. A weight of 0 says that there is no backend of that index,
// or that it is to get no request: it is never picked.
// It panics when there are more than 65535 backends or a weight is negative or above 65535. weights is copied.
func NewView(weights []int) *View {
	if len(weights) > backendsMax {
		panic(fmt.Sprintf("balance: %d backends", len(weights)))
	}
	l := &layout{weights: slices.Clone(weights), equal: true, eligible: make([]uint64, (len(weights)+63)/64)}
	first := 0
	for i, weight := range weights {
		if weight < 0 || weight > weightMax {
			panic(fmt.Sprintf("balance: weight %d", weight))
		}
		if weight == 0 {
			continue
		}
		l.eligible[i/64] |= 1 << (i % 64)
		l.total += weight
		if first == 0 {
			first = weight
		}
		l.equal = l.equal && weight == first
	}
	return &View{l, l.eligible}
}

// With returns the view that follows v when backend i opens or closes.
func (v *View) With(i int, open bool) *View {
	next := &View{v.layout, slices.Clone(v.open)}
	bit := uint64(1) << (i % 64) & v.eligible[i/64]
	if next.open[i/64] &^= bit; open {
		next.open[i/64] |= bit
	}
	return next
}

// Open reports whether backend i may be picked.
func (v *View) Open(i int) bool { return v.open[i/64]>>(i%64)&1 == 1 }

// Weight returns the weight of backend i.
func (v *View) Weight(i int) int { return v.weights[i] }

// Len returns the number of backends, whether open or not.
func (v *View) Len() int { return len(v.weights) }
