package balance

import (
	"math"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

const (
	cycleMax     = 4096    // turns in a cycle
	cycleWorkMax = 1 << 20 // backends looked at to make one: 1 ms
)

// golden is 2^64 over the golden ratio: steps of it fall as evenly on a circle as steps can (Weyl's sequence).
const golden = 0x9e3779b97f4a7c15

// Turns is the Picker of RoundRobin: each open backend as often as its weight says, in nginx's smooth order, where
// heavy ones get no burst; nginx itself leaves that order after a failure, when it lowers a weight for some time. It is
// fair over a cycle, the sum of the weights over their greatest common divisor. Where a cycle would be longer than 4096
// turns, backends are drawn by weight, with draws that are spread evenly instead of random ones. The zero value begins
// with the first turn; with RoundRobin.New each reactor begins at another one.
// Owned by one goroutine.
//
//	cursor < len(cycle), unless that is nil: before the first pick
//	reactor < reactors, or both are 0
type Turns struct {
	cycle    []uint16
	cursor   int
	reactor  int // of so many: the first cycle begins at this part of it
	reactors int
	word     uint64
	_        [cacheLine - 56]byte // Turns of two reactors are neighbours in memory: 9 ns a pick without this, 2.5 with
}

// newTurns makes the Turns of one of so many reactors.
func newTurns(reactor, reactors int) Turns {
	reactors = max(reactors, 1)
	return Turns{reactor: max(reactor, 0) % reactors, reactors: reactors}
}

// Pick implements Picker. l may be nil. It returns -1 when all open backends have been tried; the caller may pick again
// without them.
func (t *Turns) Pick(v *View, _ *Local, q *Request) int {
	cycle := v.cycle()
	if len(cycle) == 0 {
		return t.drawSpread(v, q)
	}
	if len(cycle) != len(t.cycle) || &cycle[0] != &t.cycle[0] {
		t.switchCycle(cycle)
	}
	for range cycle {
		i := int(cycle[t.cursor])
		if t.cursor++; t.cursor == len(cycle) {
			t.cursor = 0
		}
		if q.Tried.none() || !q.Tried.Has(i) {
			return i
		}
	}
	return -1
}

// switchCycle goes on in another cycle at the same part of it. Each reactor begins in another part of the first one, so
// that their first requests do not meet the same backend.
func (t *Turns) switchCycle(cycle []uint16) {
	at, of := t.cursor, len(t.cycle)
	if of == 0 {
		at, of = t.reactor, max(t.reactors, 1)
	}
	t.cycle, t.cursor = cycle, at*len(cycle)/of
	if invariant.On {
		t.check()
	}
}

// check panics when the invariants of Turns do not hold.
func (t *Turns) check() {
	if t.cursor < 0 || t.cursor >= len(t.cycle) || t.reactor > 0 && t.reactor >= t.reactors {
		invariant.That(false, "turn %d of %d, reactor %d of %d", t.cursor, len(t.cycle), t.reactor, t.reactors)
	}
}

// drawSpread draws by weight without a cycle.
func (t *Turns) drawSpread(v *View, q *Request) int {
	n := len(v.order)
	if n == 0 {
		return -1
	}
	if t.word == 0 {
		t.word = math.MaxUint64 / uint64(max(t.reactors, 1)) * uint64(t.reactor)
	}
	table := v.drawTable()
	for range 4 {
		t.word += golden
		if i := int(v.order[v.draw(table, t.word)]); !q.Tried.Has(i) {
			return i
		}
	}
	return v.nextPickable(int(scale(uint32(t.word>>32), uint32(n))), q)
}

// cycle returns the turns of the open backends, or nil where there would be too many.
func (v *View) cycle() []uint16 {
	if !v.hasTurns.Load() {
		v.makeTurns()
	}
	return v.turns
}

// makeTurns makes the cycle, unless another goroutine has.
func (v *View) makeTurns() {
	v.making.Lock()
	defer v.making.Unlock()
	if !v.hasTurns.Load() {
		v.turns = v.smooth()
		v.hasTurns.Store(true)
	}
}

// smooth lets nginx choose a whole cycle: each adds its weight to its credit, the one with most is chosen and pays
// the sum of all weights.
func (v *View) smooth() []uint16 {
	total, divisor := 0, 0
	for _, i := range v.order {
		total += int(v.weights[i])
		divisor = gcd(int(v.weights[i]), divisor)
	}
	if divisor == 0 || total/divisor > cycleMax || total/divisor*len(v.order) > cycleWorkMax {
		return nil
	}
	cycle, credit := make([]uint16, total/divisor), make([]int, len(v.order))
	for turn := range cycle {
		best := 0
		for k, i := range v.order {
			if credit[k] += int(v.weights[i]); credit[k] > credit[best] {
				best = k
			}
		}
		credit[best] -= total
		cycle[turn] = v.order[best]
	}
	return cycle
}
