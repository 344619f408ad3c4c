package limits

import (
	"fmt"
	"math"
	"math/bits"
	"sync/atomic"
)

// sketchRows is the number of rows of a sketch. A further row costs as much as each of these, and makes an
// estimate beyond the bound e times as rare.
const sketchRows = 4

// EstimatorOptions are the options of an Estimator. The zero value is good for a few thousand keys.
type EstimatorOptions struct {
	// Width is the number of counters in a row, rounded up to a power of two; 0: 1024. An estimate is too high by
	// more than e/Width of all events with a probability of e^-4, 1.8 %. WidthFor chooses it.
	Width int

	// Conservative raises only those counters of a key that are the least (Estan & Varghese 2002). Estimates are
	// about half as much too high then, as there is less of other keys in a counter; but nothing can be subtracted.
	Conservative bool
}

// WidthFor returns the width at which an estimate is too high by more than the part share of all events in 1.8 % of
// cases: 0.001 gives 4096.
func WidthFor(share float64) int {
	if !(share > 0) {
		panic("limits: an error of zero or less needs a table of all keys")
	}
	return ceilPow2(int(min(math.Ceil(math.E/share), widthMax)))
}

const (
	widthDefault = 1024
	widthMax     = 1 << 26 // of four rows: 2 GiB
)

func widthOf(width int) int {
	if width < 0 || width > widthMax {
		panic(fmt.Sprintf("limits: a row of %d counters", width))
	}
	if width == 0 {
		return widthDefault
	}
	return ceilPow2(width)
}

func ceilPow2(n int) int { return 1 << bits.Len(uint(max(n, 1)-1)) }

// LocalEstimator counts events by key in a fixed amount of memory, whatever the number of keys: a count-min sketch
// (Cormode & Muthukrishnan 2005). An estimate is never too low. Of n events in all it is too high by more than
// e/Width · n with a probability of e^-4. Owned by one goroutine.
//
//	       hash ──┬─► row 0  │ 3 │ 0 │ 7 │ 1 │ …   an event raises one counter of each row
//	 two products ├─► row 1  │ 4 │ 9 │ 0 │ 0 │ …   the estimate is the least of the four
//	              ├─► row 2  │ …
//	              └─► row 3  │ …
//
//	each row adds up to events, or to less when the update is conservative
type LocalEstimator struct {
	columns      [][sketchRows]uint64 // a counter of each row
	events       uint64
	conservative bool
}

// NewLocalEstimator returns an estimator without events.
func NewLocalEstimator(o EstimatorOptions) *LocalEstimator {
	return &LocalEstimator{columns: make([][sketchRows]uint64, widthOf(o.Width)), conservative: o.Conservative}
}

// Add counts n events of the key with this hash and returns the estimate of its events, these included.
func (e *LocalEstimator) Add(hash, n uint64) uint64 {
	r0, r1, r2, r3 := rowHashes(hash)
	m, c := uint64(len(e.columns)-1), e.columns
	c0, c1, c2, c3 := &c[r0&m][0], &c[r1&m][1], &c[r2&m][2], &c[r3&m][3]
	e.events += n
	if e.conservative {
		least := min(*c0, *c1, *c2, *c3) + n
		*c0, *c1, *c2, *c3 = max(*c0, least), max(*c1, least), max(*c2, least), max(*c3, least)
		return least
	}
	n0, n1, n2, n3 := *c0+n, *c1+n, *c2+n, *c3+n
	*c0, *c1, *c2, *c3 = n0, n1, n2, n3
	return min(n0, n1, n2, n3)
}

// Sub takes n events back that Add has counted. It panics when the update is conservative.
func (e *LocalEstimator) Sub(hash, n uint64) {
	if e.conservative {
		panic(errSub)
	}
	r0, r1, r2, r3 := rowHashes(hash)
	m, c := uint64(len(e.columns)-1), e.columns
	c0, c1, c2, c3 := &c[r0&m][0], &c[r1&m][1], &c[r2&m][2], &c[r3&m][3]
	e.events -= n
	*c0 -= n
	*c1 -= n
	*c2 -= n
	*c3 -= n
}

const errSub = "limits: what was counted conservatively cannot be subtracted"

// Estimate returns the estimate of a key's events.
func (e *LocalEstimator) Estimate(hash uint64) uint64 {
	r0, r1, r2, r3 := rowHashes(hash)
	m, c := uint64(len(e.columns)-1), e.columns
	c0, c1, c2, c3 := &c[r0&m][0], &c[r1&m][1], &c[r2&m][2], &c[r3&m][3]
	return min(*c0, *c1, *c2, *c3)
}

// Events returns the number of all events.
func (e *LocalEstimator) Events() uint64 { return e.events }

// Error returns how much too high an estimate is at most, but for 1.8 % of keys: e/Width of all events.
func (e *LocalEstimator) Error() uint64 { return sketchError(e.events, len(e.columns)) }

