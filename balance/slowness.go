package balance

import "math"

// The constants of slowness. See docs/adr/0012-adaptive-balancing.md for what they were measured against.
const (
	idleHalf  = 5000      // ms: a backend that is not asked is forgiven half of its slowness in this time
	deadBand  = 2         // times the mean: a backend up to here is not slow, so that noise moves nothing
	meanClip  = 8         // times the mean: a longer answer counts as this in the mean
	faultMean = 10        // times the mean: what a failure counts as for the backend
	faultMin  = 1_000_000 // µs: at least
	latMax    = 1<<28 - 1 // µs: 268 s, the longest that a sample holds
	slowOne   = 1 << 8
	slowMax   = 1024 * slowOne
	meanShift = 12   // so that a 256th of a microsecond is not lost
	sweepMs   = 128  // how often the slowness of backends without answers is worked out again
	peakHalf  = 6931 // ms: peaks fall by e in 10 s, as in Finagle
)

// sample is a latency and when it was taken, in one word: racy by intent, since two reactors that fold their samples at
// the same time may lose those of one of them.
//
//	bits 63…32: µs << 4    bits 31…0: ms
type sample uint64

func newSample(us float64, ms uint32) sample {
	return sample(uint64(min(us, latMax)*16)<<32) | sample(ms)
}

// us returns the latency in microseconds.
func (s sample) us() float64 { return float64(s>>32) / 16 }

// ms returns the time of the last answer, in the low 32 bits of milliseconds.
func (s sample) ms() uint32 { return uint32(s) }

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

// fold adds n samples of a mean of us microseconds, and failures, to what is known of c.
func (l *Loads) fold(c *cell, n int, us float64, failures int, now uint32) {
	mean := float64(l.mean.Load()) / (1 << meanShift)
	if n > 0 {
		mean = l.foldMean(mean, us, n)
	}
	if failures > 0 {
		us = (us*float64(n) + max(faultMin, faultMean*mean)*float64(failures)) / float64(n+failures)
		n += failures
	}
	old, lat, idle := sample(c.sampled.Load()), mean, uint32(idleHalf)
	if old != 0 {
		lat, idle = old.us(), now-old.ms()
	}
	w := max(foldWeight[min(n, 16)], min(float64(idle)/idleHalf, 0.5))
	lat += (us - lat) * w
	c.sampled.Store(uint64(max(newSample(lat, now), 1)))
	l.setSlow(c, slowness(lat, mean, 0))
	if l.peaks.Load() {
		c.peak.Store(uint64(max(newSample(peaked(sample(c.peak.Load()), us, now), now), 1)))
	}
}

// foldMean adds n answers of a mean of us microseconds to the mean of all backends.
func (l *Loads) foldMean(mean, us float64, n int) float64 {
	if mean == 0 {
		mean = us
	} else {
		mean += (min(us, meanClip*mean) - mean) * min(float64(n)/256, 0.5)
	}
	l.mean.Store(uint64(max(mean, 1.0/16) * (1 << meanShift)))
	return mean
}

// slowness returns by how much a backend of latency lat is slower than the mean, when it has not answered for idle ms.
func slowness(lat, mean float64, idle uint32) uint32 {
	if mean == 0 || lat <= deadBand*mean {
		return slowOne
	}
	return uint32(max(slowOne, min(lat/mean*slowOne, slowMax)*faded(idle, idleHalf)))
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
}

// sweep works out how slow backends are that get no answers: their slowness fades, so that they are asked again. One
// reactor does it for all, every 128 ms, while there is a slow one.
func (l *Loads) sweep(now uint32) {
	last := l.swept.Load()
	if l.slowed.Load() == 0 || now-last < sweepMs || !l.swept.CompareAndSwap(last, now) {
		return
	}
	mean := float64(l.mean.Load()) / (1 << meanShift)
	for _, p := range *l.pages.Load() {
		for i := range p {
			if c := &p[i]; c.slow.Load() != slowOne {
				s := sample(c.sampled.Load())
				l.setSlow(c, slowness(s.us(), mean, now-s.ms()))
			}
		}
	}
}

// peaked returns the peak-sensitive latency: a longer answer than before counts at once, shorter ones by and by
// (Finagle's PeakEwma).
func peaked(old sample, us float64, now uint32) float64 {
	lat := old.us()
	if old == 0 || us >= lat {
		return us
	}
	w := faded(now-old.ms(), peakHalf)
	return lat*w + us*(1-w)
}
