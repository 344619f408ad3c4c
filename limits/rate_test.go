package limits

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

type rate interface {
	Add(hash uint64, now int64, n uint64) uint64
	Count(hash uint64, now int64) uint64
}

func rates(o RateOptions) map[string]rate {
	return map[string]rate{"local": NewLocalRate(o), "shared": NewSharedRate(o)}
}

// events are the times of one key's events, in order.
type events []int64

// within counts the events after from, up to to.
func (e events) within(from, to int64) (n uint64) {
	for _, at := range e {
		if at > from && at <= to {
			n++
		}
	}
	return n
}

// checkCount fails when a count is further from the truth than the documentation says: by the events of the oldest
// part times what is left of it when it is too high, times what has passed of it when it is too low.
func checkCount(t *testing.T, e events, o RateOptions, now int64, got uint64) {
	t.Helper()
	length := int64(o.Window) / int64(o.Slots-1)
	if int64(o.Window)%int64(o.Slots-1) != 0 {
		t.Fatal("parts of a whole number of nanoseconds make the model simple")
	}
	begin := now / length * length
	passed := float64(now-begin) / float64(length)
	oldest := float64(e.within(begin-int64(o.Window)-1, begin-int64(o.Window)+length-1))
	exact := float64(e.within(now-int64(o.Window), now))
	const slack = 1.01 // rounding of the share and of the length of a part
	if float64(got) > exact+(1-passed)*oldest+slack || float64(got) < exact-passed*oldest-slack {
		t.Fatalf("%d slots at %v: counted %d of %.0f, with %.0f in the oldest part, %.0f %% passed",
			o.Slots, time.Duration(now), got, exact, oldest, 100*passed)
	}
}

// Arrivals that come in bursts, gaps and at the turns of parts: a count is never further from the truth than the
// events of the oldest part allow.
func TestRate_errorIsThatOfTheOldestPart(t *testing.T) {
	for _, slots := range []int{2, 4, 8} {
		o := RateOptions{Window: time.Duration(slots-1) * 1000, Slots: slots, Width: 16}
		for name, r := range rates(o) {
			rng := rand.New(rand.NewPCG(1, uint64(slots)))
			var e events
			for now, i := int64(0), 0; i < 3000; i++ {
				switch rng.IntN(20) {
				case 0:
					now += rng.Int64N(3 * int64(o.Window))
				case 1:
					now = now/1000*1000 + 999 // the end of a part
				case 2:
					now = now/1000*1000 + 1000 // the begin of the next
				default:
					now += rng.Int64N(40)
				}
				e = append(e, now)
				if len(e) > 1000 {
					e = e[500:]
				}
				got := r.Add(5, now, 1)
				checkCount(t, e, o, now, got)
				if again := r.Count(5, now); again != got {
					t.Fatalf("%s: Add says %d, Count %d", name, got, again)
				}
				later := now + rng.Int64N(2*int64(o.Window))
				checkCount(t, e, o, later, r.Count(5, later))
			}
		}
	}
}

// The worst arrivals: all events at the end, or at the begin, of one part. With 2 slots the error reaches the events
// of a whole window, with 8 those of a seventh of it.
func TestRate_worstArrivals(t *testing.T) {
	const sent = 10_000
	for _, c := range []struct {
		slots             int
		tooLow, tooHigh   uint64 // in thousandths of the events of a window
		tooLow2, tooHigh2 uint64
	}{
		{2, 890, 910, 890, 910},
		{8, 125, 131, 125, 131},
	} {
		o := RateOptions{Window: 7 * time.Second, Slots: c.slots}
		for name, r := range rates(o) {
			part := int64(o.Window) / int64(c.slots-1)
			each := uint64(sent / (c.slots - 1)) // in one part, as if sent came in each window
			r.Add(1, part-2, each)               // at the end of the part
			now := int64(o.Window) + part*9/10
			if got := r.Count(1, now); (each-got)*1000/sent < c.tooLow || (each-got)*1000/sent > c.tooHigh {
				t.Errorf("%s, %d slots: %d of %d events, which are all in the window", name, c.slots, got, each)
			}
			r.Add(2, 0, each) // at the begin
			now = int64(o.Window) + part/10
			if got := r.Count(2, now); got*1000/sent < c.tooLow2 || got*1000/sent > c.tooHigh2 {
				t.Errorf("%s, %d slots: %d of %d events, which have all left the window", name, c.slots, got, each)
			}
		}
	}
}

