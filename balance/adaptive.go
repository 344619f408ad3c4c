package balance

// adaptiveDraws is how many backends Adaptive compares.
const adaptiveDraws = 3

// adaptiveCost is the requests under way and one more, times how slow the backend is, less one, over the weight: where
// nothing is under way and no backend is slow, the costs are the same and the weights are the shares, as in loadCost.
//
//	inflight+1 ≤ 2^18    slow ≤ 2^18    share ≤ 2^28    their product < 2^64
func adaptiveCost(v *View, l *Local, i int, tunnel bool) uint64 {
	c := v.cell(i)
	return ((l.load(v, i, tunnel)+1)*uint64(c.slow.Load()) - slowOne) * uint64(c.share.Load())
}

// pickAdaptive draws three different backends by weight and takes the one of least cost; of four or fewer it looks at
// all. See docs/balancing.md.
func pickAdaptive(v *View, l *Local, q *Request) int {
	if n := len(v.order); n <= scanMax || !v.equal {
		return v.leastOfDrawn(l, q, adaptiveDraws, scanMax, adaptiveCost)
	}
	// The common case by itself: weights are equal and so are out of the comparison, except for a slow start.
	l.fit(v)
	var drawn [drawsMax]uint16
	v.drawPlaces(l, &drawn, adaptiveDraws)
	a, b, c := int(drawn[0]), int(drawn[1]), int(drawn[2])
	x, y, z := adaptiveCost(v, l, a, q.Tunnel), adaptiveCost(v, l, b, q.Tunnel), adaptiveCost(v, l, c, q.Tunnel)
	if !q.Tried.none() {
		return v.leastOfDrawn(l, q, adaptiveDraws, scanMax, adaptiveCost)
	}
	if y < x {
		a, x = b, y
	}
	if z < x {
		a = c
	}
	return a
}

// peakCost is the requests under way and one more, over the weight, times the peak of the latency.
func peakCost(v *View, l *Local, i int, tunnel bool) uint64 {
	c := v.cell(i)
	s := sample(c.peak.Load())
	lat := s.us()
	if s == 0 {
		lat = float64(v.loads.Mean())
	} else {
		lat *= faded(l.now-s.ms(), peakHalf)
	}
	return uint64((lat + 1) * float64(l.load(v, i, tunnel)+1) * float64(c.share.Load()))
}

// pickPeak draws two and takes the one with less under way times the peak of its latency (Finagle's PeakEwma). A
// backend that fails fast draws all requests; Adaptive has no such weakness.
func pickPeak(v *View, l *Local, q *Request) int { return v.leastOfDrawn(l, q, 2, 1, peakCost) }
