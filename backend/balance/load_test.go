package balance

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Requests that are published and those that are not add up to those that have entered and not left, whichever reactor
// counts them. A reactor sees all that is published and its own.
func TestLocal_addsUp(t *testing.T) {
	for seed := range uint64(testutil.Rounds(100)) {
		rng := rand.New(rand.NewPCG(seed, 8))
		n := 1 + rng.IntN(200)
		v := NewView(fleet(n, false), nil)
		locals := make([]*Local, 1+rng.IntN(4))
		own := make([][][2]int, len(locals)) // not published: by reactor, backend and kind
		published := make([][2]int, n)
		for r := range locals {
			locals[r], own[r] = NewLocal(v.loads, uint64(r)), make([][2]int, n)
		}
		entered := 0
		for range 3000 {
			r, i, tunnel := rng.IntN(len(locals)), rng.IntN(n), rng.IntN(2)
			l := locals[r]
			switch rng.IntN(8) {
			case 0, 1, 2:
				if len(locals) > 1 && l.entered == publishEvery-1 {
					publishModel(own[r], published)
					published[i][tunnel]++ // it is told with the others
				} else {
					own[r][i][tunnel]++
				}
				l.Enter(i, tunnel == 1)
				entered++
			case 3, 4:
				l.Leave(i, tunnel == 1)
				own[r][i][tunnel]--
			case 5:
				l.Become(i)
				own[r][i][0]--
				own[r][i][1]++
			case 6:
				l.Answered(i, rng.Uint32N(1<<20), uint32(entered))
			case 7:
				if rng.IntN(10) == 0 {
					l.Publish()
					publishModel(own[r], published)
				}
			}
			if len(locals) == 1 { // nobody else looks: it counts where all see it
				publishModel(own[0], published)
			}
			sees(t, v, locals[r], i, published[i], own[r][i])
		}
		for r, l := range locals {
			l.Publish()
			if publishModel(own[r], published); l.Dirty() {
				t.Fatalf("seed %d: dirty after Publish", seed)
			}
		}
		for i := range n {
			sees(t, v, locals[0], i, published[i], [2]int{})
		}
	}
}

// publishModel moves what is a reactor's own to what is published.
func publishModel(own, published [][2]int) {
	for i := range own {
		for kind := range own[i] {
			published[i][kind] += own[i][kind]
			own[i][kind] = 0
		}
	}
}

// sees compares what l and the Loads of v say of backend i with a model.
func sees(t *testing.T, v *View, l *Local, i int, published, own [2]int) {
	t.Helper()
	requests, tunnels := v.loads.InFlight(i)
	if requests != max(published[0], 0) || tunnels != max(published[1], 0) {
		t.Fatalf("backend %d: %d requests and %d tunnels are published, not %v", i, requests, tunnels, published)
	}
	all := published[0] + own[0]
	if n := l.InFlight(v, i, &Request{}); n != max(all, 0) {
		t.Fatalf("backend %d: a request meets %d, not %d", i, n, all)
	}
	all += published[1] + own[1]
	if n := l.InFlight(v, i, &Request{Tunnel: true}); n != max(all, 0) {
		t.Fatalf("backend %d: a tunnel meets %d, not %d", i, n, all)
	}
}

