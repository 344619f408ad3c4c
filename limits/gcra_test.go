package limits

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// leakyBucket is the other form of the algorithm in ITU-T I.371, annex A: a bucket that leaks one unit in a
// nanosecond, to which each event adds an interval.
type leakyBucket struct {
	interval, burst int64
	level           int64
	last            int64
}

func (b *leakyBucket) take(now, n int64) bool {
	level := max(b.level-(now-b.last), 0)
	if n < 0 || n > b.burst || level+n*b.interval > b.burst*b.interval {
		return n == 0
	}
	b.level, b.last = level+n*b.interval, now
	return true
}

func newBucket(q Quota) *leakyBucket { return &leakyBucket{interval: q.interval(), burst: q.burst()} }

var quotas = []Quota{
	{Count: 10, Per: time.Second, Burst: 20},
	{Count: 3, Per: time.Second},
	{Count: 1, Per: time.Minute, Burst: 1},
	{Count: 1_000_000, Per: time.Second, Burst: 5},
	{Count: 1, Per: 1, Burst: 3},
	{Count: 1, Per: time.Hour, Burst: 1000},
}

// step returns a time to the next event: mostly near the interval, now and then none, seldom long.
func step(rng *rand.Rand, q Quota) int64 {
	switch rng.IntN(10) {
	case 0, 1, 2:
		return 0
	case 3:
		return rng.Int64N(2*q.burst()*q.interval() + 1)
	default:
		return rng.Int64N(2*q.interval() + 1)
	}
}

func TestGCRA_isTheLeakyBucketOfI371(t *testing.T) {
	for _, q := range quotas {
		rng := rand.New(rand.NewPCG(1, 371))
		local, shared, model := NewLocalGCRA(q), NewSharedGCRA(q), newBucket(q)
		for now, i := int64(0), 0; i < 20_000; i++ {
			now += step(rng, q)
			n := int64(1)
			if rng.IntN(4) == 0 {
				n = rng.Int64N(q.burst()+3) - 1
			}
			want := model.take(now, n)
			got, wait := local.Take(now, n)
			got2, wait2 := shared.Take(now, n)
			if got != want || got2 != want || wait != wait2 {
				t.Fatalf("%+v at %d, %d events: local %v %v, shared %v %v, want %v",
					q, now, n, got, wait, got2, wait2, want)
			}
			if s, s2 := local.State(now), shared.State(now); s != s2 || s.Remaining < 0 || s.Remaining > q.burst() {
				t.Fatalf("%+v at %d: %+v, %+v", q, now, s, s2)
			}
		}
	}
}

// Whatever comes when: in every time t, no more than burst + t/interval events are admitted.
func TestGCRA_admitsNoMoreThanItsRateInAnyWindow(t *testing.T) {
	for _, q := range quotas {
		rng := rand.New(rand.NewPCG(2, 371))
		g := NewLocalGCRA(q)
		var admitted []int64
		for now := int64(0); len(admitted) < 1500; now += step(rng, q) {
			if ok, _ := g.Take(now, 1); ok {
				admitted = append(admitted, now)
			}
		}
		checkWindows(t, q, admitted, 0)
	}
}

// checkWindows fails when in a window of sorted times more than burst + (t+slack)/interval lie.
func checkWindows(t *testing.T, q Quota, times []int64, slack int64) {
	t.Helper()
	for i := range times {
		for j := i; j < len(times); j++ {
			if n, most := int64(j-i+1), q.burst()+(times[j]-times[i]+slack)/q.interval(); n > most {
				t.Fatalf("%+v: %d events in %d ns, %d are allowed", q, n, times[j]-times[i], most)
			}
		}
	}
}

func TestGCRA_retryAfterIsExact(t *testing.T) {
	for _, q := range quotas {
		rng := rand.New(rand.NewPCG(3, 371))
		g := NewLocalGCRA(q)
		for now, refused := int64(0), 0; refused < 1000; now += step(rng, q) {
			n := 1 + rng.Int64N(q.burst())
			ok, wait := g.Take(now, n)
			if ok {
				continue
			}
			refused++
			early, right := *g, *g
			if ok, _ := early.Take(now+int64(wait)-1, n); ok {
				t.Fatalf("%+v: admitted 1 ns before the time", q)
			}
			if ok, _ := right.Take(now+int64(wait), n); !ok {
				t.Fatalf("%+v: refused after the time", q)
			}
		}
	}
}

func TestGCRA_stateIsWhatTakeDoes(t *testing.T) {
	for _, q := range quotas {
		rng := rand.New(rand.NewPCG(4, 371))
		g := NewLocalGCRA(q)
		for now, i := int64(0), 0; i < 2000; i++ {
			now += step(rng, q)
			g.Take(now, 1+rng.Int64N(q.burst()))
			s := g.State(now)
			all, more, full := *g, *g, *g
			if ok, _ := all.Take(now, s.Remaining); !ok {
				t.Fatalf("%+v: %+v, and it is refused", q, s)
			}
			if ok, _ := more.Take(now, s.Remaining+1); ok {
				t.Fatalf("%+v: %+v, and one more is admitted", q, s)
			}
			if got := full.State(now + int64(s.Reset)); got != (State{Remaining: q.burst()}) {
				t.Fatalf("%+v: %+v after the reset", q, got)
			}
		}
	}
}