func sketchError(events uint64, width int) uint64 {
	return uint64(math.Ceil(math.E / float64(width) * float64(events)))
}

// Reset forgets all events.
func (e *LocalEstimator) Reset() {
	clear(e.columns)
	e.events = 0
}

// Snapshot copies e into s, which is made when it is nil or has another width, and returns it. The copy belongs to
// the caller. It may be handed to another goroutine, which merges the copies of all owners and gives them back to be
// used again.
func (e *LocalEstimator) Snapshot(s *LocalEstimator) *LocalEstimator {
	if s == nil || len(s.columns) != len(e.columns) {
		s = NewLocalEstimator(EstimatorOptions{Width: len(e.columns)})
	}
	copy(s.columns, e.columns)
	s.events, s.conservative = e.events, e.conservative
	s.check()
	return s
}

// Merge adds the events of from, whose hashes are of the same Hasher. Estimates stay never too low, and the bound is
// the bound of all events together. It panics when the widths differ.
func (e *LocalEstimator) Merge(from *LocalEstimator) {
	if len(e.columns) != len(from.columns) {
		panic(errMerge)
	}
	for i := range from.columns {
		for row, n := range from.columns[i] {
			e.columns[i][row] += n
		}
	}
	e.events += from.events
	e.check()
}

const errMerge = "limits: what is merged has another size"

// SharedEstimator is LocalEstimator for many goroutines. Safe for any goroutine. An event costs four locked
// additions: where each goroutine can own a LocalEstimator, that is several times as fast, and scales.
type SharedEstimator struct {
	columns      [][sketchRows]atomic.Uint64
	conservative bool
}

// NewSharedEstimator returns an estimator without events.
func NewSharedEstimator(o EstimatorOptions) *SharedEstimator {
	return &SharedEstimator{
		columns: make([][sketchRows]atomic.Uint64, widthOf(o.Width)), conservative: o.Conservative,
	}
}

// Add counts n events of the key with this hash and returns the estimate of its events, these included.
func (e *SharedEstimator) Add(hash, n uint64) uint64 {
	r0, r1, r2, r3 := rowHashes(hash)
	m, c := uint64(len(e.columns)-1), e.columns
	c0, c1, c2, c3 := &c[r0&m][0], &c[r1&m][1], &c[r2&m][2], &c[r3&m][3]
	if e.conservative {
		return raise([sketchRows]*atomic.Uint64{c0, c1, c2, c3}, n)
	}
	return min(c0.Add(n), c1.Add(n), c2.Add(n), c3.Add(n))
}

// raise is the conservative update by several goroutines. All counters are read before the first one is raised, and a
// swap that fails begins anew. So of two that read the same least value one fails: each has a counter with that value
// to raise, the goroutine that came second to either of them has read it too early, and counters never fall. Hence the
// raises of one key add up, and its estimate is never too low.
func raise(cells [sketchRows]*atomic.Uint64, n uint64) uint64 {
	var was [sketchRows]uint64
	for {
		for i, c := range cells {
			was[i] = c.Load()
		}
		least := min(was[0], was[1], was[2], was[3]) + n
		if raiseTo(least, cells, was) {
			return least
		}
	}
}

func raiseTo(least uint64, cells [sketchRows]*atomic.Uint64, was [sketchRows]uint64) bool {
	for i, c := range cells {
		if was[i] < least && !c.CompareAndSwap(was[i], least) {
			return false
		}
	}
	return true
}

// Sub takes n events back that Add has counted. It panics when the update is conservative.
func (e *SharedEstimator) Sub(hash, n uint64) {
	if e.conservative {
		panic(errSub)
	}
	r0, r1, r2, r3 := rowHashes(hash)
	m, c := uint64(len(e.columns)-1), e.columns
	c0, c1, c2, c3 := &c[r0&m][0], &c[r1&m][1], &c[r2&m][2], &c[r3&m][3]
	c0.Add(-n)
	c1.Add(-n)
	c2.Add(-n)
	c3.Add(-n)
}

// Estimate returns the estimate of a key's events. What other goroutines add or subtract meanwhile may be in it or
// not.
func (e *SharedEstimator) Estimate(hash uint64) uint64 {
	r0, r1, r2, r3 := rowHashes(hash)
	m, c := uint64(len(e.columns)-1), e.columns
	c0, c1, c2, c3 := &c[r0&m][0], &c[r1&m][1], &c[r2&m][2], &c[r3&m][3]
	return min(c0.Load(), c1.Load(), c2.Load(), c3.Load())
}

// Reset forgets all events. Some of those that are counted at the same time may stay, and then in some rows only: so
// it is not for an estimator whose events are subtracted.
func (e *SharedEstimator) Reset() {
	for i := range e.columns {
		for row := range e.columns[i] {
			e.columns[i][row].Store(0)
		}
	}
}