// Many reactors, whose Views change and grow: in the end all has left, and slow ones are counted right.
func TestLoads_manyReactors(t *testing.T) {
	loads := NewLoads()
	var wg sync.WaitGroup
	for r := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 9))
			l := NewLocal(loads, uint64(r))
			methods := []Picker{Adaptive.New(r, 8), PeakEWMA.New(r, 8), LeastConn.New(r, 8)}
			var under []int
			for tick := range uint32(testutil.Rounds(300)) {
				now := tick*10 + rng.Uint32N(5)
				v := NewView(fleet(1+rng.IntN(200), true), loads)
				v = v.Where(func(i int) bool { return i%3 != int(tick)%3 || i == 0 })
				for range 20 {
					i := methods[rng.IntN(3)].Pick(v, l, &Request{})
					if under = append(under, i); i < 0 {
						t.Error("none is picked")
						return
					}
					l.Enter(i, false)
					if l.Answered(i, rng.Uint32N(1000), now); rng.IntN(10) == 0 {
						l.Failed(i, now)
					}
				}
				for len(under) > 50 {
					l.Leave(under[0], false)
					under = under[1:]
				}
				if l.Publish(); rng.IntN(20) == 0 {
					loads.Scale(0, 0.5)
					loads.Forget(rng.IntN(v.Len()))
				}
			}
			for _, i := range under {
				l.Leave(i, false)
			}
			l.Publish()
		})
	}
	wg.Wait()
	slowed := int32(0)
	for _, p := range *loads.pages.Load() {
		for i := range p {
			c := &p[i]
			if c.inflight.Load() != 0 || c.tunnels.Load() != 0 {
				t.Errorf("%d requests and %d tunnels are left", c.inflight.Load(), c.tunnels.Load())
			}
			slow, step := uint64(c.slow.Load()), uint64(c.steps[byLoad].Load())
			if slow != slowOne {
				slowed++
			}
			if want := min(step*slow/slowOne, math.MaxUint32); uint64(c.steps[bySlow].Load()) != want {
				t.Errorf("a step of %d, %d times slow, is %d", step, slow, c.steps[bySlow].Load())
			}
		}
	}
	if got := loads.slowed.Load(); got != slowed {
		t.Errorf("%d backends are slow, %d are counted", slowed, got)
	}
}

// floats is docs/balancing.md in floating point: what one reactor that answers one request a tick knows.
type floats struct {
	lat, peak, at []float64 // of each backend; at is when it answered last, in ms; below 0: never
	mean          float64
	pace, spread  float64
	answers       float64
}

func newFloats(n int) *floats {
	m := &floats{lat: make([]float64, n), peak: make([]float64, n), at: make([]float64, n)}
	for i := range m.at {
		m.at[i] = -1
	}
	return m
}

func (m *floats) answered(i int, us, now float64) {
	if m.answers++; m.answers == 1 {
		m.mean = us
	} else {
		m.mean += (min(us, math.Floor(8*m.mean)) - m.mean) / min(m.answers, 256)
	}
	lat := m.before(i)
	if lat == 0 {
		lat = us
	}
	if m.at[i] >= 0 && m.isSlow(i) { // what it was forgiven is not taken back
		lat = min(lat, max(us, m.slow(i, now)/m.pace))
		m.lat[i] = lat
	}
	m.fold(i, lat, us, min(us, max(8*m.mean, 3*lat)), now)
	part := 1 / min(m.answers, 256)
	m.pace += (1/m.lat[i] - m.pace) * part
	r := min(us/lat, 8)
	m.spread += ((r-1)*(r-1)/(1+1.0/31) - m.spread) * part
}

// before returns the latency of i as it was, or what is usual.
func (m *floats) before(i int) float64 {
	switch {
	case m.at[i] >= 0:
		return m.lat[i]
	case m.pace > 0:
		return 1 / m.pace
	}
	return 0
}

func (m *floats) failed(i int, now float64) {
	usual := 0.0
	if m.pace > 0 {
		usual = 1 / m.pace
	}
	us := max(1e6, 10*usual)
	m.fold(i, m.before(i), us, max(us, min(16*m.before(i), 1024*usual)), now)
}

// fold takes an answer of us microseconds, which counts as clipped in the latency, lat before.
func (m *floats) fold(i int, lat, us, clipped, now float64) {
	if m.at[i] < 0 {
		m.lat[i], m.peak[i] = lat+(clipped-lat)/2, us
	} else {
		idle := now - m.at[i]
		m.lat[i] += (clipped - lat) * min(max(idle/5000, 1.0/16), 0.5)
		if w := math.Exp(-idle / 10_000); us >= m.peak[i] {
			m.peak[i] = us
		} else {
			m.peak[i] = m.peak[i]*w + us*(1-w)
		}
	}
	m.lat[i], m.at[i] = min(m.lat[i], latMax), now
}

