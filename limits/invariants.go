//go:build invariants

package limits

import "fmt"

// These bound what checks itself: an estimator when it is copied or merged, a list after each change of its keys.
const (
	columnsCheckedMax  = 4096
	countersCheckedMax = 64
)

func (l *Lease) check() {
	if l.held < 0 || l.held > l.size {
		panic(fmt.Sprintf("limits: a lease of up to %d holds %d", l.size, l.held))
	}
}

func (t *LocalGCRATable) check(b *[bucketCells]uint64) { checkPrints(*b) }

// check panics when the invariants of SharedGCRATable do not hold for the bucket b. Its lock is held: so
// fingerprints do not change meanwhile.
func (t *SharedGCRATable) check(b *sharedBucket) { checkPrints(b.load()) }

func (t *LocalInFlight) check(b *[bucketCells]uint64) { checkPrints(*b) }

// check panics when the invariants of SharedInFlight do not hold for the bucket b, whose lock is held.
func (t *SharedInFlight) check(b *sharedBucket) { checkPrints(b.load()) }

func (b *sharedBucket) load() (words [bucketCells]uint64) {
	for i := range b {
		words[i] = b[i].Load()
	}
	return words
}

// checkPrints panics when a key could have two cells.
func checkPrints(b [bucketCells]uint64) {
	for i, w := range b {
		for _, other := range b[i+1:] {
			if print := w >> printShift; print != 0 && print == other>>printShift {
				panic(fmt.Sprintf("limits: the fingerprint %05x is twice in a bucket: %016x", print, b))
			}
		}
	}
}

func (c *Concurrency) check() {
	if !(c.limit >= concurrencyLeast) || !(c.floor >= 0) {
		panic(fmt.Sprintf("limits: a limit of %v with a floor of %v ns", c.limit, c.floor))
	}
}

func (e *LocalEstimator) check() {
	if len(e.columns) > columnsCheckedMax {
		return
	}
	var sums [sketchRows]uint64
	for _, column := range e.columns {
		for row, n := range column {
			sums[row] += n
		}
	}
	for row, sum := range sums {
		if sum > e.events || sum < e.events && !e.conservative {
			panic(fmt.Sprintf("limits: row %d adds up to %d, of %d events", row, sum, e.events))
		}
	}
}

func (s *SpaceSaving[K]) check() {
	if len(s.heap) > countersCheckedMax {
		return
	}
	for i, p := range s.heap {
		if says := s.counters[p.counter].place; says != uint32(i) {
			panic(fmt.Sprintf("limits: counter %d is at place %d, and says %d", p.counter, i, says))
		}
		if i > 0 && s.heap[(i-1)/2].count > p.count {
			panic(fmt.Sprintf("limits: place %d has %d, less than its parent", i, p.count))
		}
		if at := s.find(s.counters[p.counter].hash); s.index[at] != p.counter+1 {
			panic(fmt.Sprintf("limits: counter %d is not in the index", p.counter))
		}
	}
}
