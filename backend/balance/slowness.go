package balance

import "math"

// The constants of slowness. See docs/design/adr/0012-adaptive-balancing.md for what they were measured against.
const (
	idleHalf    = 5000 // ms: a backend that is not asked is forgiven half of its slowness in this time
	bandLeast   = 2.8  // see band
	bandMost    = 5
	meanClip    = 8         // times the mean: a longer answer counts as this in the mean
	latClip     = 8         // times the mean: a longer answer counts as this in the latency of its backend,
	latGrowth   = 3         // or as this times what that is already
	meanOf      = 256       // answers, about: how long the mean remembers
	faultMean   = 10        // times the mean: what a failure counts as for the backend
	faultMin    = 1_000_000 // µs: at least
	faultGrowth = 16        // times what is known of the backend: at least, up to slowMax
	latMax      = 1<<28 - 1 // µs: 268 s, the longest that a sample holds
	slowOne     = 1 << 8    // not slow
	slowMax     = 1 << 18   // 1024 times slower
	sweepMs     = 128       // how often the slowness of backends without answers is worked out again
	peakHalf    = 6931      // ms: peaks fall by e in 10 s, as in Finagle
	peakScale   = 1 << 12   // µs: a peak of as much costs as much as byLoad
	skewMax     = 1<<12 - 1 // ms: the times of two reactors differ by less
	meanBits    = 52        // of an average that are the mean; the rest are the count
	meanOne     = 1 << 12   // µs in them, so that a 256th of a microsecond is not lost
	meanLeast   = 1.0 / 16  // µs
)

// sample is a latency and when it was taken, in one word: racy by intent, since two reactors that fold their samples at
// the same time may lose the samples of one of them.
//
//	bits 63…32: µs << 4    bits 31…0: ms
type sample uint64

// newSample returns the sample of a latency. It is never 0, which stands for none.
func newSample(us float64, ms uint32) sample {
	return max(sample(uint64(min(us, latMax)*16)<<32)|sample(ms), 1)
}

func (s sample) us() float64 { return float64(s>>32) / 16 }

// ms returns the time of the last answer, in the low 32 bits of milliseconds.
func (s sample) ms() uint32 { return uint32(s) }

// average is the mean of the latencies of all backends, and how many answers it is of, up to 256. The zero average is
// of none.
//
//	bits 63…52: answers    bits 51…0: µs × 4096
type average uint64

func (a average) us() float64 { return float64(a&(1<<meanBits-1)) / meanOne }

// clip returns what a longer answer counts as, in microseconds.
func (a average) clip() uint32 {
	if a == 0 {
		return latMax
	}
	return uint32(min(meanClip*a.us(), latMax))
}

// with returns the average with n more answers that are sum microseconds together. The first ones have equal parts in
// it; later each is a 256th.
func (a average) with(n int, sum uint64) average {
	count, mean := min(int(a>>meanBits)+n, meanOf), a.us()
	mean += (float64(sum)/float64(n) - mean) * min(float64(n)/float64(count), 1)
	return average(count)<<meanBits | average(max(mean, meanLeast)*meanOne)
}

// since returns how many milliseconds before now then was; 0 when it was after now on the clock of another reactor.
func since(now, then uint32) uint32 {
	if d := now - then; d <= math.MaxUint32-skewMax {
		return d
	}
	return 0
}

// foldWeight is the weight of n samples that have one sixteenth each: 1−(15/16)^n.
var foldWeight = func() (table [17]float64) {
	for n := range table {
		table[n] = 1 - math.Pow(15.0/16, float64(n))
	}
	return table
}()

// halving is 2^(−k/8), for what fades by halves.
var halving = func() (table [64 * 8]float64) {
	for k := range table {
		table[k] = math.Exp2(-float64(k) / 8)
	}
	return table
}()

// faded returns 2^(−idle/half).
func faded(idle, half uint32) float64 {
	if k := uint64(idle) * 8 / uint64(half); k < uint64(len(halving)) {
		return halving[k]
	}
	return 0
}

