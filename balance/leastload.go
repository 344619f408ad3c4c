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

// drawing is the Picker of Random.
// Immutable.
type drawing struct{}

// Pick draws one, by weight.
func (drawing) Pick(v *View, l *Local, q *Request) int {
	if len(v.order) == 0 {
		return -1
	}
	table := v.columns()
	i := v.draw(table, l.Random())
	for range 4 {
		if q.Tried.none() || !q.Tried.Has(i) {
			return i
		}
		i = v.draw(table, l.Random())
	}
	return v.anyOf(int(scale(uint32(l.Random()), uint32(len(v.order)))), q)
}

// comparing is the Picker of methods that draw some backends by weight and take the one of least cost. It looks at all
// when there are no more than scan, which is 4 at least. With totals that are a tick old, looking at all of many has
// every reactor send to the same one.
// Immutable.
type comparing struct {
	by    measure
	draws int
	scan  int
}

// Pick implements Picker.
func (p *comparing) Pick(v *View, l *Local, q *Request) int {
	l.fit(v)
	if p.by == byPeak {
		v.loads.keepPeaks()
	}
	n := len(v.order)
	if n <= scanMax {
		return v.least(l, q, v.order, v.drawOrder(l), p.by)
	}
	if n <= p.scan {
		return v.leastOfAll(l, q, p.by)
	}
	best := p.draw(v, l, q)
	if p.by == bySlow {
		for round := 0; best >= 0 && v.cell(best).slow.Load() >= useless && round < rounds; round++ {
			best = v.better(l, q, best, p.draw(v, l, q))
		}
	}
	return best
}

// turning is the Picker of methods that take turns while nothing is under way, and compare only where that does not tell
// whom to take: the weights are the shares, to the request.
// Owned by one goroutine.
type turning struct {
	turns Turns
	busy  comparing
}

// inTurn makes such Pickers.
func inTurn(busy comparing) func(int, int) Picker {
	return func(reactor, reactors int) Picker { return &turning{newTurns(reactor, reactors), busy} }
}

// Pick takes the one whose turn it is, unless it has something to do or is slow.
func (p *turning) Pick(v *View, l *Local, q *Request) int {
	l.fit(v)
	i := p.turns.Pick(v, nil, q)
	if i < 0 || len(v.order) == 1 || cost(v.cell(i), &l.pending[i], q.Tunnel, p.busy.by) == 0 {
		return i
	}
	return p.busy.Pick(v, l, q)
}

// Where half of a pool fails at once, an eighth of the requests draw three backends of that half. They draw again.
const (
	useless = 8 * slowOne // so slow is one that fails, or is stuck
	rounds  = 8
)

// draw draws some backends and returns the best of these.
func (p *comparing) draw(v *View, l *Local, q *Request) int {
	var list [drawsMax]uint16
	return v.least(l, q, list[:v.drawDistinct(l, &list, p.draws)], &inOrder, p.by)
}

// better returns the one of two backends that costs less by bySlow.
func (v *View) better(l *Local, q *Request, a, b int) int {
	x, y := v.cell(a), v.cell(b)
	if cost(y, &l.pending[b], q.Tunnel, bySlow) < cost(x, &l.pending[a], q.Tunnel, bySlow) {
		return b
	}
	return a
}

// Costs are compared with the mark of the backend in their low bits: the least of some numbers is found without a
// branch, which would be mispredicted half of the time. A mark is a rank, by which equal costs are compared, and the
// place of the backend in its list.
const (
	placeBits = 3 // up to drawsMax
	markBits  = 5
)

// marks is a mark for each place of a list.
type marks [drawsMax]uint8

// least returns the backend of least cost of a list that was not tried, and looks at all when it is none of these.
func (v *View) least(l *Local, q *Request, list []uint16, marked *marks, by measure) int {
	if !q.Tried.none() || len(list) == 0 {
		return v.leastUntried(l, q, list, by)
	}
	best, pages, pending, tunnel := ^uint64(0), v.pages, l.pending, q.Tunnel
	for k := uint(0); k < uint(len(list)); k++ {
		i := uint(list[k])
		at := cost(&pages[i/pageSize][i%pageSize], &pending[i], tunnel, by)<<markBits | uint64(marked[k%drawsMax])
		best = lesser(best, at)
	}
	return int(list[best&(drawsMax-1)])
}

// lesser is min without a branch, which in a loop the compiler makes of min.
func lesser(a, b uint64) uint64 {
	_, less := bits.Sub64(a, b, 0)
	return b ^ (a^b)&-less
}

// leastUntried is least for a request that was tried.
func (v *View) leastUntried(l *Local, q *Request, list []uint16, by measure) int {
	best, least := -1, ^uint64(0)
	for _, i := range list {
		if at := cost(v.cell(int(i)), &l.pending[i], q.Tunnel, by); at < least && !q.Tried.Has(int(i)) {
			best, least = int(i), at
		}
	}
	if best < 0 && len(list) < len(v.order) {
		return v.leastOfAll(l, q, by)
	}
	return best
}

// leastOfAll looks at all that are open, and draws among those of the least cost, by weight.
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
		weight := uint64(v.backends[i].Weight)
		sum += weight
		if part, _ := bits.Mul64(l.Random(), sum); part < weight {
			best = i
		}
	}
	return best
}

// inOrder has the first one of equals chosen.
var inOrder = marks{0, 1, 2, 3, 4, 5, 6, 7}

// cost returns what methods compare.
//
//	2^26 requests under way × 2^32 + 2^32 < 2^(64 - markBits)
func cost(c *cell, p *pending, tunnel bool, by measure) uint64 {
	by %= measures
	return uint64(load(c, p, tunnel))*uint64(c.steps[by].Load()) + uint64(c.bases[by].Load())
}
