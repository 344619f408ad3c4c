package meter

import (
	"math/bits"
	"time"
)

// Bounds are the upper bounds of the buckets of a Histogram, which they include. The last bucket has none.
var Bounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Buckets is how many buckets a Histogram has.
const Buckets = len(Bounds) + 1

// Histogram counts durations.
//
//	an element of counts has durations above the bound before its own, up to its own
type Histogram struct {
	counts [Buckets]uint64
	sum    uint64 // ns
}

// shortest is the bit length of the first bound: all that is shorter is in the first bucket.
const shortest = 20

// bound is one of Bounds with the bucket below it.
type bound struct {
	bucket uint64
	most   int64 // ns that are in bucket; longer ones are in the next one
}

// byLength has by bit length of a duration, less shortest, the only bound that it may have to be compared with.
var byLength = func() (t [64 - shortest + 1]bound) {
	for i := range t {
		low := int64(1) << (shortest + i - 1) // the least duration of this length
		b := 0
		for b < len(Bounds) && int64(Bounds[b]) < low {
			b++
		}
		t[i] = bound{uint64(b), 1<<63 - 1}
		if b < len(Bounds) {
			t[i].most = int64(Bounds[b])
		}
	}
	t[0] = bound{0, int64(Bounds[0])} // and all that is shorter
	return t
}()

// observe counts a duration. One below 0 comes from a clock that went back, and counts as 0.
func (h *Histogram) observe(ns int64) {
	ns = max(ns, 0)
	b := &byLength[max(bits.Len64(uint64(ns)), shortest)-shortest]
	bucket := b.bucket
	if ns > b.most {
		bucket++
	}
	h.counts[bucket]++
	h.sum += uint64(ns)
}

// Merge adds n to what key stands for in h: see Delta.
func (h *Histogram) Merge(key uint32, n uint64) {
	if key == sumKey {
		h.sum += n
		return
	}
	h.counts[key] += n
}

// Add adds what more has counted to h.
func (h *Histogram) Add(more *Histogram) {
	for i, n := range more.counts {
		h.counts[i] += n
	}
	h.sum += more.sum
}

// Counts returns how many durations each bucket has, without the durations of the buckets below it. It is borrowed, and
// changes with h.
func (h *Histogram) Counts() []uint64 { return h.counts[:] }

// Count returns how many durations there are in all.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.counts {
		n += c
	}
	return n
}

// Sum returns the sum of all durations.
func (h *Histogram) Sum() time.Duration { return time.Duration(h.sum) }

// take appends what was counted since the last take, with base added to its keys.
func (h *Histogram) take(into []Delta, of int32, base uint32) []Delta {
	for i := range h.counts {
		if n := h.counts[i]; n > 0 {
			into = append(into, Delta{of, base + uint32(i), n})
			h.counts[i] = 0
		}
	}
	if h.sum > 0 {
		into = append(into, Delta{of, base + sumKey, h.sum})
		h.sum = 0
	}
	return into
}
