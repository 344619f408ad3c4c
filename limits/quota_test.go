package limits

import (
	"math"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestQuota_Validate(t *testing.T) {
	for _, q := range []Quota{
		{Count: 1, Per: 1},
		{Count: 10, Per: time.Second},
		{Count: 1, Per: 24 * time.Hour, Burst: 5},
		{Count: 1, Per: time.Millisecond, Burst: burstMax},
	} {
		if err := q.Validate(); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
	for _, q := range []Quota{
		{},
		{Count: 1},
		{Count: -1, Per: time.Second},
		{Count: 1, Per: -time.Second},
		{Count: 2, Per: 1},
		{Count: 1, Per: time.Second, Burst: -1},
		{Count: 1, Per: math.MaxInt64, Burst: 1},
		{Count: 1, Per: time.Hour, Burst: math.MaxInt64},
		{Count: 1, Per: 1, Burst: burstMax + 1},
	} {
		if q.Validate() == nil {
			t.Errorf("%+v is valid", q)
		}
		testutil.Panics(t, "NewLocalGCRA", func() { NewLocalGCRA(q) })
		testutil.Panics(t, "NewSharedGCRATable", func() { NewSharedGCRATable(q, 1) })
	}
}

// The rate is never more than asked for, and less by a nanosecond of an interval at most.
func TestQuota_intervalIsRoundedUp(t *testing.T) {
	for q, want := range map[Quota]int64{
		{Count: 1, Per: time.Second}:            1_000_000_000,
		{Count: 3, Per: time.Second}:            333_333_334,
		{Count: 1000, Per: time.Second}:         1_000_000,
		{Count: 7, Per: 7}:                      1,
		{Count: 999_999_999, Per: time.Second}:  2,
		{Count: 60, Per: time.Minute, Burst: 1}: 1_000_000_000,
	} {
		if got := q.interval(); got != want {
			t.Errorf("%+v: %d ns, want %d", q, got, want)
		}
	}
}

func TestSeconds_roundsUp(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		-time.Second: 0, 0: 0, 1: 1, time.Second: 1, time.Second + time.Millisecond: 1,
		time.Second + time.Millisecond + 1: 2, 90 * time.Second: 90, Never: 9_223_372_037,
	} {
		if got := Seconds(d); got != want {
			t.Errorf("%v: %d s, want %d", d, got, want)
		}
	}
}

// One event a second and 60 a minute are told in whole seconds, whatever the rounding to ticks.
func TestSeconds_ofATable(t *testing.T) {
	for _, q := range []Quota{{Count: 1, Per: time.Second, Burst: 60}, {Count: 3, Per: time.Second, Burst: 180}} {
		for _, n := range []int64{1, 60} {
			table := NewLocalGCRATable(q, 1)
			table.Take(5, 0, q.Burst)
			if _, wait := table.Take(5, 0, n*q.Count); Seconds(wait) != n {
				t.Errorf("%+v: %v for %d s", q, wait, n)
			}
		}
	}
}
