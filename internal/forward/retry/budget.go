package retry

import (
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// whole is one retry in a Budget, which counts in thousandths.
const whole = 1000

// reserve is how many retries a Budget has that no answer of the last second paid for: an upstream with few requests
// gets them, and an upstream that has just started.
const reserve = 3

// RatioDefault is how many retries 100 good answers pay for, unless something else is said.
const RatioDefault = 20

// Times of a Budget, in ns.
const (
	second    = 1e9
	payEvery  = 10e6                   // a reactor adds what it has counted to the sum
	slotTime  = 125e6                  // of one slot
	slotCount = int(second / slotTime) // slots of a second
)

// Budget bounds the retries of an upstream, over all reactors.
// Safe for any goroutine; the arguments reactor and now belong to the reactor that calls.
//
//	tokens >= 0, in thousandths of a retry
type Budget struct {
	ratio  int64 // thousandths of a retry that a good answer pays
	tokens atomic.Int64
	good   [slotCount]atomic.Uint64 // number of a slot of time << 32 | the good answers in it
	tills  []till
}

// till is what a reactor has counted and not paid in.
// Owned by its reactor.
type till struct {
	good uint32
	last int64    // when the last of them came
	due  int64    // when they are paid in
	_    [40]byte // keeps the parts of two reactors apart in memory
}

// NewBudget makes a Budget for so many reactors. percent is how many retries 100 good answers pay for.
func NewBudget(reactors, percent int) *Budget {
	b := &Budget{ratio: int64(percent) * whole / 100, tills: make([]till, reactors)}
	b.tokens.Store(reserve * whole)
	return b
}

// Good notes a good answer. now is the time of the reactor in ns.
func (b *Budget) Good(reactor int, now int64) {
	t := &b.tills[reactor]
	if now < t.due {
		t.good++
		t.last = now
		return
	}
	if now-t.last > second {
		t.good = 0
	}
	t.good++
	t.last = now
	b.pay(t, now)
}

// Take takes a retry, and reports whether there was one.
func (b *Budget) Take(reactor int, now int64) bool {
	if t := &b.tills[reactor]; t.good > 0 {
		b.pay(t, now)
	}
	limit := b.limit(now)
	for {
		have := b.tokens.Load()
		left := min(have, limit) - whole
		if left < 0 {
			return false
		}
		if b.tokens.CompareAndSwap(have, left) {
			return true
		}
	}
}

// Return gives a retry back that was taken and not made.
func (b *Budget) Return() { b.tokens.Add(whole) }

// pay adds what a reactor has counted.
func (b *Budget) pay(t *till, now int64) {
	if invariant.On {
		defer b.check()
	}
	n := t.good
	t.good, t.due = 0, now+payEvery
	if now-t.last > second {
		return
	}
	b.count(n, t.last)
	limit := b.limit(now)
	for {
		have := b.tokens.Load()
		next := min(have+int64(n)*b.ratio, limit)
		if next == have || b.tokens.CompareAndSwap(have, next) {
			return
		}
	}
}

// count adds n answers to the slot of a time. Answers of a slot that has given way to a later one count for nothing.
func (b *Budget) count(n uint32, at int64) {
	slot := uint32(at / slotTime)
	cell := &b.good[int(slot)%slotCount]
	for {
		old := cell.Load()
		next := uint64(slot)<<32 | uint64(n)
		switch held := uint32(old >> 32); {
		case held == slot:
			next = old + uint64(n)
		case int32(held-slot) > 0:
			return
		}
		if cell.CompareAndSwap(old, next) {
			return
		}
	}
}

// limit returns the most that may be left at now: what the good answers of the last second have paid, and the reserve.
func (b *Budget) limit(now int64) int64 {
	slot, sum := uint32(now/slotTime), int64(0)
	for i := range b.good {
		v := b.good[i].Load()
		if age := slot - uint32(v>>32); int32(age) < int32(slotCount) {
			sum += int64(uint32(v))
		}
	}
	return sum*b.ratio + reserve*whole
}

// check panics when an invariant of b does not hold.
func (b *Budget) check() {
	n := b.tokens.Load()
	invariant.That(n >= 0, "a budget of %d", n)
}
