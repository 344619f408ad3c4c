package balance

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

const (
	backendsMax = 1<<16 - 1 // an index fits a Tried's uint16
	weightMax   = 1<<16 - 1 // sums stay far from overflow
)

// Backend is what a View knows of a backend.
type Backend struct {
	Name   string // what methods that hash place it by; its address, as written
	Weight int    // its share of the requests, up to 65535. 0: there is no backend of this index, or it is to get none
}

// View is the backends that a Picker chooses from: their weights, which of them are open, and how loaded they are.
// Immutable, the loads aside: when a backend opens, closes, comes or goes, another View takes its place. What single
// methods need of it is made once, when it is first asked for: see Method.Prepare.
//
//	order   the open backends of a weight above zero in weights, by index
//	cells   cells[k] is the load of order[k]
//	turns   a whole cycle of them, each as often as its weight says: order itself where all their weights are equal,
//	        nil where it would be too long
//	table   draws one of them by weight; nil where all their weights are equal
//	ranks   draws one of orders, where there are up to four of different weights
type View struct {
	*layout
	open    []uint64 // bit set: may be picked
	weights []uint32 // by index, for turns and draws: the backends' own unless Weighing said otherwise
	order   []uint16
	cells   []*cell
	equal   bool // all weights of order are the same

	making   sync.Mutex // held while the tables are written
	hasTurns atomic.Bool
	hasTable atomic.Bool
	turns    []uint16      // written before hasTurns is
	table    []aliasColumn // written before hasTable is
	ranks    []aliasColumn // like table
}

// layout is the backends of a View, whether they are open or not. Views that differ only in that share one.
// Immutable; the rings are made once, when they are first asked for.
type layout struct {
	backends []Backend
	own      []uint32 // the weights of backends
	loads    *Loads
	pages    []*page  // as many as there are backends for
	total    int      // sum of the weights
	placed   []uint16 // the backends of a weight above zero, by index
	eligible []uint64 // bit set: weight above zero

	hashes hashes
}

// NewView makes a view of backends, all open. Their load is kept in loads, which grows as needed; nil: in one of its
// own. backends is copied. It panics when there are more than 65535, or a weight is negative or above 65535.
func NewView(backends []Backend, loads *Loads) *View {
	if len(backends) > backendsMax {
		panic(fmt.Sprintf("balance: %d backends", len(backends)))
	}
	if loads == nil {
		loads = NewLoads()
	}
	l := &layout{backends: append([]Backend(nil), backends...), own: make([]uint32, len(backends)), loads: loads,
		pages: loads.grow(len(backends)), eligible: make([]uint64, (len(backends)+63)/64)}
	for i := range backends {
		weight := backends[i].Weight
		if weight < 0 || weight > weightMax {
			panic(fmt.Sprintf("balance: weight %d", weight))
		}
		if weight == 0 {
			continue
		}
		l.eligible[i/64] |= 1 << (i % 64)
		l.own[i] = uint32(weight)
		l.total += weight
		l.placed = append(l.placed, uint16(i))
	}
	loads.setWeights(backends)
	return newView(l, l.eligible, l.own)
}

// Weights makes a view of backends that have weights alone.
func Weights(weights ...int) *View {
	backends := make([]Backend, len(weights))
	for i, weight := range weights {
		backends[i].Weight = weight
	}
	return NewView(backends, nil)
}

func newView(l *layout, open []uint64, weights []uint32) *View {
	count := 0
	for _, word := range open {
		count += bits.OnesCount64(word)
	}
	v := &View{layout: l, open: open, weights: weights, equal: true,
		order: make([]uint16, 0, count), cells: make([]*cell, 0, count)}
	for word, left := range open {
		for ; left != 0; left &= left - 1 {
			i := word*64 + bits.TrailingZeros64(left)
			if weights[i] == 0 {
				continue
			}
			v.order, v.cells = append(v.order, uint16(i)), append(v.cells, v.cell(i))
			v.equal = v.equal && weights[i] == weights[v.order[0]]
		}
	}
	if v.equal {
		v.turns = v.order
		v.hasTurns.Store(true)
		v.hasTable.Store(true)
	}
	if invariant.On {
		v.check()
	}
	return v
}

