package health

import (
	"strconv"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// Rules say when a member is checked, and how many results decide.
// Immutable once used.
type Rules struct {
	Interval time.Duration // between two checks of a member that serves; 0: 5 s
	Fast     time.Duration // from the first result that contradicts its state until that is decided; 0: 1 s or Interval
	Down     time.Duration // between two checks of a member that is down; 0: as Interval
	Rise     int           // passed checks in a row that bring a member up; 0: 2
	Fall     int           // failed ones that take it down; 0: 3
	Start    Start
}

// Start is the state of a member before its first result.
type Start uint8

// The states, in the order of the words of a configuration. The first result decides, except that a
// member that starts down needs Rules.Rise.
const (
	StartUp      Start = iota // it serves
	StartDown                 // it does not serve
	StartChecked              // it does not serve, and is checked within a second
)

// The bounds of the time between two checks of a member that stays down.
const (
	downLong = 10 * time.Minute // from then on the time doubles
	downMax  = time.Minute      // up to this, unless Rules.Down is longer
)

// startSpread bounds the time to the first check of a member that does not serve before it.
const startSpread = time.Second

// Outcome is what a check found.
type Outcome uint8

// The outcomes.
const (
	Passed   Outcome = iota
	Failed           // a refusal, or an answer that is wrong
	TimedOut         // no answer in time
)

// Result is a check that has ended.
type Result struct {
	Outcome Outcome
	Began   int64 // when it began
	Excused bool  // it failed, and the member may not be at fault: it counts neither way
	Doubted bool  // at least half of all members fail: a verdict waits for one more result
}

// Verdict is what a result decides.
type Verdict uint8

// The verdicts.
const (
	Undecided Verdict = iota // the state stays as it is
	Up
	Down
)

// Check decides from results whether a member is up, and when it is checked next. It reads no clock and does no I/O.
// Times are in nanoseconds of any clock that never goes back.
// Owned by its caller.
//
//	undecided ──first result──► up ──Fall failed in a row──► down
//	                             ▲                             │
//	                             └──────Rise passed in a row───┘
//
//	0 <= contrary
//	down and decided  =>  Rules.Down <= downWait <= max(Rules.Down, downMax)
type Check struct {
	rules    *Rules
	random   uint64
	since    int64 // when it went down
	downWait int64 // between two checks while it is down
	contrary int   // results in a row that contradict the state
	up       bool
	decided  bool // there was a result that counts
	doubted  bool // a verdict waits for one more result
}

// Begin starts anew and returns the time of the first check. seed stands for the member and this process: checks of the
// same seed keep their place in the interval, also over a restart; checks of different seeds are spread over it.
func (c *Check) Begin(rules *Rules, seed uint64, now int64) (first int64) {
	*c = Check{rules: rules, random: seed | 1, up: rules.Start == StartUp}
	spread := mean(int64(rules.Interval))
	if rules.Start != StartUp {
		spread = min(spread, int64(startSpread))
	}
	phase := int64(seed % uint64(spread))
	return now + ((phase-now)%spread+spread)%spread
}

// Rule replaces the rules and keeps what is known: a member that is up, or down, stays so until results say otherwise.
// It returns the time of the next check.
func (c *Check) Rule(rules *Rules, seed uint64, now int64) (first int64) {
	up, decided, since := c.up, c.decided, c.since
	if first = c.Begin(rules, seed, now); decided {
		c.up, c.decided, c.since, c.downWait = up, true, since, int64(rules.Down)
	}
	return first
}

// IsUp reports whether the member serves as far as its checks go.
func (c *Check) IsUp() bool { return c.up }

// Contrary returns how many results in a row contradict the state.
func (c *Check) Contrary() int { return c.contrary }

// Step takes a result at the time now, and returns the time of the next check and what was decided.
func (c *Check) Step(now int64, r Result) (next int64, v Verdict) {
	if !r.Excused {
		v = c.decide(now, r)
	}
	period := c.period(now)
	if invariant.On {
		c.check()
	}
	// Never before the period is over, however soon the check failed: else a refusal would be repeated at once.
	return max(r.Began+c.vary(period), now), v
}

// decide counts r.
func (c *Check) decide(now int64, r Result) Verdict {
	passed := r.Outcome == Passed
	if passed == c.up {
		c.contrary, c.doubted = 0, false
		if c.decided {
			return Undecided
		}
		return c.settle(now, passed)
	}
	c.contrary++
	switch {
	case c.contrary < c.needed(passed):
		return Undecided
	case !passed && r.Doubted && !c.doubted:
		c.doubted = true
		return Undecided
	}
	return c.settle(now, passed)
}

// needed returns how many results in a row decide.
func (c *Check) needed(passed bool) int {
	switch {
	case !c.decided && (!passed || c.rules.Start != StartDown):
		return 1
	case passed:
		return c.rules.Rise
	}
	return c.rules.Fall
}

// streak is results in a row, of those that decide.
type streak struct{ n, of int }

// String returns "2/3".
func (s streak) String() string { return strconv.Itoa(s.n) + "/" + strconv.Itoa(max(s.n, s.of)) }

// streakWith returns the results in a row with one more that passes or not.
func (c *Check) streakWith(passed bool) streak {
	n := 1
	if passed != c.up {
		n += c.contrary
	}
	return streak{n, c.needed(passed)}
}

// settle makes the member up or down.
func (c *Check) settle(now int64, up bool) Verdict {
	c.up, c.decided, c.contrary, c.doubted = up, true, 0, false
	if up {
		return Up
	}
	c.since, c.downWait = now, int64(c.rules.Down)
	return Down
}

// period returns the time from the beginning of a check to the beginning of the next.
func (c *Check) period(now int64) int64 {
	switch {
	case c.contrary > 0:
		return int64(c.rules.Fast)
	case c.up || !c.decided:
		return int64(c.rules.Interval)
	}
	period := c.downWait
	if now-c.since >= int64(downLong) {
		c.downWait = min(2*c.downWait, max(int64(downMax), int64(c.rules.Down)))
	}
	return period
}

// mean returns how long a period is on average.
func mean(period int64) int64 { return period - period/20 }

// vary returns a time between nine tenths of period and all of it, so that checks that fell together come apart. It is
// never longer, since the time in which a failure is found has a bound.
func (c *Check) vary(period int64) int64 {
	// xorshift64: Marsaglia, Xorshift RNGs (2003).
	c.random ^= c.random << 13
	c.random ^= c.random >> 7
	c.random ^= c.random << 17
	return period - int64(c.random%uint64(period/10+1))
}

// check panics when an invariant of c does not hold.
func (c *Check) check() {
	invariant.That(c.contrary >= 0, "%d results contradict the state", c.contrary)
	down := int64(c.rules.Down)
	invariant.That(c.up || !c.decided || c.downWait >= down && c.downWait <= max(down, int64(downMax)),
		"%d ns between two checks, %d by the rules", c.downWait, down)
}
