package h3

// abuse is a kind of useless work that is bounded by a leaky bucket.
type abuse uint8

const (
	rapidReset abuse = iota
	madeYouReset
	unknownFlood
	priorityFlood
	emptyFlood

	abuseCount
)

// budget of one kind of abuse: so many at once, and so many each second. A well-behaved peer stays far below.
type budget struct {
	burst, perSecond int32
	fault            *Error
	counter          func(*Stats) *uint64
}

var budgets = [abuseCount]budget{
	// CVE-2023-44487: a stream is opened and reset at once, and costs us a request each time. The head of an answer
	// pays for one.
	rapidReset: {400, 40, ErrRapidReset, func(s *Stats) *uint64 { return &s.RapidReset }},
	// CVE-2025-8671: the same attack, with a reset that the peer makes us send.
	madeYouReset: {200, 20, ErrMadeYouReset, func(s *Stats) *uint64 { return &s.MadeYouReset }},
	// Frames and streams of unknown types, and frames that change nothing.
	unknownFlood:  {1000, 100, ErrUnknownFlood, func(s *Stats) *uint64 { return &s.UnknownFlood }},
	priorityFlood: {1000, 100, ErrPriorityFlood, func(s *Stats) *uint64 { return &s.PriorityFlood }},
	// DATA frames without content. Those with content pay for one each.
	emptyFlood: {100, 10, ErrEmptyFlood, func(s *Stats) *uint64 { return &s.EmptyFlood }},
}

// buckets are the levels of all budgets. They leak when one of them is spent, by the clock that the caller gives.
type buckets struct {
	level    [abuseCount]int32
	leakedAt int64
}

const leakEvery = int64(200e6) // ns: a fifth of a second, that perSecond divides by

// spend takes one of the budget of k, and returns the fault when it does not allow that.
func (c *Conn) spend(k abuse) *Error {
	b := &c.buckets
	if b.leakedAt == 0 {
		b.leakedAt = c.now
	}
	if b.level[k]++; b.level[k] <= budgets[k].burst {
		return nil
	}
	if steps := (c.now - b.leakedAt) / leakEvery; steps > 0 {
		b.leakedAt += steps * leakEvery
		for k := range b.level {
			b.level[k] -= int32(min(steps*int64(budgets[k].perSecond)/5, int64(b.level[k])))
		}
	}
	if b.level[k] <= budgets[k].burst {
		return nil
	}
	*budgets[k].counter(&c.arena.Stats)++
	return budgets[k].fault
}

// earn gives one back: useful frames pay for others.
func (c *Conn) earn(k abuse) { c.buckets.level[k] = max(c.buckets.level[k]-1, 0) }