// check panics when the invariants of View do not hold.
func (v *View) check() {
	for k, i := range v.order {
		if !v.Open(int(i)) || v.weights[i] == 0 || k > 0 && v.order[k-1] >= i {
			invariant.That(false, "place %d is backend %d, open: %v", k, i, v.Open(int(i)))
		}
		if v.cells[k] != v.cell(int(i)) {
			invariant.That(false, "place %d has the load of another backend than %d", k, i)
		}
		if v.equal && v.weights[i] != v.weights[v.order[0]] {
			invariant.That(false, "backend %d has another weight", i)
		}
	}
	if len(v.pages)*pageSize < len(v.backends) {
		invariant.That(false, "%d pages of load for %d backends", len(v.pages), len(v.backends))
	}
}

// With returns the view that follows v when backend i opens or closes.
func (v *View) With(i int, open bool) *View {
	return v.Where(func(other int) bool { return other == i && open || other != i && v.Open(other) })
}

// Where returns the view that follows v when those backends are open for which open returns true, and no others.
func (v *View) Where(open func(i int) bool) *View {
	next := make([]uint64, len(v.open))
	for i := range v.backends {
		if v.eligible[i/64]>>(i%64)&1 == 1 && open(i) {
			next[i/64] |= 1 << (i % 64)
		}
	}
	return newView(v.layout, next, v.weights)
}

// Weighing returns the view that follows v when turns and draws go by weights, by index, instead of by the weights of
// the backends; nil: by the weights of the backends. An open backend of weight 0 gets only the requests whose key leads
// to it: methods that hash go by the weights of the backends themselves, so that no key moves. weights must not change
// afterwards. It panics when they are not as many as backends.
func (v *View) Weighing(weights []uint32) *View {
	if weights == nil {
		if weights = v.own; len(v.own) == 0 || &v.weights[0] == &v.own[0] {
			return v
		}
	}
	if len(weights) != len(v.backends) {
		panic(fmt.Sprintf("balance: %d weights for %d backends", len(weights), len(v.backends)))
	}
	return newView(v.layout, v.open, weights)
}

// Open reports whether backend i may be picked.
func (v *View) Open(i int) bool { return v.open[i/64]>>(i%64)&1 == 1 }

// Weight returns the weight of backend i itself, whatever Weighing said.
func (v *View) Weight(i int) int { return v.backends[i].Weight }

// Share returns the part of the requests that turns give backend i, from 0 to 1.
func (v *View) Share(i int) float64 {
	sum := 0.0
	for _, k := range v.order {
		sum += float64(v.weights[k])
	}
	if !v.Open(i) || sum == 0 {
		return 0
	}
	return float64(v.weights[i]) / sum
}

// Name returns the name of backend i.
func (v *View) Name(i int) string { return v.backends[i].Name }

// Len returns the number of backends, whether open or not.
func (v *View) Len() int { return len(v.backends) }

// Count returns the number of backends that turns and draws choose from: the open ones that have a weight.
func (v *View) Count() int { return len(v.order) }

// OpenAt returns the index of the one of them of a place, from 0 to Count()-1.
func (v *View) OpenAt(place int) int { return int(v.order[place]) }

func (v *View) cell(i int) *cell { return &v.pages[uint(i)/pageSize][uint(i)%pageSize] }

func (v *View) pickable(i int, q *Request) bool { return v.Open(i) && !q.Tried.Has(i) }

// nextPickable returns the first open backend from a place of order on, around the end, that was not tried, or -1.
func (v *View) nextPickable(place int, q *Request) int {
	for range v.order {
		if i := int(v.order[place]); !q.Tried.Has(i) {
			return i
		}
		if place++; place == len(v.order) {
			place = 0
		}
	}
	return -1
}

// gcd returns the greatest common divisor of a and b; one of them may be 0.
func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
