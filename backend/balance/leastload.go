package balance

import "math/bits"

const (
	scanMax      = 4  // open backends that a method looks at all of: see drawOrder
	leastScanMax = 16 // the same for LeastConn, which promises the least of all where there are few
)

// measure is what methods compare backends by, besides the requests under way at each and its weight.
type measure uint8

const (
	byLoad measure = iota // nothing else
	bySlow                // how slow it is
	byPeak                // the peaks of its latency
	_
	measures // a power of two, so that an index of it needs no check
)

// randomPicker is the Picker of Random.
// Immutable.
type randomPicker struct{}

// Pick draws one, by weight.
func (randomPicker) Pick(v *View, l *Local, q *Request) int {
	if len(v.order) == 0 {
		return -1
	}
	table := v.drawTable()
	i := int(v.order[v.draw(table, l.Random())])
	for range 4 {
		if q.Tried.none() || !q.Tried.Has(i) {
			return i
		}
		i = int(v.order[v.draw(table, l.Random())])
	}
	return v.nextPickable(int(scale(uint32(l.Random()), uint32(len(v.order)))), q)
}

// leastCostPicker is the Picker of methods that draw some backends by weight and take the one of least cost. It looks
// at all when there are no more than scan, which is 4 at least. With totals that are a tick old, looking at all of
// many would make every reactor send to the same one. Immutable.
type leastCostPicker struct {
	by    measure
	draws int
	scan  int
}

// Where half of a pool fails at once, an eighth of the requests draw three backends of that half. They draw again.
const (
	failingSlowness = 8 * slowOne // as slow as a backend that fails, or is stuck
	slowRedrawsMax  = 8
)

func (p *leastCostPicker) Pick(v *View, l *Local, q *Request) int {
	best := p.choose(v, l, q)
	if p.by == bySlow && best >= 0 && len(v.order) > scanMax {
		for round := 0; v.cell(best).slow.Load() >= failingSlowness && round < slowRedrawsMax; round++ {
			best = v.cheaperOf(l, q, best, p.choose(v, l, q))
		}
	}
	return best
}

// choose is a pick of the least of one set of draws.
func (p *leastCostPicker) choose(v *View, l *Local, q *Request) int {
	l.growFor(v)
	if p.by == byPeak {
		v.loads.keepPeaks()
	}
	var drawn [drawsMax]uint16
	n := len(v.order)
	list, marked := inOrder[:], &ranked
	switch {
	case n <= scanMax:
		list, marked = list[:n], v.drawOrder(l)
	case n <= p.scan:
		return v.leastOfAll(l, q, p.by)
	case v.equal && p.draws <= 3:
		v.drawPlaces(l, &drawn)
		list = drawn[:p.draws&3]
	default:
		list = drawn[:v.drawDistinct(l, &drawn, p.draws)]
	}
	if q.Tunnel || !q.Tried.none() || len(list) == 0 {
		return v.leastUntried(l, q, list, p.by)
	}
	best, cells, order, pending, by := ^uint64(0), v.cells, v.order, l.pending, p.by
	for k, place := range list {
		at := cost(cells[place], &pending[order[place]], false, by)<<markBits | uint64(marked[uint(k)%drawsMax])
		best = minBranchless(best, at)
	}
	return int(order[list[best%drawsMax]])
}

// cheaperOf returns the one of two backends that costs less by bySlow.
func (v *View) cheaperOf(l *Local, q *Request, a, b int) int {
	x, y := v.cell(a), v.cell(b)
	if cost(y, &l.pending[b], q.Tunnel, bySlow) < cost(x, &l.pending[a], q.Tunnel, bySlow) {
		return b
	}
	return a
}

// idleTurnsPicker is the Picker of methods that take turns while nothing is under way, and compare only where that does
// not tell whom to take: the weights are the shares, to the request. Owned by one goroutine.
type idleTurnsPicker struct {
	turns Turns
	least leastCostPicker
}

// newIdleTurns makes such Pickers.
func newIdleTurns(busy leastCostPicker) func(int, int) Picker {
	return func(reactor, reactors int) Picker { return &idleTurnsPicker{newTurns(reactor, reactors), busy} }
}

// Pick takes the one whose turn it is, unless it has something to do or is slow.
func (p *idleTurnsPicker) Pick(v *View, l *Local, q *Request) int {
	l.growFor(v)
	i := p.turns.Pick(v, nil, q)
	if i < 0 || len(v.order) == 1 || cost(v.cell(i), &l.pending[i], q.Tunnel, p.least.by) == 0 {
		return i
	}
	return p.least.Pick(v, l, q)
}

// Costs are compared with the mark of the backend in their low bits: the least of some numbers is found without
// a branch, which would be mispredicted half of the time. A mark is a rank, by which equal costs are compared,
// and the place of the backend in its list.
const (
	placeBits = 3 // up to drawsMax
	markBits  = 5
)

// marks is a mark for each place of a list.
type marks [drawsMax]uint8

// minBranchless is min without a branch, which in a loop the compiler makes of min.
func minBranchless(a, b uint64) uint64 {
	_, less := bits.Sub64(a, b, 0)
	return b ^ (a^b)&-less
}

// leastUntried returns the backend of least cost, of those at some places of order, that a request may go to
// that was tried, or asks for a tunnel. When all were tried it looks at all that are open.
func (v *View) leastUntried(l *Local, q *Request, list []uint16, by measure) int {
	best, least := -1, ^uint64(0)
	for _, place := range list {
		i := int(v.order[place])
		if at := cost(v.cells[place], &l.pending[i], q.Tunnel, by); at < least && !q.Tried.Has(i) {
			best, least = i, at
		}
	}
	if best < 0 && len(list) < len(v.order) {
		return v.leastOfAll(l, q, by)
	}
	return best
}

// leastOfAll looks at all that are open, and draws among the backends of the least cost, by weight.
func (v *View) leastOfAll(l *Local, q *Request, by measure) int {
	best, least, sum := -1, ^uint64(0), uint64(0)
	for _, index := range v.order {
		i := int(index)
		at := cost(v.cell(i), &l.pending[i], q.Tunnel, by)
		if at > least || q.Tried.Has(i) {
			continue
		}
		if at < least {
			least, sum = at, 0
		}
		weight := uint64(v.weights[i])
		sum += weight
		if part, _ := bits.Mul64(l.Random(), sum); part < weight {
			best = i
		}
	}
	return best
}

// ranked chooses the first one of equals, of the places that inOrder is.
var (
	ranked  = marks{0, 1, 2, 3, 4, 5, 6, 7}
	inOrder = [drawsMax]uint16{0, 1, 2, 3, 4, 5, 6, 7}
)

// cost returns what methods compare.
//
//	2^26 requests under way × 2^32 + 2^32 < 2^(64 - markBits)
func cost(c *cell, p *pending, tunnel bool, by measure) uint64 {
	by %= measures
	return uint64(load(c, p, tunnel))*uint64(c.steps[by].Load()) + uint64(c.bases[by].Load())
}
