package quic

// abuse is a kind of useless work that is bounded by a leaky bucket.
type abuse uint8

const (
	idleFrames abuse = iota
	keyUpdates

	abuseCount
)

// budget of one kind of abuse: so many at once, and so many each second. A well-behaved peer stays far below.
type budget struct {
	burst, perSecond int32
	fault            *Error
	counter          func(*Stats) *uint64
}

var budgets = [abuseCount]budget{
	// PING, MAX_… that raise nothing, packets of PADDING alone: each costs us a packet to open and one to acknowledge.
	idleFrames: {10_000, 1_000, errIdleFrames, func(s *Stats) *uint64 { return &s.IdleFrames }},
	// Each makes us derive keys.
	keyUpdates: {10, 1, errKeyUpdates, func(s *Stats) *uint64 { return &s.KeyUpdates }},
}

// buckets are the levels of all budgets. They leak when one of them is spent, by the clock that the caller gives.
type buckets struct {
	level    [abuseCount]int32
	leakedAt int64
}

const leakEvery = int64(1e9) // ns

// spend takes n of the budget of k, and returns the fault when it does not allow them.
func (b *buckets) spend(k abuse, n int32, now int64, s *Stats) *Error {
	if b.level[k] += n; b.level[k] <= budgets[k].burst {
		return nil
	}
	if b.leak(now); b.level[k] <= budgets[k].burst {
		return nil
	}
	*budgets[k].counter(s)++
	return budgets[k].fault
}

// leak drains the buckets by the time that has passed since it was last called.
func (b *buckets) leak(now int64) {
	steps := (now - b.leakedAt) / leakEvery
	if steps <= 0 {
		return
	}
	b.leakedAt += steps * leakEvery
	for k := range b.level {
		b.level[k] -= int32(min(steps*int64(budgets[k].perSecond), int64(b.level[k])))
	}
}
