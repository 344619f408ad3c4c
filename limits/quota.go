package limits

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Quota says what a limiter admits: Count events per Per in the long run, and Burst of them at once. It is the limit of
// golang.org/x/time/rate with rate Count/Per and burst Burst; nginx and throttled count the first event apart, so their
// bursts are one less. The time between two events, Per/Count, is rounded up to a nanosecond.
type Quota struct {
	Count int64
	Per   time.Duration
	Burst int64 // events admitted at once after a rest; 0: Count
}

// Never is the wait for something that no wait makes possible: more events at once than the burst.
const Never = time.Duration(math.MaxInt64)

const (
	// clockBack is how far a clock may go back, or the clock readings of two goroutines may lie apart, without
	// anything being admitted twice. After a longer step back the state of a cell lies further in the future than any
	// event can have put it; then the cell starts afresh, instead of refusing everything until the clock is there
	// again.
	clockBack = int64(time.Second)

	burstMax = 1 << 32
	spanMax  = int64(1) << 61 // ns: so that a time, a burst and a step of the clock add up without overflow
)

var errQuota = errors.New("limits: quota")

// Validate returns an error that says what is wrong with q, or nil. The constructors panic where it does not
// return nil: validate what comes from a configuration.
func (q Quota) Validate() error {
	switch {
	case q.Count < 1:
		return fmt.Errorf("%w: count %d is less than 1", errQuota, q.Count)
	case q.Per < 1:
		return fmt.Errorf("%w: period %v is not positive", errQuota, q.Per)
	case q.Count > int64(q.Per):
		return fmt.Errorf("%w: %d per %v is more than one event in a nanosecond", errQuota, q.Count, q.Per)
	case q.Burst < 0:
		return fmt.Errorf("%w: burst %d is negative", errQuota, q.Burst)
	case q.burst() > burstMax:
		return fmt.Errorf("%w: a burst of %d is more than %d", errQuota, q.burst(), int64(burstMax))
	case q.burst() > spanMax/q.interval():
		return fmt.Errorf("%w: a burst of %d fills again in more than 73 years", errQuota, q.burst())
	}
	return nil
}

func (q Quota) burst() int64 {
	if q.Burst == 0 {
		return q.Count
	}
	return q.Burst
}

// interval returns the time between two events, rounded up: so the rate is never more than asked for.
func (q Quota) interval() int64 { return (int64(q.Per)-1)/q.Count + 1 }

// State is what is left of a quota, as fields of an answer need it.
type State struct {
	Remaining int64         // events that would be admitted now
	Reset     time.Duration // until the whole burst is there again
}

// Seconds returns d in whole seconds, rounded up, as Retry-After (RFC 9110 §10.2.3) and the fields of RateLimit want
// it: a client that waits for so long is not refused again for a fraction of a second. Less than a millisecond is
// left out, which is how much a wait may be too long by rounding, and which an answer and a request take on their
// way. Never stays the largest number.
func Seconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	d = max(d-time.Millisecond, 0)
	return max((int64(d)-1)/int64(time.Second)+1, 1)
}

// pace is a Quota in nanoseconds. Immutable.
type pace struct {
	interval int64 // between two events
	span     int64 // of a burst: burst * interval
	burst    int64
	future   uint64 // a TAT further ahead than this was left by a clock that went back
}

func newPace(q Quota) pace {
	if err := q.Validate(); err != nil {
		panic(err.Error())
	}
	p := pace{interval: q.interval(), burst: q.burst()}
	p.span = p.burst * p.interval
	p.future = uint64(p.span + clockBack)
	return p
}

// ahead returns how far the theoretical arrival time tat lies after now: 0 when it has passed, and when it lies too
// far ahead to be true.
func (p *pace) ahead(tat, now int64) int64 {
	if d := tat - now; uint64(d) <= p.future {
		return d
	}
	return 0
}

func (p *pace) state(tat, now int64) State {
	d := p.ahead(tat, now)
	return State{Remaining: max(p.span-d, 0) / p.interval, Reset: time.Duration(d)}
}

// never is the wait for n events that no burst has room for: 0 for none, which are always admitted.
func never(n int64) time.Duration {
	if n == 0 {
		return 0
	}
	return Never
}
