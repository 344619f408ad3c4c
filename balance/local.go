package balance

import "github.com/edge-proxy/edge/internal/invariant"

// publishEvery is how many requests of a tick are held back at the most before the others hear of them.
const publishEvery = 64

// pending is what one reactor has not published of a backend yet. Four fill a cache line.
type pending struct {
	inflight, tunnels int32
	micros            uint32 // the sum of the answers
	answers           uint16
	failures          uint8
	dirty             bool // it is in Local.dirty
}

// Local is what one reactor knows of the load of backends beyond what is published: plain memory, so that a request
// costs no write that other cores wait for. Pickers see both.
// Owned by its reactor.
//
//	i in dirty, once  <=>  pending[i].dirty
//	!pending[i].dirty  =>  all of pending[i] is zero
type Local struct {
	loads   *Loads
	pending []pending // by index; fills whole cache lines
	dirty   []uint16
	random  uint64
	now     uint32                 // ms, of the last Publish
	clip    uint32                 // µs: what a longer answer counts as in the mean
	entered int                    // requests since then
	answers int                    // since then
	clipped uint64                 // their sum in µs
	_       [2*cacheLine - 96]byte // those of two reactors may be neighbours in memory
}

// NewLocal makes the Local of one reactor, whose draws follow from seed: give each reactor another one, such as its
// number.
func NewLocal(l *Loads, seed uint64) *Local {
	// All states of SplitMix64 are on one circle. Seeds that are not scattered over it would give reactors the same draws
	// some steps apart, so that all of them choose among the same backends at about the same time.
	return &Local{loads: l, clip: average(l.mean.Load()).clip(), random: scatter(seed + golden)}
}

// Enter counts a request that is sent to backend i, or a tunnel. Each is to Leave.
func (l *Local) Enter(i int, tunnel bool) {
	p := l.at(i)
	if tunnel {
		p.tunnels++
	} else {
		p.inflight++
	}
	if l.entered++; l.entered == publishEvery {
		l.Publish(l.now)
	}
}

// Leave counts the end of what has entered.
func (l *Local) Leave(i int, tunnel bool) {
	p := l.at(i)
	if tunnel {
		p.tunnels--
	} else {
		p.inflight--
	}
}

// Become counts a request of backend i as a tunnel from now on: the backend agreed to it.
func (l *Local) Become(i int) {
	p := l.at(i)
	p.inflight--
	p.tunnels++
}

// Answered counts an answer of backend i whose head came after so many microseconds.
func (l *Local) Answered(i int, us uint32) {
	p := l.at(i)
	if p.micros > 1<<31 || p.answers == 1<<16-1 {
		return // so many in one tick say enough
	}
	p.answers++
	p.micros += min(us, latMax)
	l.answers++
	l.clipped += uint64(min(us, l.clip))
}

// Failed counts a failure of backend i: a connection refused or lost, an answer that came too late, or one that
// says that the backend cannot serve. It counts as a very slow answer, so that a backend that fails fast draws
// nobody.
func (l *Local) Failed(i int) {
	if p := l.at(i); p.failures < 1<<8-1 {
		p.failures++
	}
}

// at returns what is pending of backend i, which will be published.
func (l *Local) at(i int) *pending {
	if i >= len(l.pending) {
		l.grow(i + 1)
	}
	p := &l.pending[i]
	if !p.dirty {
		p.dirty = true
		l.dirty = append(l.dirty, uint16(i))
	}
	return p
}

// grow makes room for n backends. It allocates, and does so seldom.
func (l *Local) grow(n int) {
	n = (n + pageSize - 1) / pageSize * pageSize
	l.pending = append(make([]pending, 0, n), l.pending...)[:n]
	l.dirty = append(make([]uint16, 0, n), l.dirty...)
	l.loads.grow(n)
}

// Dirty reports whether there is something to publish.
func (l *Local) Dirty() bool { return len(l.dirty) > 0 }

// Publish tells the other reactors what has changed: call it at the end of every tick in which Dirty is true.
// now is the time in milliseconds since any moment, the same one for all reactors. Totals that are a tick old
// are as good as exact ones; those that are held back for some milliseconds are not.
func (l *Local) Publish(now uint32) {
	if invariant.On {
		l.check()
	}
	l.now, l.entered = now, 0
	mean := l.loads.foldMean(l.answers, l.clipped)
	l.answers, l.clipped, l.clip = 0, 0, mean.clip()
	pages := *l.loads.pages.Load()
	for _, i := range l.dirty {
		c, p := &pages[i/pageSize][i%pageSize], &l.pending[i]
		if p.inflight != 0 {
			c.inflight.Add(p.inflight)
		}
		if p.tunnels != 0 {
			c.tunnels.Add(p.tunnels)
		}
		if n, failures := int(p.answers), int(p.failures); n+failures > 0 {
			l.loads.fold(c, n, p.micros, failures, mean.us(), now)
		}
		*p = pending{}
	}
	l.dirty = l.dirty[:0]
	l.loads.sweep(now)
}

// fit makes room for the backends of v, so that load need not look.
func (l *Local) fit(v *View) {
	if len(l.pending) < len(v.backends) {
		l.grow(len(v.backends))
	}
}

// load returns how much is under way at the backend of c, as the reactor of p knows it: for a tunnel, tunnels
// count too. Totals are added up from parts that are read at different moments, so that one may seem to be
// below zero.
func load(c *cell, p *pending, tunnel bool) int32 {
	n := c.inflight.Load() + p.inflight
	if tunnel {
		n += c.tunnels.Load() + p.tunnels
	}
	return max(n, 0)
}

// InFlight returns how much is under way at backend i of v, as this reactor knows it now. For a request that
// asks for a tunnel, tunnels count too, so that a backend without tunnels is not flooded by all the requests
// because of it.
func (l *Local) InFlight(v *View, i int, q *Request) int {
	l.fit(v)
	return int(load(v.cell(i), &l.pending[i], q.Tunnel))
}

// Random returns 64 random bits (Steele, Lea and Flood, SplitMix64, 2014). They are no secret.
func (l *Local) Random() uint64 {
	l.random += golden
	return scatter(l.random)
}

// scatter is the finalizer of SplitMix64.
func scatter(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// check panics when the invariants of Local do not hold.
func (l *Local) check() {
	for _, i := range l.dirty {
		p := &l.pending[i]
		if !p.dirty {
			invariant.That(false, "backend %d is listed twice, or has nothing to publish", i)
		}
		p.dirty = false
	}
	for i := range l.pending {
		if p := l.pending[i]; p.dirty {
			invariant.That(false, "backend %d is not listed, so that nobody will publish %+v", i, p)
		}
	}
	for _, i := range l.dirty {
		l.pending[i].dirty = true
	}
	for i := range l.pending {
		if p := l.pending[i]; !p.dirty && p != (pending{}) {
			invariant.That(false, "backend %d is not dirty, so that nobody will publish %+v", i, p)
		}
	}
}