// Even arrivals are counted exactly, but for one event at each end.
func TestRate_evenArrivals(t *testing.T) {
	for _, slots := range []int{2, 4, 8} {
		for name, r := range rates(RateOptions{Window: time.Second, Slots: slots}) {
			for now := int64(0); now < int64(10*time.Second); now += int64(time.Millisecond) {
				got := r.Add(1, now, 1)
				if now > int64(2*time.Second) && (got < 998 || got > 1002) {
					t.Fatalf("%s, %d slots: %d of 1000 events at %v", name, slots, got, time.Duration(now))
				}
			}
		}
	}
}

// Nobody sweeps: what has left the window is not counted, however long after, for a whole lap of the numbers of
// parts.
func TestRate_forgetsWithoutASweep(t *testing.T) {
	o := RateOptions{Window: time.Microsecond * 7, Slots: 8}
	for _, name := range []string{"local", "shared"} {
		for after := int64(1); after < partMask-8; after = after*3/2 + 1 {
			r := rates(o)[name]
			r.Add(1, 0, 1000)
			if got := r.Count(1, (8+after)*1000); got != 0 {
				t.Fatalf("%s: %d events, %d parts later", name, got, after)
			}
			if got := r.Add(1, (8+after)*1000, 1); got != 1 {
				t.Fatalf("%s: %d events after one, %d parts later", name, got, after)
			}
		}
	}
}

func TestRate_acrossALap(t *testing.T) {
	for _, slots := range []int{2, 8} {
		o := RateOptions{Window: time.Duration(slots-1) * 1000, Slots: slots}
		for name, r := range rates(o) {
			var e events
			for now := int64(partMask-20) * 1000; now < (partMask+20)*1000; now += 170 {
				e = append(e, now)
				if got := r.Add(3, now, 1); math.Abs(float64(got)-float64(e.within(now-int64(o.Window), now))) > 6 {
					t.Fatalf("%s: %d events at %d", name, got, now)
				}
			}
		}
	}
}

// A clock that goes back by less than a window loses no event. A longer step starts afresh, instead of counting
// everything for as long as the clock needs to come back.
func TestRate_clockThatGoesBack(t *testing.T) {
	for _, slots := range []int{2, 4, 8} {
		for name, r := range rates(RateOptions{Window: time.Second, Slots: slots}) {
			now, n := int64(time.Hour), uint64(0)
			for _, back := range []time.Duration{0, 1, time.Millisecond, time.Second / 7, time.Second} {
				n++
				if got := r.Add(1, now-int64(back), 1); got < n-n/2 {
					t.Errorf("%s, %d slots, %v back: %d of %d", name, slots, back, got, n)
				}
			}
			if got := r.Count(1, now); got > n || got < n-1 {
				t.Errorf("%s, %d slots: %d of %d", name, slots, got, n)
			}
			for i := range uint64(5) {
				if got := r.Add(1, 1000, 1); got != i+1 {
					t.Errorf("%s, %d slots, an hour back: %d of %d", name, slots, got, i+1)
				}
			}
		}
	}
}

func TestRate_countersStayAtTheirMaximum(t *testing.T) {
	for _, slots := range []int{2, 4} {
		for name, r := range rates(RateOptions{Window: time.Second, Slots: slots}) {
			for i := range 2000 {
				r.Add(1, 0, uint64(1)<<(30+i%34)) // of which each counts as 2^30
			}
			if got := r.Add(1, 0, 1); got < eventsMax || got > eventsMask {
				t.Errorf("%s: %d", name, got)
			}
			if got := r.Count(1, int64(10*time.Second)); got != 0 {
				t.Errorf("%s: %d ten windows later", name, got)
			}
		}
	}
}

// The bound of the sketch holds for the events within the window.
func TestRate_boundOfTheSketch(t *testing.T) {
	const keys = 5000
	for name, r := range rates(RateOptions{Window: time.Second, Slots: 4, Width: 256}) {
		now := int64(0)
		for k := range uint64(20 * keys) {
			now += 10_000 // 20 rounds of 50 ms: all within a window
			r.Add(mixed(k%keys), now, 1)
		}
		beyond := 0
		for k := range uint64(keys) {
			got := r.Count(mixed(k), now)
			if got < 20 {
				t.Fatalf("%s: %d of 20 events", name, got)
			}
			if got-20 > sketchError(20*keys, 256) {
				beyond++
			}
		}
		if beyond > keys*2/100 {
			t.Errorf("%s: %d of %d keys are beyond the bound", name, beyond, keys)
		}
	}
}

