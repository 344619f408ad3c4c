package lang

import (
	"testing"
	"time"
)

// Each clause that is asked is measured, until the time for all is over; a slow clock does not make it take longer.
func TestStopwatch(t *testing.T) {
	c := condition(t, scope(t), `path ~ "^/(a)" and match.1 == "a" and (path == "/b" or path == "/ac")`, Request)
	x := browser()
	x.Path = []byte("/ac")
	for _, test := range []struct {
		left, step, spent time.Duration
		want              []time.Duration
	}{
		{time.Second, time.Microsecond, 0, []time.Duration{1, 1, 1, 1}},
		{time.Second, 8 * time.Microsecond, 0, []time.Duration{15, 15, 15, 15}},
		{2 * time.Second, time.Second, 4 * time.Second, []time.Duration{time.Second, time.Second, 0, 0}},
		{0, time.Second, 0, []time.Duration{0, 0, 0, 0}},
	} {
		now := time.Duration(0)
		w := &Stopwatch{Left: test.left, Now: func() time.Duration { now += test.step; return now }}
		x.State = NewState()
		x.State.Stopwatch = w
		clauses := c.Explain(x)
		for i, clause := range clauses {
			if clause.Took != test.want[i] || !clause.Asked || clause.Holds != (i != 2) {
				t.Errorf("%v each look: %+v, want %v", test.step, clause, test.want[i])
			}
		}
		if test.spent > 0 && now != test.spent || now > max(test.spent, 4*clauseTimeMax+8*test.step) {
			t.Errorf("%v each look: it took %v", test.step, now)
		}
	}
}