func TestGCRA_moreThanTheBurstIsNeverAdmitted(t *testing.T) {
	q := Quota{Count: 10, Per: time.Second, Burst: 5}
	local, shared := NewLocalGCRA(q), NewSharedGCRA(q)
	for _, n := range []int64{6, -1, 1 << 62, -1 << 63} {
		if ok, wait := local.Take(0, n); ok || wait != Never {
			t.Errorf("local, %d: %v, %v", n, ok, wait)
		}
		if ok, wait := shared.Take(0, n); ok || wait != Never {
			t.Errorf("shared, %d: %v, %v", n, ok, wait)
		}
	}
}

// A clock that goes back by up to a second admits nothing twice; a longer step starts the cell afresh instead of
// refusing everything for as long.
func TestGCRA_clockThatGoesBack(t *testing.T) {
	q := Quota{Count: 10, Per: time.Second, Burst: 2}
	g, now := NewLocalGCRA(q), int64(time.Hour)
	g.Take(now, 2)
	for _, back := range []time.Duration{1, time.Millisecond, time.Second} {
		if ok, wait := g.Take(now-int64(back), 1); ok || wait != 100*time.Millisecond+back {
			t.Errorf("%v back: %v, %v", back, ok, wait)
		}
	}
	if ok, _ := g.Take(now-2*int64(time.Second), 1); !ok {
		t.Error("2 s back: refused")
	}
}

func TestSharedGCRA_TakeUpTo(t *testing.T) {
	g := NewSharedGCRA(Quota{Count: 10, Per: time.Second, Burst: 5})
	for _, c := range []struct{ n, want, remaining int64 }{{0, 0, 5}, {-1, 0, 5}, {3, 3, 2}, {3, 2, 0}, {1, 0, 0}} {
		got, wait := g.TakeUpTo(0, c.n)
		if s := g.State(0); got != c.want || s.Remaining != c.remaining {
			t.Errorf("up to %d: %d, %v, then %+v", c.n, got, wait, s)
		}
		if refused := c.n > 0 && c.want == 0; (wait == 100*time.Millisecond) != refused {
			t.Errorf("up to %d: wait %v", c.n, wait)
		}
	}
}

// All goroutines together are admitted no more than one would be, whatever their clocks say within a second.
func TestSharedGCRA_admitsNoMoreThanItsRateToAll(t *testing.T) {
	const goroutines, events = 4, 5000
	q := Quota{Count: 1000, Per: time.Second, Burst: 50}
	g := NewSharedGCRA(q)
	var admitted [goroutines]int64
	var latest [goroutines]int64
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(5, uint64(i)))
			now := rng.Int64N(int64(time.Second))
			for range events {
				if ok, _ := g.Take(now, 1); ok {
					admitted[i]++
				}
				latest[i] = now
				now += rng.Int64N(100_000)
			}
		})
	}
	wg.Wait()
	total, last := int64(0), int64(0)
	for i := range admitted {
		total, last = total+admitted[i], max(last, latest[i])
	}
	if most := q.burst() + last/q.interval(); total > most || total < q.burst() {
		t.Errorf("%d events in %v, between %d and %d are right", total, time.Duration(last), q.burst(), most)
	}
}

// The TAT moves by an interval for each event: none is lost and none counts twice.
func TestSharedGCRA_isExactAtOneTime(t *testing.T) {
	const goroutines = 4
	g := NewSharedGCRA(Quota{Count: 1, Per: time.Hour, Burst: 10_000})
	var admitted [goroutines]int
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for ok := true; ok; {
				if ok, _ = g.Take(0, 1); ok {
					admitted[i]++
				}
			}
		})
	}
	wg.Wait()
	if n := admitted[0] + admitted[1] + admitted[2] + admitted[3]; n != 10_000 {
		t.Errorf("%d events admitted of a burst of 10000", n)
	}
}

// In any window, leases let through what the cell admits and what they held when it began.
func TestLease_errorIsWhatLeasesHold(t *testing.T) {
	const size, leases = 5, 3
	q := Quota{Count: 100, Per: time.Second, Burst: 40}
	rng := rand.New(rand.NewPCG(6, 371))
	g := NewSharedGCRA(q)
	var all [leases]*Lease
	for i := range all {
		all[i] = NewLease(g, size)
	}
	var admitted, held []int64
	for now := int64(0); len(admitted) < 1500; now += step(rng, q) {
		before := all[0].Held() + all[1].Held() + all[2].Held()
		if ok, _ := all[rng.IntN(leases)].Take(now); ok {
			admitted, held = append(admitted, now), append(held, before)
		}
	}
	for i := range admitted {
		if held[i] > leases*size {
			t.Fatalf("leases hold %d", held[i])
		}
		for j := i; j < len(admitted); j++ {
			most := q.burst() + (admitted[j]-admitted[i])/q.interval() + held[i]
			if n := int64(j - i + 1); n > most {
				t.Fatalf("%d events in %d ns, %d are allowed", n, admitted[j]-admitted[i], most)
			}
		}
	}
}

