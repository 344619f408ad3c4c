package health

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const second = int64(time.Second)

func rules() *Rules {
	return &Rules{Interval: 5 * time.Second, Fast: time.Second, Down: 5 * time.Second, Rise: 2, Fall: 3}
}

// model decides from all results so far, in the plainest way.
type model struct {
	rules   *Rules
	results []Result
	states  []bool // after each result that decided
	flips   []int  // the number of results at that time
}

// state returns what the member is, and whether a result decided that.
func (m *model) state() (up, decided bool) {
	if n := len(m.states); n > 0 {
		return m.states[n-1], true
	}
	return m.rules.Start == StartUp, false
}

// add takes a result and returns what it decides.
func (m *model) add(r Result) Verdict {
	if r.Excused {
		return Undecided
	}
	m.results = append(m.results, r)
	up, decided := m.state()
	tail := m.results
	if n := len(m.flips); n > 0 {
		tail = tail[m.flips[n-1]:]
	}
	tail = tail[lastIndex(tail, func(r Result) bool { return (r.Outcome == Passed) == up })+1:]
	passed := r.Outcome == Passed
	if passed == up {
		if decided {
			return Undecided
		}
		return m.flip(passed)
	}
	need := map[bool]int{true: m.rules.Rise, false: m.rules.Fall}[passed]
	if !decided && !(passed && m.rules.Start == StartDown) {
		need = 1
	}
	if len(tail) < need {
		return Undecided
	}
	// One verdict is put off: that of the first result that would decide and is doubted.
	waited := slices.ContainsFunc(tail[need-1:len(tail)-1], func(r Result) bool { return r.Doubted })
	if !passed && r.Doubted && !waited {
		return Undecided
	}
	return m.flip(passed)
}

func (m *model) flip(up bool) Verdict {
	m.states, m.flips = append(m.states, up), append(m.flips, len(m.results))
	return map[bool]Verdict{true: Up, false: Down}[up]
}

func lastIndex(all []Result, f func(Result) bool) int {
	for i := len(all) - 1; i >= 0; i-- {
		if f(all[i]) {
			return i
		}
	}
	return -1
}

// A Check decides as the model does, and its next check is never sooner than nine tenths of a period that is in force.
func FuzzCheck_decidesAsTheModel(f *testing.F) {
	f.Add(uint8(2), uint8(3), uint8(0), []byte{1, 1, 1, 0, 0, 0})
	f.Add(uint8(1), uint8(1), uint8(1), []byte{1, 0, 1, 0})
	f.Add(uint8(2), uint8(2), uint8(2), []byte{2, 5, 2, 9, 9, 9, 0, 0, 1, 1, 1, 1})
	f.Add(uint8(3), uint8(2), uint8(0), []byte{9, 9, 9, 9, 1, 9, 0, 9})
	f.Fuzz(func(t *testing.T, rise, fall, start uint8, bytes []byte) {
		r := rules()
		r.Rise, r.Fall, r.Start = int(rise%5)+1, int(fall%5)+1, Start(start%3)
		m := &model{rules: r}
		c := &Check{}
		now := c.Begin(r, uint64(rise)<<8+uint64(fall), 1000)
		for i, b := range bytes {
			result := Result{Outcome: Outcome(b % 4 % 3), Began: now, Doubted: b&8 != 0}
			result.Excused = result.Outcome == TimedOut && b&4 != 0
			now += int64(b>>4) * second / 10
			want := m.add(result)
			next, got := c.Step(now, result)
			if got != want {
				t.Fatalf("result %d of %v, rules %+v: decides %d, want %d", i, bytes, r, got, want)
			}
			if up, decided := m.state(); up != c.IsUp() || decided != c.decided {
				t.Fatalf("result %d of %v: up %v, want %v", i, bytes, c.IsUp(), up)
			}
			period := int64(r.Interval)
			if c.Contrary() > 0 {
				period = int64(r.Fast)
			}
			if next < now || next < result.Began+period-period/10 {
				t.Fatalf("result %d of %v: %d ns after a check that began at %d", i, bytes, next, result.Began)
			}
			if c.decided && c.IsUp() && next > max(result.Began+period, now) {
				t.Fatalf("result %d of %v: %d ns after a check that began at %d", i, bytes, next, result.Began)
			}
			now = next
		}
	})
}