func TestRate_mergedIsOneForAll(t *testing.T) {
	for _, slots := range []int{2, 4} {
		o := RateOptions{Window: time.Second, Slots: slots}
		one, merged, owners := NewLocalRate(o), NewLocalRate(o), [3]*LocalRate{}
		for i := range owners {
			owners[i] = NewLocalRate(o)
		}
		rng := rand.New(rand.NewPCG(4, 4))
		now := int64(time.Hour)
		for range 20_000 {
			now += rng.Int64N(200_000)
			k := mixed(rng.Uint64N(50))
			one.Add(k, now, 1)
			owners[rng.IntN(3)].Add(k, now, 1)
		}
		var copied *LocalRate
		for _, r := range owners {
			copied = r.Snapshot(copied)
			merged.Merge(copied)
		}
		for k := range uint64(50) {
			if got, want := merged.Count(mixed(k), now), one.Count(mixed(k), now); got != want {
				t.Errorf("%d slots: %d, by one %d", slots, got, want)
			}
		}
		testutil.Panics(t, "another window", func() { merged.Merge(NewLocalRate(RateOptions{Window: time.Minute})) })
		if s := merged.Snapshot(NewLocalRate(RateOptions{Window: time.Minute})); s.windows != merged.windows {
			t.Error("a copy with another window")
		}
	}
}

func TestNewRate_refuses(t *testing.T) {
	for _, o := range []RateOptions{
		{}, {Window: 999}, {Window: time.Second, Slots: 3}, {Window: time.Second, Slots: 1},
		{Window: time.Second, Slots: 16}, {Window: time.Second, Width: -1},
	} {
		testutil.Panics(t, fmt.Sprint(o), func() { NewLocalRate(o) })
		testutil.Panics(t, fmt.Sprint(o), func() { NewSharedRate(o) })
	}
}

// Goroutines whose clocks differ count through many turns of parts: no event is lost, and none counts twice.
func TestSharedRate_losesNothing(t *testing.T) {
	const goroutines, adds = 4, 20_000
	for _, slots := range []int{2, 8} {
		o := RateOptions{Window: time.Duration(slots-1) * time.Second, Slots: slots}
		r := NewSharedRate(o)
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() {
				for n := range int64(adds) {
					// From 0.9 s to 1.1 s with 2 slots, through all parts with 8.
					now := n*int64(slots-1)*int64(time.Second)/adds + int64(i)*int64(time.Millisecond)
					if slots == 2 {
						now = int64(900*time.Millisecond) + n*10_000 + int64(i)*int64(time.Millisecond)
					}
					r.Add(mixed(1), now, 1)
				}
			})
		}
		wg.Wait()
		end := o.Window
		if slots == 2 {
			end = time.Second
		}
		if got := r.Count(mixed(1), int64(end)); got < goroutines*adds-1 || got > goroutines*adds {
			t.Errorf("%d slots: %d of %d", slots, got, goroutines*adds)
		}
	}
}

// FuzzRate runs times, which may go back, and numbers on both, and against the exact count while they do not.
func FuzzRate(f *testing.F) {
	f.Add(uint8(0), []byte{1, 2, 3, 250, 251, 252, 9, 0, 0, 128})
	f.Add(uint8(2), []byte{100, 100, 100, 100, 100, 100, 100, 255, 1})
	f.Fuzz(func(t *testing.T, slots uint8, ops []byte) {
		o := RateOptions{Slots: 2 << (slots % 3), Width: 64}
		o.Window = time.Duration(o.Slots-1) * 1000
		local, shared := NewLocalRate(o), NewSharedRate(o)
		var e events
		now, back := int64(100_000), false
		for _, op := range ops {
			switch {
			case op < 240:
				now += int64(op) * 10
			case op < 248:
				now -= int64(op-240) * 300
				back = true
			default:
				now += int64(op-248) * 1000
			}
			now = max(now, 0)
			e = append(e, now)
			a, b := local.Add(9, now, 1), shared.Add(9, now, 1)
			if a != b || a != local.Count(9, now) || a > uint64(len(e)) {
				t.Fatalf("local %d, shared %d of %d", a, b, len(e))
			}
			if !back {
				checkCount(t, e, o, now, a)
			}
		}
	})
}