func (m *floats) slow(i int, now float64) float64 {
	if m.at[i] < 0 || !m.isSlow(i) {
		return 1
	}
	return max(1, min(m.lat[i]*m.pace, 1024)*math.Exp2(-math.Floor((now-m.at[i])/625)/8))
}

func (m *floats) isSlow(i int) bool {
	return m.pace > 0 && m.lat[i]*m.pace > min(max(bandLeast, 1+m.spread), bandMost)
}

// near reports whether got is within a part of want.
func near(got, want, part float64) bool { return math.Abs(got-want) <= part*want+1.0/16 }

// One reactor, one answer a tick: latencies, their mean, their peaks and slowness are those of the model.
func TestLoads_followTheModel(t *testing.T) {
	for seed := range uint64(testutil.Rounds(50)) {
		rng := rand.New(rand.NewPCG(seed, 10))
		n := 1 + rng.IntN(10)
		v := NewView(fleet(n, false), nil)
		v.loads.keepPeaks()
		l, m := NewLocal(v.loads, 1), newFloats(n)
		begin, now := rng.Uint32(), 0 // the clock may go around
		for range 2000 {
			now += 1 + rng.IntN(1<<rng.IntN(13))
			i := rng.IntN(n)
			if rng.IntN(20) == 0 {
				l.Failed(i, begin+uint32(now))
				m.failed(i, float64(now))
			} else {
				us := math.Exp(rng.NormFloat64()+float64(i)) * 500
				l.Answered(i, uint32(us), begin+uint32(now))
				m.answered(i, math.Floor(us), float64(now))
			}
			c, mean := v.cell(i), average(v.loads.mean.Load()).us()
			lat, peak := sample(c.sampled.Load()).us(), sample(c.peak.Load()).us()
			if !near(lat, m.lat[i], 1e-3) || !near(mean, m.mean, 1e-3) || !near(peak, m.peak[i], 0.1) {
				t.Fatalf("seed %d: backend %d: latency %.2f, want %.2f; mean %.2f, want %.2f; peak %.2f, want %.2f",
					seed, i, lat, m.lat[i], mean, m.mean, peak, m.peak[i])
			}
			// Small differences are not to add up.
			m.lat[i], m.mean, m.peak[i] = lat, mean, peak
			m.pace, m.spread = math.Float64frombits(v.loads.pace.Load()), math.Float64frombits(v.loads.spread.Load())
			if _, slow := v.loads.Latency(i); !near(slow, m.slow(i, float64(now)), 0.01) {
				t.Fatalf("seed %d: backend %d is %.3f slow, want %.3f", seed, i, slow, m.slow(i, float64(now)))
			}
			if at, ok := v.loads.AnsweredAt(i); !ok || at != begin+uint32(now) {
				t.Fatalf("seed %d: answered at %d, want %d", seed, at, begin+uint32(now))
			}
		}
	}
}

// A slow backend that gets no requests is forgiven by half in 5 s: within 28 s when it was 50 times slower.
func TestLoads_forgive(t *testing.T) {
	for _, start := range []uint32{0, 1 << 31, math.MaxUint32 - 5000} {
		v := Weights(1, 1)
		l := NewLocal(v.loads, 1)
		tick := func(now uint32, slow uint32) {
			if l.Answered(0, 1000, start+now); slow > 0 {
				l.Answered(1, slow, start+now)
			}
			l.fold(start + now)
		}
		for k := range uint32(300) {
			tick(k, 1000)
		}
		if _, slow := v.loads.Latency(1); slow != 1 {
			t.Fatalf("%v slow and as fast as the other", slow)
		}
		for k := range uint32(100) {
			tick(300+k, 50_000)
		}
		us, slow := v.loads.Latency(1)
		if us < 45_000 || slow < 5 || slow > 50 {
			t.Fatalf("after %d µs it is %v slow", us, slow)
		}
		lat, back := float64(us), uint32(0)
		for now := uint32(400); now < 60_000; now += 50 {
			tick(now, 0)
			_, slow := v.loads.Latency(1)
			want := max(1, lat/v.loads.usual().us*math.Exp2(-float64(now-399)/5000))
			if slow < want*0.99 || slow > want*1.15 { // it fades in steps of 9 %
				t.Fatalf("after %d ms it is %.2f slow, want %.2f", now-399, slow, want)
			}
			if slow == 1 && back == 0 {
				back = now
			}
		}
		if back < 20_000 || back > 32_000 {
			t.Errorf("forgiven after %d ms", back)
		}
		if v.loads.slowed.Load() != 0 {
			t.Error("it still counts as slow")
		}
	}
}

