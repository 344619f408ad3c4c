package timerwheel

import (
	"math"
	"testing"
	"time"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// record keeps what fired.
type record struct {
	fired []*Timer
	then  func(t *Timer, now int64)
}

func (r *record) OnTimer(t *Timer, now int64) {
	r.fired = append(r.fired, t)
	if r.then != nil {
		r.then(t, now)
	}
}

const granule = int64(1) << granuleBits

// A timer is embedded in every connection: an idle one may cost 0.9 KiB in all. 56 is the owner (16), two links, the
// deadline, the granule and the slot; it fits a cache line.
func TestTimer_size(t *testing.T) {
	if size := unsafe.Sizeof(Timer{}); size > 56 {
		t.Fatalf("a Timer takes %d bytes", size)
	}
}

func TestWheel_zeroValueIsReady(t *testing.T) {
	var w Wheel
	r := &record{}
	timer := Timer{Owner: r}
	w.Arm(&timer, 1)
	if w.Next() != granule || w.Advance(granule, 10) != 1 || len(r.fired) != 1 || w.Next() != -1 {
		t.Fatalf("fired %d, Next %d", len(r.fired), w.Next())
	}
}

func TestWheel_firesWithinAGranule(t *testing.T) {
	const start = int64(123_456_789_012_345)
	for shift := range 61 {
		for _, d := range []int64{-1, 0, 1} {
			at := start + 1<<shift + d
			var w Wheel
			w.Init(start)
			r := &record{}
			timer := Timer{Owner: r}
			w.Arm(&timer, at)
			now := start
			for steps := 0; len(r.fired) == 0; steps++ {
				if steps > levels {
					t.Fatalf("in 2^%d ns: %d wake-ups", shift, steps)
				}
				now = w.Next()
				w.Advance(now, 10)
			}
			if now < at || now >= at+granule && at > start+granule {
				t.Fatalf("in 2^%d ns: %d ns late", shift, now-at)
			}
		}
	}
}

func TestWheel_neverFiresTheEndOfTime(t *testing.T) {
	var w Wheel
	r := &record{}
	timer := Timer{Owner: r}
	w.Arm(&timer, math.MaxInt64)
	if next := w.Next(); next != math.MaxInt64 {
		t.Fatalf("Next %d", next)
	}
	now := math.MaxInt64 - granule
	w.Advance(now, 100)
	w.Advance(math.MaxInt64, 100)
	if len(r.fired) != 0 || w.Next() != math.MaxInt64 || w.Len() != 1 {
		t.Fatalf("fired %d, Next %d", len(r.fired), w.Next())
	}
	w.Disarm(&timer)
	if w.Next() != -1 {
		t.Fatalf("Next %d", w.Next())
	}
}

func TestWheel_movedLaterKeepsItsEntry(t *testing.T) {
	var w Wheel
	r := &record{}
	timer := Timer{Owner: r}
	w.Arm(&timer, 5*granule)
	w.Arm(&timer, 9*granule)
	if w.Next() != 5*granule || timer.At() != 9*granule {
		t.Fatalf("Next %d, At %d", w.Next(), timer.At())
	}
	if n := w.Advance(5*granule, 10); n != 1 || len(r.fired) != 0 || w.Next() != 9*granule {
		t.Fatalf("touched %d, fired %d, Next %d", n, len(r.fired), w.Next())
	}
	w.Arm(&timer, 7*granule) // earlier: relinked
	if w.Next() != 7*granule {
		t.Fatalf("Next %d", w.Next())
	}
}

func TestWheel_leavesTheRestDue(t *testing.T) {
	var w Wheel
	r := &record{}
	timers := make([]Timer, 100)
	for i := range timers {
		timers[i].Owner = r
		w.Arm(&timers[i], 70*granule) // level 1: each is touched twice
	}
	now := 70 * granule
	for left := 200; left > 0; left -= 8 {
		if w.Next() > now {
			t.Fatalf("%d entries to touch, Next is %d after now", left, w.Next()-now)
		}
		if n := w.Advance(now, 8); n != 8 {
			t.Fatalf("touched %d with %d left", n, left)
		}
	}
	if len(r.fired) != 100 || w.Next() != -1 {
		t.Fatalf("fired %d, Next %d", len(r.fired), w.Next())
	}
}

func TestWheel_armedByOnTimerFiresInALaterAdvance(t *testing.T) {
	var w Wheel
	r := &record{}
	r.then = func(t *Timer, now int64) { w.Arm(t, now-1) }
	timer := Timer{Owner: r}
	// At the end of a block of 64 granules, so that the next one is a cascade away.
	w.Arm(&timer, 63*granule)
	for i := range 3 {
		now := int64(64+i) * granule
		if w.Advance(now, 1000); len(r.fired) != i+1 {
			t.Fatalf("fired %d times in %d Advances", len(r.fired), i+1)
		}
	}
}

func TestWheel_disarmedByOnTimerDoesNotFire(t *testing.T) {
	var w Wheel
	r := &record{}
	timers := make([]Timer, 10)
	r.then = func(t *Timer, _ int64) {
		for i := range timers {
			w.Disarm(&timers[i])
		}
	}
	for i := range timers {
		timers[i].Owner = r
		w.Arm(&timers[i], granule)
	}
	if w.Advance(granule, 100); len(r.fired) != 1 || w.Len() != 0 {
		t.Fatalf("fired %d, armed %d", len(r.fired), w.Len())
	}
}

func TestWheel_ignoresAClockThatGoesBack(t *testing.T) {
	var w Wheel
	w.Init(1000 * granule)
	r := &record{}
	timer := Timer{Owner: r}
	w.Arm(&timer, 1002*granule)
	w.Advance(1001*granule, 10)
	w.Advance(10*granule, 10)
	w.Arm(&timer, 20*granule) // past for the wheel
	if w.Next() != 1002*granule {
		t.Fatalf("Next %d granules", w.Next()/granule)
	}
	if w.Advance(1002*granule, 10); len(r.fired) != 1 {
		t.Fatal("did not fire")
	}
}

func TestWheel_doesNotAllocate(t *testing.T) {
	var w Wheel
	r := &record{fired: make([]*Timer, 0, 1<<16)}
	timer := Timer{Owner: r}
	now := int64(0)
	if n := testutil.Allocs(1000, func() {
		w.Arm(&timer, now+int64(time.Second))
		w.Arm(&timer, now+int64(time.Minute))
		w.Disarm(&timer)
		w.Arm(&timer, now+1)
		now += 100 * granule
		w.Advance(now, 100)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
