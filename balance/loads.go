package balance

import (
	"sync"
	"sync/atomic"
)

// pageSize is how many cells are made at a time: cells stay where they are when others come.
const pageSize = 64

type page [pageSize]cell

// cell is the load of one backend, as far as the reactors have published it. It fills a cache line, since all reactors
// write to it.
// Safe for any goroutine.
type cell struct {
	inflight atomic.Int32  // requests, and streams of gRPC and events, that are under way
	tunnels  atomic.Int32  // tunnels that are open
	sampled  atomic.Uint64 // latency and when: see sample
	peak     atomic.Uint64 // the same, by its peaks; 0 unless Loads.peaks
	share    atomic.Uint32 // shareOne / weight
	slow     atomic.Uint32 // slowOne: not slow at all
	_        [cacheLine - 32]byte
}

// cacheLine is the size of memory that two cores must not write at the same time.
const cacheLine = 64

// shareOne over the weight is what one request more adds to the cost of a backend.
const shareOne = 1 << 24

// Loads is how loaded the backends of a service are, by their index: what is under way at each and how fast it
// answers, added up over all reactors. Each reactor has a Local and publishes what it knows at the end of every tick.
// It outlives Views, and so do requests: an index is given to another backend only when nothing of the one before is
// kept by it, except that requests under way there are counted until they end.
// Safe for any goroutine.
type Loads struct {
	pages  atomic.Pointer[[]*page]
	mean   atomic.Uint64 // of all backends: µs << meanShift; 0: there was no answer yet
	slowed atomic.Int32  // backends whose slow is above slowOne
	swept  atomic.Uint32 // ms: when the slowness of those that get no requests was worked out last
	peaks  atomic.Bool   // some Picker wants cell.peak

	mu sync.Mutex // grow
}

// NewLoads makes Loads of no backends. They grow with the Views that are made with them.
func NewLoads() *Loads {
	l := &Loads{}
	l.pages.Store(&[]*page{})
	return l
}

// grow makes room for n backends and returns all pages.
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
			p[i].share.Store(shareOne)
			p[i].slow.Store(slowOne)
		}
		pages = append(pages, p)
	}
	l.pages.Store(&pages)
	return pages
}

// cell returns the load of backend i, which there is.
func (l *Loads) cell(i int) *cell {
	pages := *l.pages.Load()
	return &pages[i/pageSize][i%pageSize]
}

// setWeight notes the weight of backend i, which is 1 or more.
func (l *Loads) setWeight(i, weight int) { l.cell(i).share.Store(uint32(shareOne / weight)) }

// Scale has backend i take only a part of its weight, 0 < part ≤ 1, with the methods that look at load: what starts
// slowly has less of it. It holds until the next Scale, or until a View is made.
func (l *Loads) Scale(i, weight int, part float64) {
	l.cell(i).share.Store(uint32(min(shareOne/float64(weight)/part, 1<<28)))
}

// Forget forgets how fast backend i answers: another one has its index now.
func (l *Loads) Forget(i int) {
	c := l.cell(i)
	c.sampled.Store(0)
	c.peak.Store(0)
	l.setSlow(c, slowOne)
}

// InFlight returns how many requests are under way at backend i, and how many tunnels to it are open. What reactors
// have not published yet is left out.
func (l *Loads) InFlight(i int) (requests, tunnels int) {
	c := l.cell(i)
	return int(c.inflight.Load()), int(c.tunnels.Load())
}

// Latency returns how long backend i takes to the head of an answer, in µs, as the weighted mean of the last answers;
// 0 when there was none. slow is how much slower than the others it counts as, 1 when it does not.
func (l *Loads) Latency(i int) (us int, slow float64) {
	c := l.cell(i)
	return int(sample(c.sampled.Load()).us()), float64(c.slow.Load()) / slowOne
}

// Mean returns how long the backends take to the head of an answer, in µs; 0 when there was none.
func (l *Loads) Mean() int { return int(l.mean.Load() >> meanShift) }

// AnsweredAt returns when backend i answered last, in the milliseconds that Local.Publish is given, of which it has the
// low 32 bits. ok is false when it never has.
func (l *Loads) AnsweredAt(i int) (ms uint32, ok bool) {
	s := sample(l.cell(i).sampled.Load())
	return s.ms(), s != 0
}