// foldMean adds n answers of a sum of microseconds to the mean of all backends, and returns it.
func (l *Loads) foldMean(n int, sum uint64) average {
	a := average(l.mean.Load())
	if n > 0 {
		a = a.with(n, sum)
		l.mean.Store(uint64(a))
	}
	return a
}

// usualLatency is what a backend's latency is compared with.
type usualLatency struct {
	us   float64 // a usual latency; 0: there was no answer yet
	band float64 // a backend is slow beyond so many times that
}

// usual returns what is known of all backends. The usual latency is the harmonic mean of the latencies of the backends,
// by answers: a backend that is slow adds nothing to it, be it one of two.
func (l *Loads) usual() usualLatency {
	pace, spread := math.Float64frombits(l.pace.Load()), math.Float64frombits(l.spread.Load())
	if pace == 0 {
		return usualLatency{band: bandLeast}
	}
	return usualLatency{1 / pace, min(max(bandLeast, 1+spread), bandMost)}
}

// updateUsual adds n answers, of a mean that is r times the latency of their backend, to what is usual. lat is that
// latency with them; part is what they count.
//
// The more the answers of one backend differ by themselves, the less their average says of it: the band is 1 plus the
// square of their coefficient of variation. That is 1 where all take the same time, 2 where times are exponential, 2.7
// where they are lognormal with σ = 1, more where some answers wait for an event. The mean of n answers is √n times
// nearer to the latency than one is, which itself moves like the mean of 31.
func (l *Loads) updateUsual(n int, r, lat, part float64) {
	pace, spread := math.Float64frombits(l.pace.Load()), math.Float64frombits(l.spread.Load())
	if pace == 0 {
		part = 1
	}
	l.pace.Store(math.Float64bits(pace + (1/max(lat, meanLeast)-pace)*part))
	square := (r - 1) * (r - 1) * float64(n) / (1 + float64(n)/31)
	l.spread.Store(math.Float64bits(spread + (square-spread)*part))
}

// fold adds n answers of a sum of microseconds to what is known of c. mean is the mean of all backends.
//
// One answer that is much longer than the others says little of its backend, since requests differ: all answers of
// a millisecond raise lat by no more than one answer of eight times the mean does, which is half of the mean and
// within the dead band. Where the answers of one millisecond after the other are long, lat grows by half of the mean
// with each, and once it is high by an eighth of itself. With faster growth a backend would pay for a pause long after
// it: all that waited is late.
//
// A backend that was not asked was forgiven a part of its slowness. An answer that is no slower than the rest does not
// take that back: a backend that was 1000 times slower would need minutes for its share, half a minute for each answer.
func (l *Loads) fold(c *cell, n int, sum uint32, mean average, now uint32) {
	us := float64(sum) / float64(n)
	usual := l.usual()
	old, lat, idle := sample(c.sampled.Load()), usual.us, uint32(idleHalf)
	if old != 0 {
		lat, idle = old.us(), since(now, old.ms())
		if usual.isSlow(lat) {
			lat = min(lat, max(us, usual.fadedLatency(lat, idle)))
		}
	} else if lat == 0 {
		lat = us
	}
	r := min(us/max(lat, meanLeast), latClip)
	first := max(foldWeight[1], min(float64(idle)/idleHalf, 0.5))
	lat += min((us-lat)*max(foldWeight[min(n, 16)], first), (max(latClip*mean.us(), latGrowth*lat)-lat)*first)
	l.updateUsual(n, r, lat, min(float64(n)/float64(mean>>meanBits), 1))
	l.setLatency(c, lat, us, now)
}

