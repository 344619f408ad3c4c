package balance

// scanMax is how many open backends a method looks at all of. With totals that are a tick old, looking at all of many
// has every reactor send to the same one.
const scanMax = 4

// cost is what a method compares: the least is chosen.
type cost func(v *View, l *Local, i int, tunnel bool) uint64

// pickRandom draws one, by weight.
func pickRandom(v *View, l *Local, q *Request) int {
	if len(v.order) == 0 {
		return -1
	}
	i := v.draw(l.Random())
	if q.Tried.none() || !q.Tried.Has(i) {
		return i
	}
	return v.again(l, q)
}

// again draws until there is one that was not tried; where luck is against it, it takes the next one in order.
func (v *View) again(l *Local, q *Request) int {
	for range 4 {
		if i := v.draw(l.Random()); !q.Tried.Has(i) {
			return i
		}
	}
	return v.anyOf(int(scale(uint32(l.Random()), uint32(len(v.order)))), q)
}

// loadCost is the requests under way over the weight. Where nothing is under way the costs are the same whatever the
// weights, so that the first one drawn is taken: then the weights are the shares.
func loadCost(v *View, l *Local, i int, tunnel bool) uint64 {
	return l.load(v, i, tunnel) * uint64(v.cell(i).share.Load())
}

// pickOfTwo draws two and takes the one with less under way (Mitzenmacher 2001).
func pickOfTwo(v *View, l *Local, q *Request) int { return v.leastOfDrawn(l, q, 2, 1, loadCost) }

// pickLeast takes the one with the least under way: of all up to 16, else of eight that it draws.
func pickLeast(v *View, l *Local, q *Request) int {
	return v.leastOfDrawn(l, q, drawsMax, 16, loadCost)
}

// leastOfDrawn draws so many and takes the one of least cost; it looks at all when there are no more than scan.
func (v *View) leastOfDrawn(l *Local, q *Request, draws, scan int, c cost) int {
	l.fit(v)
	n := len(v.order)
	if n <= scan || n <= draws {
		return v.leastOfAll(l, q, c)
	}
	var drawn [drawsMax]uint16
	found := v.drawDistinct(l, &drawn, draws)
	best, least := -1, ^uint64(0)
	for _, i := range drawn[:found] {
		if at := c(v, l, int(i), q.Tunnel); at < least && !q.Tried.Has(int(i)) {
			best, least = int(i), at
		}
	}
	if best < 0 {
		return v.leastOfAll(l, q, c) // all drawn were tried
	}
	return best
}

// leastOfAll looks at all. Of equal ones it takes the first one drawn, by weight, or else the first from a random place
// on.
func (v *View) leastOfAll(l *Local, q *Request, c cost) int {
	l.fit(v)
	n := len(v.order)
	if n == 0 {
		return -1
	}
	word := l.Random()
	best, least := v.draw(word), ^uint64(0)
	if q.Tried.Has(best) {
		best = -1
	} else {
		least = c(v, l, best, q.Tunnel)
	}
	place := int(scale(uint32(word), uint32(n)))
	for range n {
		i := int(v.order[place])
		if at := c(v, l, i, q.Tunnel); at < least && !q.Tried.Has(i) {
			best, least = i, at
		}
		if place++; place == n {
			place = 0
		}
	}
	return best
}
