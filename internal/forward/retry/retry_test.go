package retry_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestParse(t *testing.T) {
	c, err := retry.Parse("connect", "timeout", "429", "503", "grpc:unavailable", "grpc:unauthenticated")
	if err != nil {
		t.Fatal(err)
	}
	for cause, want := range map[retry.Cause]bool{
		retry.Connect: true, retry.RefusedStream: false, retry.Reset: false, retry.Timeout: true,
	} {
		if c.Has(cause) != want {
			t.Errorf("cause %d: %v", cause, !want)
		}
	}
	for status := -1; status < 1000; status++ {
		if want := status == 429 || status == 503; c.Status(status) != want {
			t.Errorf("status %d: %v", status, !want)
		}
		if want := status == 14 || status == 16; c.Call(status) != want {
			t.Errorf("status %d of gRPC: %v", status, !want)
		}
	}
	if c, err = retry.Parse("5xx"); err != nil {
		t.Fatal(err)
	}
	for status := range 700 {
		if want := status/100 == 5; c.Status(status) != want {
			t.Errorf("5xx: status %d: %v", status, !want)
		}
	}
	for _, word := range []string{"", "Connect", "399", "600", "0503", "+503", "4xx", "grpc:", "grpc:ok", "grpc:14"} {
		if _, err := retry.Parse("connect", word); err == nil {
			t.Errorf("%q is taken", word)
		}
	}
	if c, err := retry.Parse(); err != nil || c != (retry.Conditions{}) {
		t.Error("no words are a condition")
	}
	one, _ := retry.Parse("connect", "refused_stream", "reset")
	if one != retry.Default() || one.With(retry.Timeout) == one {
		t.Error("what is the default?")
	}
}

func TestPause(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n, most := range []time.Duration{25e6, 50e6, 100e6, 200e6, 250e6, 250e6} {
		low, high := most, time.Duration(0)
		for range 1000 {
			d := retry.Pause(n, rng.Uint64())
			low, high = min(low, d), max(high, d)
		}
		if low < most/2 || high > most || low > most*6/10 || high < most*9/10 {
			t.Errorf("retry %d: from %v to %v", n, low, high)
		}
	}
	if d := retry.Pause(1<<40, 0); d != 125*time.Millisecond {
		t.Error(d)
	}
}

func TestAfter(t *testing.T) {
	wall := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "3": 3 * time.Second, "Sun, 22 Nov 2026 01:00:05 GMT": 5 * time.Second,
		"Sun, 22 Nov 2026 00:00:00 GMT": 0, "": -1, "-1": -1, "soon": -1, "99999999999": -1,
	} {
		if d, ok := retry.After([]byte(value), wall); ok != (want >= 0) || ok && d != want {
			t.Errorf("%q: %v %v", value, d, ok)
		}
	}
	for value, want := range map[string]time.Duration{"250": 250e6, "0": 0, "-1": -1, "": -1, "x": -1} {
		if d, ok := retry.Pushback([]byte(value)); ok != (want >= 0) || ok && d != want {
			t.Errorf("pushback %q: %v %v", value, d, ok)
		}
	}
}

// A budget that is full gives three retries, and what the good answers of the last second have paid for.
func TestBudget_limits(t *testing.T) {
	b := retry.NewBudget(2, 20)
	took := func(now int64) (n int) {
		for b.Take(1, now) {
			n++
		}
		return n
	}
	if n := took(1e9); n != 3 {
		t.Fatalf("%d retries at first", n)
	}
	if n := took(100e9); n != 0 {
		t.Fatalf("%d retries for waiting", n)
	}
	for i := range int64(1000) { // a second
		b.Good(0, 100e9+i*1e6)
	}
	if n := took(101e9); n < 170 || n > 203 {
		t.Fatalf("%d retries after 1000 good answers", n)
	}
	for i := range int64(1000) {
		b.Good(0, 101e9+i*1e6)
	}
	if n := took(110e9); n != 3 {
		t.Fatalf("%d retries of answers long ago", n)
	}
	b.Return()
	if n := took(110e9); n != 1 {
		t.Fatalf("%d of one that was given back", n)
	}
}