// Reactors do not read their clocks at the same moment: one that is late takes nothing for 49 days old.
func TestLoads_clocksDiffer(t *testing.T) {
	v := Weights(1, 1, 1)
	early, late := NewLocal(v.loads, 1), NewLocal(v.loads, 2)
	for range 100 {
		early.Answered(0, 1000, 1000)
		early.Answered(1, 1000, 1000)
	}
	early.fold(1000)
	for now := range uint32(10) {
		early.Failed(2, 1991+now)
	}
	was, slow := v.loads.Latency(2)
	late.Answered(2, 1000, 1990)
	us, after := v.loads.Latency(2)
	if lost := float64(was-us) / float64(was); lost < 0.05 || lost > 0.07 {
		t.Errorf("one answer took %.3f of the latency, %d µs to %d", lost, was, us)
	}
	if late.Answered(0, 1000, 1800); slow < 100 || after < slow/2 {
		t.Errorf("%v slow, then %v", slow, after)
	}
	late.fold(1800)
	if _, slow := v.loads.Latency(2); slow < after/2 {
		t.Errorf("the sweep of a late reactor makes it %v slow", slow)
	}
}

// Failures double the latency, by a second or ten times what is usual at least, and are not usual: a backend that fails
// fast gets nothing,
// and where all fail nothing changes between them.
func TestLoads_failures(t *testing.T) {
	v := NewView(fleet(10, false), nil)
	l, p := NewLocal(v.loads, 1), Adaptive.New(0, 1)
	for now := range uint32(100) {
		for i := range 10 {
			if i == 3 {
				l.Failed(i, now)
			} else {
				l.Answered(i, 200_000, now)
			}
		}
		l.fold(now)
	}
	if mean := v.loads.Mean(); mean < 190_000 || mean > 210_000 {
		t.Errorf("failures enter the mean: %d µs", mean)
	}
	if us, slow := v.loads.Latency(3); us < 100_000_000 || slow < 500 || slow > 1024 {
		t.Errorf("it fails: %d µs, %v slow", us, slow)
	}
	for range 10_000 {
		if p.Pick(v, l, &Request{}) == 3 {
			t.Fatal("the one that fails is picked of ten without requests")
		}
	}
	for now := range uint32(100) {
		for i := range 10 {
			l.Failed(i, 100+now)
		}
	}
	a, _ := v.loads.Latency(3)
	if b, _ := v.loads.Latency(4); math.Abs(float64(a-b)) > 0.01*float64(a) {
		t.Errorf("all fail: %d and %d µs", a, b)
	}
}

// All that is under way at a process that ends fails at once. That is one failure: the backend may be back as soon as
// it was gone, and is asked.
func TestLoads_failuresAtOnce(t *testing.T) {
	v := Weights(1, 1)
	l := NewLocal(v.loads, 1)
	for now := range uint32(300) {
		l.Answered(0, 20_000, now)
		l.Answered(1, 20_000, now)
		l.fold(now)
	}
	for range 1000 {
		l.Failed(1, 300)
	}
	if _, slow := v.loads.Latency(1); slow <= 1 || slow > 10 {
		t.Errorf("%v slow after 1000 failures in a millisecond", slow)
	}
	for now := range uint32(100) {
		l.Failed(1, 301+now)
	}
	if _, slow := v.loads.Latency(1); slow < 1000 {
		t.Errorf("%v slow after failures in a row", slow)
	}
}

