package retry

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// HedgeRatio is how many hedges 100 good answers pay for.
const HedgeRatio = 5

// Hedge says when a request that waits for its answer is sent to another member as well (Dean and Barroso, "The Tail at
// Scale", 2013). Immutable once used.
type Hedge struct {
	After  time.Duration // no earlier than this
	Heads  *Heads        // nor before most of the others have their answers; nil: they do not count
	Budget *Budget       // nil: there is no limit
}

// NewHedge makes a Hedge with Heads and a Budget of its own, for so many reactors.
func NewHedge(reactors int, after time.Duration) *Hedge {
	return &Hedge{After: after, Heads: NewHeads(reactors), Budget: NewBudget(reactors, HedgeRatio)}
}

// Delay returns how long after its first attempt began a request is hedged. reactor and now belong to the caller.
func (h *Hedge) Delay(reactor int, now int64) time.Duration {
	least := max(h.After, hedgeLeast)
	if h.Heads == nil {
		return least
	}
	return max(least, h.Heads.Usual(reactor, now))
}

// hedgeLeast is as exactly as timers are kept.
const hedgeLeast = time.Millisecond

// The histogram of Heads has eight buckets for each doubling: a bucket is an eighth wide at the most.
const (
	headsSubBits  = 3
	headsSub      = 1 << headsSubBits
	headsMax      = 1<<28 - 1 // µs: 268 s; longer times count as this
	headsBuckets  = (28-headsSubBits)*headsSub + headsSub
	headsSlots    = 6    // of the window, the present one among them
	headsSlotTime = 2e9  // ns, of one slot
	headsEvery    = 1e8  // ns after which a reactor tells the others, and looks
	headsLeast    = 20   // times that say something
	headsShare    = 0.95 // of the times that Usual is no shorter than
)

// Heads is how long the heads of the answers of an upstream took in the last 10 to 12 seconds, over all reactors.
// Safe for any goroutine; the arguments reactor and now belong to the reactor that calls.
type Heads struct {
	slots   [headsSlots]headsSlot
	tallies []headsTally
}

// headsSlot is the times of one slot. Reactors that begin a slot at the same moment may lose some of them, by intent.
type headsSlot struct {
	number atomic.Uint32 // of the slot of time; 0: none yet
	counts [headsBuckets]atomic.Uint32
}

// headsTally is what a reactor has counted and not told the others, and what it knows of all.
// Owned by its reactor.
type headsTally struct {
	counts [headsBuckets]uint32
	any    bool
	told   int64 // when it told the others last
	looked int64 // when usual was found
	usual  time.Duration
	_      [32]byte // keeps the parts of two reactors apart in memory
}

// NewHeads makes Heads for so many reactors.
func NewHeads(reactors int) *Heads { return &Heads{tallies: make([]headsTally, reactors)} }

// Add notes the time d from the beginning of an attempt to the head of its answer, or to the moment at which the answer
// was given up.
func (h *Heads) Add(reactor int, d time.Duration, now int64) {
	t := &h.tallies[reactor]
	t.counts[headsBucket(d)]++
	t.any = true
	if now-t.told >= headsEvery {
		h.tell(t, now)
	}
}

// Usual returns a time that 95 of 100 answers do not exceed, 0 while too few are known. It may be an eighth too long.
func (h *Heads) Usual(reactor int, now int64) time.Duration {
	t := &h.tallies[reactor]
	if now-t.looked < headsEvery && t.looked > 0 {
		return t.usual
	}
	if t.any {
		h.tell(t, now)
	}
	t.looked, t.usual = now, h.quantile(now)
	return t.usual
}

// tell adds what a reactor has counted to the present slot.
func (h *Heads) tell(t *headsTally, now int64) {
	number := headsNumber(now)
	s := &h.slots[number%headsSlots]
	if old := s.number.Load(); old != number && s.number.CompareAndSwap(old, number) {
		for i := range s.counts {
			s.counts[i].Store(0)
		}
	}
	for i, n := range t.counts {
		if n > 0 {
			s.counts[i].Add(n)
			t.counts[i] = 0
		}
	}
	t.told, t.any = now, false
}

// quantile returns the upper end of the bucket in which the share of all times is reached.
func (h *Heads) quantile(now int64) time.Duration {
	var sums [headsBuckets]uint32
	total, number := uint32(0), headsNumber(now)
	for s := range h.slots {
		slot := &h.slots[s]
		if age := number - slot.number.Load(); int32(age) < 0 || age >= headsSlots {
			continue
		}
		for i := range sums {
			n := slot.counts[i].Load()
			sums[i] += n
			total += n
		}
	}
	if total < headsLeast {
		return 0
	}
	left := uint32(float64(total) * headsShare)
	for i, n := range sums {
		if n > left {
			return headsEnd(i)
		}
		left -= n
	}
	return headsEnd(headsBuckets - 1)
}

// headsNumber returns the number of the slot of a time, never 0.
func headsNumber(now int64) uint32 { return uint32(now/headsSlotTime) + 1 }

// headsBucket returns the bucket of a time: its exponent, and the three bits after the first one.
func headsBucket(d time.Duration) int {
	us := uint32(min(max(d.Microseconds(), 0), headsMax))
	shift := max(bits.Len32(us)-headsSubBits-1, 0)
	return shift<<headsSubBits + int(us>>shift)
}

// headsEnd returns the longest time of a bucket.
func headsEnd(bucket int) time.Duration {
	shift := max(bucket>>headsSubBits-1, 0)
	us := (bucket-shift<<headsSubBits+1)<<shift - 1
	return time.Duration(us+1) * time.Microsecond
}