// Whatever happens when, a budget gives no more than the model: what was paid in, and no more at a time than a second
// of it and the reserve.
func TestBudget_property(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		percent := 1 + rng.IntN(100)
		b := retry.NewBudget(3, percent)
		var good []int64
		now, paid, taken := int64(rng.Uint64N(1e18)), 3000, 0
		for range 2000 {
			now += int64(rng.ExpFloat64() * 2e6 * float64(1+rng.IntN(3)))
			if rng.IntN(100) == 0 {
				now += int64(rng.Uint64N(3e9))
			}
			if rng.IntN(3) > 0 {
				b.Good(rng.IntN(3), now)
				good = append(good, now)
				paid += percent * 10
				continue
			}
			before := taken
			for b.Take(rng.IntN(3), now) {
				taken++
			}
			recent := 0
			for _, at := range good {
				if now-at <= 1e9 {
					recent++
				}
			}
			if taken*1000 > paid || (taken-before)*1000 > recent*percent*10+3000 {
				t.Fatalf("seed %d: %d retries, %d before, %d answers in the last second, %d %%",
					seed, taken, before, recent, percent)
			}
		}
	}
}

// Reactors that pay and take at the same time never take more than was paid.
func TestBudget_concurrent(t *testing.T) {
	const reactors, answers = 4, 20_000
	b := retry.NewBudget(reactors, 20)
	var taken atomic.Int64
	var wait sync.WaitGroup
	for r := range reactors {
		wait.Go(func() {
			for i := range int64(answers) {
				b.Good(r, 1e9+i*1e4)
				if b.Take(r, 1e9+i*1e4) {
					taken.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if n := taken.Load(); n > reactors*answers/5+3 || n < reactors*answers/6 {
		t.Errorf("%d retries for %d answers", n, reactors*answers)
	}
}

func TestBudget_allocatesNothing(t *testing.T) {
	b, now := retry.NewBudget(1, 20), int64(1e9)
	if n := testutil.Allocs(1000, func() {
		now += 1e6
		b.Good(0, now)
		b.Take(0, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// storm simulates clients that send rate requests a second to an upstream over some reactors, each request with up to
// three retries, while its origin answers 503 from second 10 to second 20. It returns how much more the origin was
// asked than without retries: over those ten seconds, and in the first of them.
func storm(rate, reactors int, latency int64, seed uint64) (all, first float64) {
	type event struct{ at, try int64 }
	rng := rand.New(rand.NewPCG(seed, 9))
	b := retry.NewBudget(reactors, 20)
	var asked, firsts [30]int
	// Retries come a latency and a pause after their request: a queue by time, of a resolution of 1 ms.
	queue := make(map[int64][]event)
	for ms := int64(0); ms < 30_000; ms++ {
		for n := arrivals(rng, float64(rate)/1000); n > 0; n-- {
			queue[ms] = append(queue[ms], event{ms, 0})
			firsts[ms/1000]++
		}
		for _, e := range queue[ms] {
			asked[ms/1000]++
			now, r := (ms+latency)*1e6, rng.IntN(reactors)
			switch {
			case ms < 10_000 || ms >= 20_000:
				b.Good(r, now)
			case e.try < 3 && b.Take(r, now):
				at := ms + latency + 1
				queue[at] = append(queue[at], event{at, e.try + 1})
			}
		}
		delete(queue, ms)
	}
	a, f := 0, 0
	for s := 10; s < 20; s++ {
		a, f = a+asked[s], f+firsts[s]
	}
	return float64(a) / float64(f), float64(asked[10]) / float64(firsts[10])
}

// arrivals draws how many requests come in a step in which mean are expected.
func arrivals(rng *rand.Rand, mean float64) (n int) {
	for at := rng.ExpFloat64(); at < mean; at += rng.ExpFloat64() {
		n++
	}
	return n
}

// An origin that answers 503 to everything for ten seconds gets hardly more requests than without retries.
func TestBudget_retryStorm(t *testing.T) {
	for _, c := range []struct {
		rate, reactors int
		latency        int64
	}{{1000, 1, 5}, {1000, 4, 5}, {1000, 16, 5}, {1000, 4, 200}, {10000, 16, 5}, {100, 4, 5}, {20, 1, 5}, {20, 4, 5}} {
		for seed := range uint64(5) {
			all, first := storm(c.rate, c.reactors, c.latency, seed)
			most := 1.25
			if c.rate < 1000 {
				most = 1.25 + 3/float64(c.rate) // the reserve, and few requests to be exact about
			}
			if all > 1.05 || c.rate >= 100 && first > most {
				t.Errorf("%+v, seed %d: %.3f of the load, %.2f in the first second", c, seed, all, first)
			}
			t.Logf("%+v: %.3f of the load, %.2f in the first second", c, all, first)
		}
	}
}

// Heads knows how long 95 of 100 answers take at the most, by an eighth, over all reactors. It forgets old ones.
func TestHeads(t *testing.T) {
	h := retry.NewHeads(3)
	now := int64(100e9)
	if d := h.Usual(0, now); d != 0 {
		t.Fatalf("%v of no answers", d)
	}
	for range 19 {
		h.Add(1, time.Second, now)
	}
	if d := h.Usual(1, now+1); d != 0 {
		t.Fatalf("%v of 19 answers", d)
	}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		now += 20e9
		all := make([]time.Duration, 20+rng.IntN(2000))
		scale := float64(time.Microsecond) * math.Exp(rng.Float64()*14)
		for i := range all {
			all[i] = time.Duration(scale * rng.ExpFloat64())
			now += int64(rng.IntN(4e6))
			h.Add(rng.IntN(3), all[i], now)
		}
		now += 100e6
		for r := range 3 {
			h.Add(r, all[0], now) // what it has counted is told
		}
		all = append(all, all[0], all[0], all[0])
		slices.Sort(all)
		want := all[int(float64(len(all))*0.95)]
		got := h.Usual(rng.IntN(3), now)
		if got < want || float64(got) > float64(want)*1.126+float64(2*time.Microsecond) {
			t.Fatalf("seed %d: %v, want %v", seed, got, want)
		}
	}
	if d := h.Usual(0, now+13e9); d != 0 {
		t.Errorf("%v of answers long ago", d)
	}
}

// Times beyond the histogram count as its longest.
func TestHeads_bounds(t *testing.T) {
	h := retry.NewHeads(1)
	for range 20 {
		h.Add(0, 10*time.Hour, 1e9)
		h.Add(0, -time.Second, 1e9)
	}
	if d := h.Usual(0, 1e9); d < 268*time.Second || d > 300*time.Second {
		t.Error(d)
	}
}

func TestHedge_delay(t *testing.T) {
	h := retry.NewHedge(1, 50*time.Millisecond)
	if d := h.Delay(0, 1e9); d != 50*time.Millisecond {
		t.Errorf("%v before there was an answer", d)
	}
	for range 100 {
		h.Heads.Add(0, 200*time.Millisecond, 2e9)
	}
	if d := h.Delay(0, 2e9); d < 200*time.Millisecond || d > 226*time.Millisecond {
		t.Errorf("%v where answers take 200 ms", d)
	}
	if d := (&retry.Hedge{}).Delay(0, 2e9); d != time.Millisecond {
		t.Errorf("%v without a time", d)
	}
}

// Reactors that add and look at the same time lose no more than what they add while a slot begins.
func TestHeads_concurrent(t *testing.T) {
	const reactors = 4
	h := retry.NewHeads(reactors)
	var wait sync.WaitGroup
	for r := range reactors {
		wait.Go(func() {
			for i := range int64(20_000) {
				now := 1e9 + i*1e6
				h.Add(r, time.Duration(1+i%100)*time.Millisecond, now)
				if d := h.Usual(r, now); d > 113*time.Millisecond {
					t.Errorf("%v where no answer takes longer than 100 ms", d)
					return
				}
			}
		})
	}
	wait.Wait()
	if d := h.Usual(0, 21e9); d < 90*time.Millisecond {
		t.Error(d)
	}
}

func TestHeads_allocatesNothing(t *testing.T) {
	h, now := retry.NewHedge(1, time.Millisecond), int64(1e9)
	if n := testutil.Allocs(1000, func() {
		now += 20e6
		h.Heads.Add(0, time.Millisecond, now)
		h.Delay(0, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