// A member that stops answering just after a check is down within interval + (fall - 1) fast + timeout.
func TestCheck_declaresDownInTime(t *testing.T) {
	const timeout = second
	for seed := range uint64(1000) {
		r := rules()
		c := &Check{}
		now := c.Begin(r, seed*7919, 0)
		next, _ := c.Step(now, Result{Began: now})
		died := now
		for v := Undecided; v != Down; {
			began := next
			now = began + timeout
			next, v = c.Step(now, Result{Outcome: TimedOut, Began: began})
		}
		if took := now - died; took > int64(r.Interval)+2*int64(r.Fast)+timeout {
			t.Fatalf("seed %d: declared down after %v", seed, time.Duration(took))
		}
	}
}

// A refusal comes at once. The next check does not.
func TestCheck_neverHurriesAfterARefusal(t *testing.T) {
	c := &Check{}
	r := rules()
	now := c.Begin(r, 3, 0)
	begun := now
	n := 0
	for ; now < begun+60*second; n++ {
		now, _ = c.Step(now, Result{Outcome: Failed, Began: now})
	}
	if n > 16 { // 3 fast ones, then one in 4.5 to 5 s
		t.Errorf("%d checks in a minute", n)
	}
}

// A member that stays down is checked less and less often, once it has been down for long, and as often as ever again
// when it was up.
func TestCheck_slowsDown(t *testing.T) {
	c := &Check{}
	r := rules()
	now := c.Begin(r, 3, 0)
	var last int64
	for now < int64(30*time.Minute) {
		next, _ := c.Step(now, Result{Outcome: Failed, Began: now})
		last, now = next-now, next
	}
	if last < 54*second || last > 60*second {
		t.Errorf("%v between checks after half an hour", time.Duration(last))
	}
	for c.IsUp() == false {
		now, _ = c.Step(now, Result{Began: now})
	}
	for c.IsUp() {
		now, _ = c.Step(now, Result{Outcome: Failed, Began: now})
	}
	if next, _ := c.Step(now, Result{Outcome: Failed, Began: now}); next-now > 5*second {
		t.Errorf("%v between checks of a member that is down anew", time.Duration(next-now))
	}
}

// Checks of many members are spread over the interval: no 100 ms hold more than 1.3 times the mean.
func TestCheck_spreadsMembers(t *testing.T) {
	const members, bin = 10000, second / 10
	r := rules()
	var bins [150]int
	for i := range uint64(members) {
		c := &Check{}
		now := c.Begin(r, mix(i), 0)
		for now < int64(len(bins))*bin {
			bins[now/bin]++
			now, _ = c.Step(now, Result{Began: now})
		}
	}
	total := 0
	for _, n := range bins {
		total += n
	}
	average := float64(total) / float64(len(bins))
	for i, n := range bins {
		if float64(n) > 1.3*average {
			t.Errorf("%d checks in the 100 ms from %d ms, %.0f on average", n, i*100, average)
		}
	}
}

// New rules keep what was decided.
func TestCheck_newRulesKeepTheState(t *testing.T) {
	r, c := rules(), &Check{}
	now := c.Begin(r, 9, 0)
	for c.IsUp() {
		now, _ = c.Step(now, Result{Outcome: Failed, Began: now})
	}
	next := *r
	next.Start, next.Rise = StartUp, 1
	now = c.Rule(&next, 9, now)
	if c.IsUp() || !c.decided {
		t.Fatalf("new rules made it up")
	}
	if _, v := c.Step(now, Result{Began: now}); v != Up {
		t.Errorf("decides %d by the new rules", v)
	}
}

// A member whose first result was not known yet begins by the new rules.
func TestCheck_newRulesBeforeTheFirstResult(t *testing.T) {
	r, c := rules(), &Check{}
	now := c.Begin(r, 9, 0)
	next := *r
	next.Start = StartChecked
	if c.Rule(&next, 9, now); c.IsUp() {
		t.Errorf("it is up before its first check")
	}
}

// A phase is the same after a restart, whenever that is.
func TestCheck_keepsItsPhase(t *testing.T) {
	r := rules()
	for range 1000 {
		seed, a, b := rand.Uint64(), rand.Int64N(1e15), rand.Int64N(1e15)
		c := &Check{}
		first, second := c.Begin(r, seed, a), c.Begin(r, seed, b)
		if first < a || first >= a+mean(int64(r.Interval)) || (first-second)%mean(int64(r.Interval)) != 0 {
			t.Fatalf("seed %d: %d and %d", seed, first, second)
		}
	}
}
