package balance

import (
	"math"
	"sync"
	"sync/atomic"
)

// pageSize is how many cells are made at a time: cells stay where they are when others come.
const pageSize = 64

type page [pageSize]cell

// cell is the load of one backend, as far as the reactors have published it. It fills a cache line, since all
// reactors write to it. Safe for any goroutine.
type cell struct {
	inflight atomic.Int32  // requests, and streams of gRPC and events, that are under way
	tunnels  atomic.Int32  // tunnels that are open
	sampled  atomic.Uint64 // latency and when: see sample
	peak     atomic.Uint64 // the same, by its peaks; 0 unless Loads.peaks
	slow     atomic.Uint32 // slowOne: not slow at all

	// What methods compare, by each measure: requests under way × steps + bases. See updateSlowCost and updatePeakCost.
	steps, bases [measures]atomic.Uint32
}

// stepOne is the step of a backend of weight 1 by byLoad; the step of another backend is stepOne / (weight × part).
// Where nothing is under way and no backend is slow, all cost 0 whatever their weights: then draws decide, and weights
// are the shares.
//
//	16 ≤ steps[byLoad] ≤ 16 × stepOne
const stepOne = 1 << 20

// updateSlowCost works out the cost by bySlow, ((requests + 1) × slow - 1) × steps[byLoad], after one of these was
// written. Two goroutines may do so at the same time: the goroutine that stores last has seen both unchanged since.
func (c *cell) updateSlowCost() {
	for {
		step, slow := c.steps[byLoad].Load(), c.slow.Load()
		slower := uint64(step) * uint64(slow) / slowOne
		c.steps[bySlow].Store(uint32(min(slower, math.MaxUint32)))
		c.bases[bySlow].Store(uint32(min(slower-uint64(step), math.MaxUint32)))
		if c.steps[byLoad].Load() == step && c.slow.Load() == slow {
			return
		}
	}
}

// updatePeakCost works out the cost by byPeak, (requests × steps[byLoad] + stepOne) × us / peakScale, for a peak of
// so many microseconds. Each fadeSlowness does so again.
func (c *cell) updatePeakCost(us float64) {
	us = (us + 1) / peakScale
	c.steps[byPeak].Store(uint32(max(1, min(us*float64(c.steps[byLoad].Load())+0.5, math.MaxUint32))))
	c.bases[byPeak].Store(uint32(min(us*stepOne, math.MaxUint32)))
}

// cacheLine is the size of memory that two cores must not write at the same time.
const cacheLine = 64

// Loads is how loaded the backends of a service are, by their index: what is under way at each and how fast it
// answers, added up over all reactors. Each reactor has a Local and publishes what it knows at the end of every
// tick. It outlives Views, and so do requests: those under way at an index that is given to another backend are
// counted there until they end. Forget ends the rest. Safe for any goroutine.
type Loads struct {
	pages  atomic.Pointer[[]*page]
	mean   atomic.Uint64 // of all backends: see average
	locals atomic.Int32  // reactors that have a Local
	pace   atomic.Uint64 // answers: the mean of 1/latency of their backends, in 1/µs; a float64, 0: none
	spread atomic.Uint64 // answers: the mean of their squared distance to that latency, in squares of it; a float64
	slowed atomic.Int32  // backends whose slow is above slowOne
	swept  atomic.Uint32 // ms: when the slowness of those that get no requests was worked out last
	peaks  atomic.Bool   // some Picker wants cell.peak

	mu     sync.Mutex // held while pages, or steps by byLoad, are written
	scales []scaling  // guarded by mu; by index
}

// scaling is the weight of a backend and the part of it that it takes.
type scaling struct {
	weight int
	part   float64
}

func (s scaling) step() uint32 {
	return uint32(min(stepOne/(float64(s.weight)*s.part)+0.5, 16*stepOne))
}

// NewLoads makes Loads of no backends. They grow with the Views that are made with them.
func NewLoads() *Loads {
	l := &Loads{}
	l.pages.Store(&[]*page{})
	return l
}

func (l *Loads) grow(n int) []*page {
	l.mu.Lock()
	defer l.mu.Unlock()
	pages := *l.pages.Load()
	if len(pages)*pageSize >= n {
		return pages
	}
	pages = append([]*page(nil), pages...)
	for len(pages)*pageSize < n {
		p := &page{}
		for i := range p {
			p[i].slow.Store(slowOne)
			l.scales = append(l.scales, scaling{1, 1})
			l.setCellWeight(&p[i], l.scales[len(l.scales)-1])
		}
		pages = append(pages, p)
	}
	l.pages.Store(&pages)
	return pages
}

// cell returns the load of backend i, which there is.
func (l *Loads) cell(i int) *cell {
	pages, k := *l.pages.Load(), uint(i) // without a sign, division is a shift
	return &pages[k/pageSize][k%pageSize]
}

// setWeights notes the weights of backends, except backends of weight 0.
func (l *Loads) setWeights(backends []Backend) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range backends {
		if weight := backends[i].Weight; weight > 0 {
			l.scales[i].weight = weight
			l.setCellWeight(l.cell(i), l.scales[i])
		}
	}
}

// setCellWeight notes how much a backend takes. mu is held.
func (l *Loads) setCellWeight(c *cell, s scaling) {
	c.steps[byLoad].Store(s.step())
	c.updateSlowCost()
	c.updatePeakCost(sample(c.peak.Load()).fadedPeak(float64(l.Mean()), l.swept.Load()))
}

// Scale reduces the weight of backend i to a part of it, 0 < part ≤ 1, for the methods that look at load: what starts
// slowly has less of it. It holds until the next Scale or Forget.
func (l *Loads) Scale(i int, part float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scales[i].part = part
	l.setCellWeight(l.cell(i), l.scales[i])
}

// Forget forgets how fast backend i answers and how it was scaled: another one has its index now.
func (l *Loads) Forget(i int) {
	c := l.cell(i)
	c.sampled.Store(0)
	c.peak.Store(0)
	l.setSlow(c, slowOne)
	l.Scale(i, 1)
}

// InFlight returns how many requests are under way at backend i, and how many tunnels to it are open. What reactors
// have not published yet is left out.
func (l *Loads) InFlight(i int) (requests, tunnels int) {
	c := l.cell(i)
	return int(max(c.inflight.Load(), 0)), int(max(c.tunnels.Load(), 0))
}

// Latency returns how long backend i takes to the head of an answer, in µs, as the weighted mean of the last
// answers;
// 0 when there was none. slow is how much slower than the others it counts as, 1 when it does not.
func (l *Loads) Latency(i int) (us int, slow float64) {
	c := l.cell(i)
	return int(sample(c.sampled.Load()).us()), float64(c.slow.Load()) / slowOne
}

// Mean returns how long the backends take to the head of an answer, in µs; 0 when there was none.
func (l *Loads) Mean() int { return int(average(l.mean.Load()).us()) }

// AnsweredAt returns when backend i answered last, in the milliseconds that Local.Answered is given, of which it
// has the low 32 bits. ok is false when it never has.
func (l *Loads) AnsweredAt(i int) (ms uint32, ok bool) {
	s := sample(l.cell(i).sampled.Load())
	return s.ms(), s != 0
}

// keepPeaks begins to keep the peaks of latencies.
func (l *Loads) keepPeaks() {
	if !l.peaks.Load() {
		l.peaks.Store(true)
	}
}