// A lease that was refused asks the cell again when an event may be there, and not earlier.
func TestLease_refusalHoldsUntilRetryAfter(t *testing.T) {
	g := NewSharedGCRA(Quota{Count: 10, Per: time.Second, Burst: 2})
	l := NewLease(g, 100) // no more than the burst
	if ok, _ := l.Take(0); !ok || l.Held() != 1 {
		t.Fatalf("%v, %d held", ok, l.Held())
	}
	l.Take(0)
	ok, wait := l.Take(0)
	if ok || wait != 100*time.Millisecond {
		t.Fatalf("%v, %v", ok, wait)
	}
	if ok, wait := l.Take(60_000_000); ok || wait != 40*time.Millisecond {
		t.Errorf("%v, %v", ok, wait)
	}
	if ok, _ := l.Take(100_000_000); !ok {
		t.Error("refused after the time")
	}
	l.Take(100_000_000)
	if ok, _ := l.Take(-int64(time.Hour)); !ok {
		t.Error("refused by a clock that went back an hour")
	}
	if l := NewLease(g, 0); l.size != 1 {
		t.Errorf("a lease of %d", l.size)
	}
}

func TestLease_manyGoroutines(t *testing.T) {
	const goroutines, burst = 4, 1000
	g := NewSharedGCRA(Quota{Count: 1, Per: time.Hour, Burst: burst})
	var admitted [goroutines]int
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			l := NewLease(g, 7)
			for ok := true; ok; {
				if ok, _ = l.Take(0); ok {
					admitted[i]++
				}
			}
		})
	}
	wg.Wait()
	if n := admitted[0] + admitted[1] + admitted[2] + admitted[3]; n != burst {
		t.Errorf("%d events admitted of a burst of %d", n, burst)
	}
}

// FuzzGCRA runs times and numbers against the leaky bucket.
func FuzzGCRA(f *testing.F) {
	f.Add(int64(10), int64(time.Second), int64(20), []byte{0, 1, 200, 3, 90, 255})
	f.Fuzz(func(t *testing.T, count, per, burst int64, ops []byte) {
		q := Quota{Count: count, Per: time.Duration(per), Burst: burst}
		if q.Validate() != nil {
			t.Skip()
		}
		local, shared, model := NewLocalGCRA(q), NewSharedGCRA(q), newBucket(q)
		now := int64(0)
		for i := 0; i+1 < len(ops); i += 2 {
			if now += int64(ops[i]) * (q.interval()/16 + 1); now < 0 || now > spanMax {
				return
			}
			n := int64(ops[i+1] % 8)
			want := model.take(now, n)
			got, wait := local.Take(now, n)
			got2, wait2 := shared.Take(now, n)
			if got != want || got2 != want || wait != wait2 || wait < 0 || got != (wait == 0) {
				t.Fatalf("%+v at %d, %d events: local %v %v, shared %v %v, want %v",
					q, now, n, got, wait, got2, wait2, want)
			}
		}
	})
}

// limitReq is limit_req of nginx as its documentation describes it: a leaky bucket in thousandths of a request and
// milliseconds, where a request that finds the bucket empty counts for nothing.
type limitReq struct {
	perSecond, burst int64
	excess, last     int64
	known            bool
}

func (l *limitReq) request(ms int64) (admitted bool, delay time.Duration) {
	excess := int64(0)
	if l.known {
		excess = max(l.excess-l.perSecond*(ms-l.last)+1000, 0)
	}
	if excess > l.burst*1000 {
		return false, 0
	}
	l.excess, l.last, l.known = excess, ms, true
	return true, time.Duration(excess) * time.Millisecond / time.Duration(l.perSecond)
}

// README.md says which Quota is which limit_req, and how long a request waits without nodelay.
func TestQuota_ofNginx(t *testing.T) {
	for _, c := range []struct{ perSecond, burst int64 }{{10, 20}, {10, 0}, {1, 5}, {200, 3}} {
		q := Quota{Count: c.perSecond, Per: time.Second, Burst: c.burst + 1}
		g, model := NewLocalGCRA(q), &limitReq{perSecond: c.perSecond, burst: c.burst}
		rng := rand.New(rand.NewPCG(7, 371))
		for ms, i := int64(0), 0; i < 5000; i++ {
			ms += rng.Int64N(2000/c.perSecond + 1)
			now := ms * int64(time.Millisecond)
			want, delay := model.request(ms)
			if got, _ := g.Take(now, 1); got != want {
				t.Fatalf("%+v at %d ms: %v", c, ms, got)
			}
			if got := g.State(now).Reset - time.Duration(q.interval()); want && got != delay {
				t.Fatalf("%+v at %d ms: a delay of %v, want %v", c, ms, got, delay)
			}
		}
	}
}
