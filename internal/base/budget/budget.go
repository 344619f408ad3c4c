// Package budget bounds the useless work that a peer can ask of a codec, by leaky buckets: a Limit for each kind of
// work, and for every connection a Bucket of each kind.
//
// It reads no clock: the time is a parameter, in nanoseconds.
package budget

// Limit bounds one kind of work: so much at once, and so much each second. A well-behaved peer stays far below.
type Limit struct {
	burst, perSecond int32
}

// Bucket is how much of a Limit is used up. The zero value is empty. Owned by its connection.
//
// It leaks only when it is full, so that work below the limit costs an addition.
type Bucket struct {
	level    int32  // below 0: so much is paid for in advance, and does not leak
	leakedAt uint32 // in steps; 0: nothing was spent yet
}

const (
	step           = int64(200e6) // ns
	stepsPerSecond = 5
	prepaidMax     = 64 << 10
)

// Spend takes n, and reports whether l allows it.
func (b *Bucket) Spend(l Limit, n int32, now int64) bool {
	if b.leakedAt == 0 {
		b.leakedAt = uint32(now/step) | 1
	}
	if b.level += n; b.level <= l.burst {
		return true
	}
	b.leak(l, uint32(now/step))
	return b.level <= l.burst
}

// leak takes away what the time since the last leak allows. The time that is not enough for one more stays.
func (b *Bucket) leak(l Limit, now uint32) {
	n := int64(int32(now-b.leakedAt)) * int64(l.perSecond) / stepsPerSecond
	if n > 0 {
		b.leakedAt += uint32((n*stepsPerSecond + int64(l.perSecond) - 1) / int64(l.perSecond))
		b.level -= int32(min(n, int64(b.level)))
	}
}

// Rule says what one kind of work may cost, and the fault of a peer that asks for more. S are the statistics that count
// such faults, E is a fault.
type Rule[S, E any] struct {
	limit   Limit
	fault   *E
	counter func(*S) *uint64
}

// NewRule makes a Rule.
func NewRule[S, E any](burst, perSecond int32, fault *E, counter func(*S) *uint64) Rule[S, E] {
	return Rule[S, E]{Limit{burst, perSecond}, fault, counter}
}

// Charge takes one from b, and returns the fault when that is not allowed.
func (r *Rule[S, E]) Charge(b *Bucket, stats *S, now int64) *E {
	if b.Spend(r.limit, 1, now) {
		return nil
	}
	*r.counter(stats)++
	return r.fault
}

// Earn gives n back: useful work pays for work that goes with it, but not for work that is still to come.
func (b *Bucket) Earn(n int32) {
	if b.level > 0 {
		b.level = max(b.level-n, 0)
	}
}

// Prepay pays for n that are still to come.
func (b *Bucket) Prepay(n int32) { b.level = max(b.level-n, -prepaidMax) }