// fail adds a failure to what is known of c. It is not usual, whatever the others do.
func (l *Loads) fail(c *cell, now uint32) {
	u := l.usual()
	usual, lat, idle := u.us, u.us, uint32(idleHalf)
	if old := sample(c.sampled.Load()); old != 0 {
		lat, idle = old.us(), since(now, old.ms())
		if old.ms() == now && u.isSlow(lat) {
			return // a process that ends fails all that is under way, which says no more than one failure does
		}
	}
	// Failures in a row double lat: a backend that fails at once is idle, and must cost more than what is under way at
	// each of the others.
	fault := max(faultMin, faultMean*usual)
	us := max(fault, min(faultGrowth*lat, slowMax/slowOne*usual))
	l.setLatency(c, lat+(us-lat)*max(foldWeight[1], min(float64(idle)/idleHalf, 0.5)), fault, now)
}

// setLatency makes lat the latency of c, after an answer of us microseconds.
func (l *Loads) setLatency(c *cell, lat, us float64, now uint32) {
	lat = min(lat, latMax)
	c.sampled.Store(uint64(newSample(lat, now)))
	l.setSlow(c, l.usual().slowness(lat, 0))
	if l.peaks.Load() {
		peak := peaked(sample(c.peak.Load()), us, now)
		c.peak.Store(uint64(newSample(peak, now)))
		c.updatePeakCost(peak)
	}
}

// slowness returns by how much a backend of latency lat is slower than usual, when it has not answered for idle ms. Up
// to band times the usual latency it is not slow, so that noise moves nothing.
func (u usualLatency) slowness(lat float64, idle uint32) uint32 {
	if !u.isSlow(lat) {
		return slowOne
	}
	return uint32(max(slowOne, u.fadedLatency(lat, idle)/u.us*slowOne))
}

// isSlow reports whether lat is beyond the band: noise is not.
func (u usualLatency) isSlow(lat float64) bool { return u.us > 0 && lat > u.band*u.us }

// fadedLatency returns a slow latency less the part that idle ms without an answer take off: as much as usual at least.
func (u usualLatency) fadedLatency(lat float64, idle uint32) float64 {
	return max(u.us, min(lat, slowMax/slowOne*u.us)*faded(idle, idleHalf))
}

// setSlow notes how slow a backend is, and counts those that are.
func (l *Loads) setSlow(c *cell, slow uint32) {
	if slow == slowOne && c.slow.Load() == slowOne {
		return
	}
	switch old := c.slow.Swap(slow); {
	case old == slowOne && slow != slowOne:
		l.slowed.Add(1)
	case old != slowOne && slow == slowOne:
		l.slowed.Add(-1)
	}
	c.updateSlowCost()
}

// fadeSlowness works out how slow backends are that get no answers: their slowness and their peaks fade, so that they
// are asked again. One reactor does it for all, every 128 ms, while there is something that fades.
func (l *Loads) fadeSlowness(now uint32) {
	peaks := l.peaks.Load()
	if l.slowed.Load() == 0 && !peaks {
		return
	}
	last := l.swept.Load()
	if since(now, last) < sweepMs || !l.swept.CompareAndSwap(last, now) {
		return
	}
	mean := average(l.mean.Load()).us()
	usual := l.usual()
	for _, p := range *l.pages.Load() {
		for i := range p {
			c := &p[i]
			if c.slow.Load() != slowOne {
				s := sample(c.sampled.Load())
				l.setSlow(c, usual.slowness(s.us(), since(now, s.ms())))
			}
			if peaks {
				c.updatePeakCost(sample(c.peak.Load()).fadedPeak(mean, now))
			}
		}
	}
}

// fadedPeak returns what is left of a peak, or the mean where there is none.
func (s sample) fadedPeak(mean float64, now uint32) float64 {
	if s == 0 {
		return mean
	}
	return s.us() * faded(since(now, s.ms()), peakHalf)
}

// peaked returns the peak-sensitive latency: a longer answer than before counts at once, shorter ones by and by
// (Finagle's PeakEwma).
func peaked(old sample, us float64, now uint32) float64 {
	lat := old.us()
	if old == 0 || us >= lat {
		return us
	}
	w := faded(since(now, old.ms()), peakHalf)
	return lat*w + us*(1-w)
}