// A backend that has failed for long is asked when its slowness has faded. When it is well then, it has its share from
// then on, and does not wait as long once more for each answer.
func TestLoads_aGoodAnswerKeepsWhatWasForgiven(t *testing.T) {
	v := Weights(1, 1)
	l := NewLocal(v.loads, 1)
	tick := func(now uint32) {
		l.Answered(0, 20_000, now)
		l.fold(now)
	}
	for now := range uint32(300) {
		l.Answered(1, 20_000, now)
		tick(now)
	}
	for now := range uint32(20) {
		l.Failed(1, 300+now)
	}
	now := uint32(320)
	slowness := func() float64 {
		_, slow := v.loads.Latency(1)
		return slow
	}
	for ; slowness() > 10; now += 50 {
		tick(now)
	}
	if now < 25_000 || now > 40_000 {
		t.Errorf("10 slow after %d ms", now)
	}
	l.Answered(1, 20_000, now)
	tick(now)
	tick(now + 1)
	if slow := slowness(); slow > 6 {
		t.Errorf("%v slow after a good answer", slow)
	}
	// One that is slow still is as slow as it is.
	l.Answered(1, 800_000, now+5000)
	tick(now + 5001)
	if slow := slowness(); slow < 4 {
		t.Errorf("%v slow after a slow answer", slow)
	}
}

// The cost that is worked out in whole numbers is that of docs/balancing.md.
func TestCost_isTheRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	for range testutil.Rounds(5000) {
		weight, part := 1+rng.IntN(1+rng.IntN(500)), max(0.1, rng.Float64())
		loads := NewLoads()
		v := NewView([]Backend{{Weight: weight}, {}}, loads)
		loads.Scale(0, part)
		l, c := NewLocal(loads, 1), v.cell(0)
		n := rng.IntN(1 << rng.IntN(20))
		c.inflight.Store(int32(n))
		l.growFor(v)
		loads.setSlow(c, slowOne+rng.Uint32N(1<<rng.IntN(16)))
		us := math.Exp(rng.Float64()*12) + 50
		c.updatePeakCost(us)
		w, slow := float64(weight)*part, float64(c.slow.Load())/slowOne
		for by, want := range []float64{
			byLoad: float64(n) / w,
			bySlow: (float64(n+1)*slow - 1) / w,
			byPeak: (float64(n)/w + 1) * us / peakScale,
		} {
			got := float64(cost(c, &l.pending[0], false, measure(by))) / stepOne
			if math.Abs(got-want) > 0.02*want+1e-5*float64(n+1) {
				t.Fatalf("measure %d: weight %.2f, %d requests, %.2f slow, %.0f µs: cost %.5f, want %.5f",
					by, w, n, slow, us, got, want)
			}
		}
	}
}

// No cost, however slow the backend and however many requests it has, goes beyond the bits that are compared.
func TestCost_doesNotOverflow(t *testing.T) {
	loads := NewLoads()
	v := Weights(1)
	v = NewView([]Backend{{Weight: 1}}, loads)
	loads.Scale(0, 1e-9)
	c, l := v.cell(0), NewLocal(loads, 1)
	l.growFor(v)
	loads.setSlow(c, slowMax)
	c.updatePeakCost(math.MaxFloat64)
	last := [measures]uint64{}
	for _, n := range []int32{0, 1, 1000, 1 << 20, 1<<26 - 1} {
		c.inflight.Store(n)
		for by := byLoad; by <= byPeak; by++ {
			at := cost(c, &l.pending[0], false, by)
			if at>>(64-markBits) != 0 || at < last[by] {
				t.Errorf("%d requests by %d cost %#x", n, by, at)
			}
			last[by] = at
		}
	}
}

func TestAverage(t *testing.T) {
	a := average(0)
	if a.us() != 0 || a.clip() != latMax {
		t.Errorf("none is %v µs, clipped at %d", a.us(), a.clip())
	}
	for n := 1; n <= 1000; n++ { // the mean of the first 256, then about that of the last 256
		if a = a.with(1, uint64(n)); n <= meanOf && !near(a.us(), float64(n+1)/2, 0.001) {
			t.Fatalf("the mean of 1 to %d is %v", n, a.us())
		}
	}
	if a.us() < 740 || a.us() > 780 || int(a>>meanBits) != meanOf || a.clip() != uint32(8*a.us()) {
		t.Errorf("%v of %d, clipped at %d", a.us(), a>>meanBits, a.clip())
	}
	if a = a.with(100_000, 100_000*5); !near(a.us(), 5, 0.001) {
		t.Errorf("after a tick of 100 000 it is %v", a.us())
	}
	if a = average(0).with(1, 0); a == 0 || a.us() <= 0 {
		t.Error("answers in no time count as none")
	}
	if a = average(0).with(3, 3*latMax); !near(a.us(), latMax, 0.001) {
		t.Errorf("the longest is %v", a.us())
	}
}

