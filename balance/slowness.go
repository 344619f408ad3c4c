package balance

import "math"

// The constants of slowness. See docs/adr/0012-adaptive-balancing.md for what they were measured against.
const (
	idleHalf  = 5000 // ms: a backend that is not asked is forgiven half of its slowness in this time
	bandLeast = 2    // see band
	bandMost  = 5
	meanClip  = 8         // times the mean: a longer answer counts as this in the mean
	latClip   = 8         // times the mean: a longer answer counts as this in the latency of its backend,
	latGrowth = 3         // or as this times what that is already
	meanOf    = 256       // answers, about: how long the mean remembers
	faultMean = 10        // times the mean: what a failure counts as for the backend
	faultMin  = 1_000_000 // µs: at least
	latMax    = 1<<28 - 1 // µs: 268 s, the longest that a sample holds
	slowOne   = 1 << 8    // not slow
	slowMax   = 1 << 18   // 1024 times slower
	sweepMs   = 128       // how often the slowness of backends without answers is worked out again
	peakHalf  = 6931      // ms: peaks fall by e in 10 s, as in Finagle
	peakScale = 1 << 12   // µs: a peak of as much costs as much as byLoad
	skewMax   = 1<<12 - 1 // ms: the times of two reactors differ by less
	meanBits  = 52        // of an average that are the mean; the rest are the count
	meanOne   = 1 << 12   // µs in them, so that a 256th of a microsecond is not lost
	meanLeast = 1.0 / 16  // µs
)

// sample is a latency and when it was taken, in one word: racy by intent, since two reactors that fold their samples at
// the same time may lose those of one of them.
//
//	bits 63…32: µs << 4    bits 31…0: ms
type sample uint64

// newSample returns the sample of a latency. It is never 0, which stands for none.
func newSample(us float64, ms uint32) sample {
	return max(sample(uint64(min(us, latMax)*16)<<32)|sample(ms), 1)
}

// us returns the latency in microseconds.
func (s sample) us() float64 { return float64(s>>32) / 16 }

// ms returns the time of the last answer, in the low 32 bits of milliseconds.
func (s sample) ms() uint32 { return uint32(s) }

// average is the mean of the latencies of all backends, and how many answers it is of, up to 256. The zero average is
// of none.
//
//	bits 63…52: answers    bits 51…0: µs × 4096
type average uint64

// us returns the mean in microseconds.
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

// foldBand adds the squares of the answers that mean has taken in, and returns how many times the mean the latency
// of a backend may be that is not slow: see band.
func (l *Loads) foldBand(n int, squares float64, mean average) float64 {
	square := math.Float64frombits(l.square.Load())
	if n > 0 {
		square += (squares/float64(n) - square) * min(float64(n)/float64(mean>>meanBits), 1)
		l.square.Store(math.Float64bits(square))
	}
	return band(mean.us(), square)
}

// band returns the mean of the squares of all latencies over the square of their mean, within limits: 1 where all
// answers take the same time, 2 where times are exponential, 2.7 where they are lognormal with σ = 1, more where
// some answers wait for an event. The more the answers of one backend differ by themselves, the less their average says
// of it.
func band(mean, square float64) float64 {
	if mean == 0 {
		return bandLeast
	}
	return min(max(bandLeast, square/(mean*mean)), bandMost)
}

// band is the function band of what is known.
func (l *Loads) band() float64 {
	return band(average(l.mean.Load()).us(), math.Float64frombits(l.square.Load()))
}

// fold adds n answers of a sum of microseconds, and failures, to what is known of c. mean and band are those of
// all backends.
//
// One answer that is much longer than the others says little of its backend, since requests differ: all answers of a
// tick raise lat by no more than one answer of eight times the mean does, which is half of the mean and within the dead
// band. Where the answers of one tick after the other are long, lat grows by half of the mean with each, and once it
// is high by an eighth of itself. Faster growth has a backend pay for a pause long after it: all that waited is late.
func (l *Loads) fold(c *cell, n int, sum uint32, failures int, mean, band float64, now uint32) {
	us := (float64(sum) + max(faultMin, faultMean*mean)*float64(failures)) / float64(n+failures)
	old, lat, idle := sample(c.sampled.Load()), mean, uint32(idleHalf)
	if old != 0 {
		lat, idle = old.us(), since(now, old.ms())
	}
	first := max(foldWeight[1], min(float64(idle)/idleHalf, 0.5))
	step := (us - lat) * max(foldWeight[min(n+failures, 16)], first)
	if failures == 0 {
		step = min(step, (max(latClip*mean, latGrowth*lat)-lat)*first)
	}
	lat += step
	c.sampled.Store(uint64(newSample(lat, now)))
	l.setSlow(c, slowness(lat, mean, band, 0))
	if l.peaks.Load() {
		peak := peaked(sample(c.peak.Load()), us, now)
		c.peak.Store(uint64(newSample(peak, now)))
		c.reckonPeak(peak)
	}
}

// slowness returns by how much a backend of latency lat is slower than the mean, when it has not answered for idle
// ms. Up to band times the mean it is not slow, so that noise moves nothing.
func slowness(lat, mean, band float64, idle uint32) uint32 {
	if mean == 0 || lat <= band*mean {
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
	c.reckonSlow()
}

// sweep works out how slow backends are that get no answers: their slowness fades, so that they are asked again, and so
// do their peaks. One reactor does it for all, every 128 ms, while there is something that fades.
func (l *Loads) sweep(now uint32) {
	peaks := l.peaks.Load()
	if l.slowed.Load() == 0 && !peaks {
		return
	}
	last := l.swept.Load()
	if since(now, last) < sweepMs || !l.swept.CompareAndSwap(last, now) {
		return
	}
	mean := average(l.mean.Load()).us()
	band := l.band()
	for _, p := range *l.pages.Load() {
		for i := range p {
			c := &p[i]
			if c.slow.Load() != slowOne {
				s := sample(c.sampled.Load())
				l.setSlow(c, slowness(s.us(), mean, band, since(now, s.ms())))
			}
			if peaks {
				c.reckonPeak(sample(c.peak.Load()).fadedPeak(mean, now))
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
