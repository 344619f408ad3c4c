package h2

// kind of abuse that is bounded by a leaky bucket.
type abuse uint8

const (
	rapidReset abuse = iota
	madeYouReset
	settingsFlood
	pingFlood
	priorityFlood
	emptyFlood
	windowFlood
	tinyWindow
	strayFlood

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
	// pays for one: a proxy that carries the calls of many clients on one connection gives up some at any time.
	rapidReset: {400, 40, ErrRapidReset, func(s *Stats) *uint64 { return &s.RapidReset }},
	// CVE-2025-8671: the same attack, with an RST_STREAM that the peer makes us send.
	madeYouReset: {200, 20, ErrMadeYouReset, func(s *Stats) *uint64 { return &s.MadeYouReset }},
	// CVE-2019-9515, CVE-2019-9512: each SETTINGS and PING has to be answered.
	settingsFlood: {50, 5, ErrSettingsFlood, func(s *Stats) *uint64 { return &s.SettingsFlood }},
	// gRPC measures the round trip by PING while data flows: data that we send pays for them, see earn.
	pingFlood: {400, 40, ErrPingFlood, func(s *Stats) *uint64 { return &s.PingFlood }},
	// CVE-2019-9513: frames that are read and ignored.
	priorityFlood: {1000, 100, ErrPriorityFlood, func(s *Stats) *uint64 { return &s.PriorityFlood }},
	// CVE-2019-9518: frames without content and without an end.
	emptyFlood: {100, 10, ErrEmptyFrameFlood, func(s *Stats) *uint64 { return &s.EmptyFrameFlood }},
	// Data that we send pays for them, by its bytes as well: Go's client opens both windows with every read of 4 KiB,
	// and it may read them long after we sent them.
	windowFlood: {2000, 400, ErrWindowUpdateFlood, func(s *Stats) *uint64 { return &s.WindowUpdateFlood }},
	// CVE-2019-9511: a window opened byte by byte makes a frame of each byte.
	tinyWindow: {200, 20, ErrTinyWindow, func(s *Stats) *uint64 { return &s.TinyWindow }},
	// Frames on closed streams: some are on their way when we reset a stream.
	strayFlood: {1000, 100, ErrStrayFlood, func(s *Stats) *uint64 { return &s.StrayFlood }},
}

// What pays for what, in frames.
const (
	updatesPaid  = 4   // WINDOW_UPDATE, by a head or a frame of data that we send
	updateBytes  = 256 // of such data, for one more
	strayPaid    = 32  // frames on closed streams, by a stream that the caller reset
	strayBytes   = 8   // of data in each of them, at least: small messages of gRPC
	prepaidMax   = 64 << 10
	priorityPaid = 2 // PRIORITY, by a head that we send
)

// rapidWithin, in ns: a stream that is reset sooner than this after it was opened spends budget.
const rapidWithin = int64(250e6)

// tinyFrame is the size below which a DATA frame that a window has cut short spends budget.
const tinyFrame = 128

// buckets are the levels of all budgets. They leak when one of them is spent, by the clock that the caller gives.
type buckets struct {
	level    [abuseCount]int32
	leakedAt int64
}

const leakEvery = int64(200e6) // ns: a fifth of a second, that perSecond divides by

// spend reports whether the budget of k allows n more.
func (b *buckets) spend(k abuse, n int32, now int64) bool {
	if b.level[k] += n; b.level[k] <= budgets[k].burst {
		return true
	}
	b.leak(now)
	return b.level[k] <= budgets[k].burst
}

// leak drains the buckets by the time that has passed since it was last called.
func (b *buckets) leak(now int64) {
	steps := (now - b.leakedAt) / leakEvery
	if steps <= 0 {
		return
	}
	b.leakedAt += steps * leakEvery
	for k := range b.level {
		if b.level[k] > 0 { // below 0: prepaid
			b.level[k] -= int32(min(steps*int64(budgets[k].perSecond)/5, int64(b.level[k])))
		}
	}
}

// earn gives n back: useful frames pay for the frames that accompany them.
func (b *buckets) earn(k abuse, n int32) {
	if b.level[k] > 0 { // below it, it was paid for
		b.level[k] = max(b.level[k]-n, 0)
	}
}

// prepay pays for n that are still to come.
func (b *buckets) prepay(k abuse, n int32) {
	b.level[k] = max(b.level[k]-n, -prepaidMax)
}