func TestSince(t *testing.T) {
	for _, c := range []struct{ now, then, want uint32 }{
		{5, 3, 2}, {3, 5, 0}, {0, 0, 0}, {2, math.MaxUint32 - 2, 5}, {math.MaxUint32, 2, 0}, {0, skewMax, 0},
		{1 << 31, 0, 1 << 31}, {0, 1 << 31, 1 << 31},
	} {
		if got := since(c.now, c.then); got != c.want {
			t.Errorf("%d is %d after %d, want %d", c.now, got, c.then, c.want)
		}
	}
}

// More answers in a millisecond than a count holds lose nothing but themselves.
func TestLocal_muchInOneMillisecond(t *testing.T) {
	v := Weights(1)
	l := NewLocal(v.loads, 1)
	for range 200_000 {
		l.Answered(0, 1000, 1)
	}
	l.Failed(0, 1)
	if us, _ := v.loads.Latency(0); v.loads.Mean() != 1000 || us < 1000 {
		t.Errorf("mean %d, latency %d", v.loads.Mean(), us)
	}
	for range 200_000 {
		l.Answered(0, math.MaxUint32, 2)
	}
	l.fold(3)
	if us, _ := v.loads.Latency(0); us > latMax || us < 20_000 || v.loads.Mean() > 8000 {
		t.Errorf("mean %d, latency %d", v.loads.Mean(), us)
	}
}

// The more answers differ by themselves, the more a backend's must be longer before it counts as slow.
func TestUsual_band(t *testing.T) {
	testutil.OnlyPlain(t)
	for _, c := range []struct {
		what        string
		answer      func(rng *rand.Rand) float64
		least, most float64
	}{
		{"all take the same time", func(*rand.Rand) float64 { return 1000 }, bandLeast, bandLeast},
		{"exponential", func(rng *rand.Rand) float64 { return rng.ExpFloat64() * 1000 }, bandLeast, 3},
		{"lognormal", func(rng *rand.Rand) float64 { return math.Exp(rng.NormFloat64()) * 1000 }, bandLeast, 3.6},
		{"one of ten waits", func(rng *rand.Rand) float64 {
			return 1000 + 1e5*float64(max(rng.IntN(10), 8)-8)
		}, 4, bandMost},
	} {
		rng, loads := rand.New(rand.NewPCG(12, 12)), NewLoads()
		l := NewLocal(loads, 1)
		for now := range uint32(20_000) {
			l.Answered(int(now%4), uint32(c.answer(rng))+1, now)
		}
		if got := loads.usual().band; got < c.least || got > c.most {
			t.Errorf("%s: %.2f times, want %v to %v", c.what, got, c.least, c.most)
		}
	}
}

// A slow backend is found among as few as two, also where requests come one at a time and it gets its turns at first.
func TestUsual_oneOfTwoIsSlow(t *testing.T) {
	testutil.OnlyPlain(t)
	for _, n := range []int{2, 3, 16} {
		v := NewView(fleet(n, false), nil)
		l, p, slow := NewLocal(v.loads, 1), Adaptive.New(0, 1), 0
		for k := range 20_000 {
			i, us := p.Pick(v, l, &Request{}), uint32(1000)
			if i == 1 {
				us, slow = 50_000, slow+1
			}
			l.Enter(i, false)
			l.Answered(i, us, uint32(k))
			l.Leave(i, false)
		}
		if slow > 200 {
			t.Errorf("of %d backends the slow one got %d of 20000 requests", n, slow)
		}
	}
}
