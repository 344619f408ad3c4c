package balance

import (
	"slices"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// publishEvery is how many requests of a tick are held back at the most before the others hear of them.
const publishEvery = 64

// pending is what one reactor has not told of a backend yet. Four fill a cache line.
type pending struct {
	inflight, tunnels int32
	micros            uint32 // the sum of the answers
	answers           uint16
	dirty             bool // it is in Local.dirty: inflight or tunnels has changed
	sampled           bool // it is in Local.sampled: there are answers
}

// Local is what one reactor knows of the load of backends beyond what is published: plain memory, so that a request
// costs no write that other cores wait for. Pickers see both.
//
// Requests under way are published at the end of each tick; where there is one reactor alone they are counted
// where they would be published, and there is nothing to publish. Latencies are folded once in a millisecond:
// that is often enough, and costs a busy reactor nothing. Owned by its reactor.
//
//	i in dirty, once  <=>  pending[i].dirty      !dirty    =>  inflight and tunnels are zero
//	i in sampled, once  <=>  pending[i].sampled  !sampled  =>  answers and micros are zero
type Local struct {
	loads   *Loads
	pending []pending // by index; fills whole cache lines
	dirty   []uint16
	sampled []uint16
	random  uint64
	now     uint32 // ms, of the last fold
	clip    uint32 // µs: what a longer answer counts as in the mean
	entered int    // requests since the last Publish
	answers int    // since the last fold
	clipped uint64 // their sum in µs
	_       [2*cacheLine - 120]byte
}

// NewLocal makes the Local of one reactor, whose draws follow from seed: give each reactor another one, such as its
// number.
func NewLocal(l *Loads, seed uint64) *Local {
	l.locals.Add(1)
	// All states of SplitMix64 are on one circle. Seeds that are not scattered over it would give reactors the
	// same draws some steps apart, so that all of them choose among the same backends at about the same time.
	return &Local{loads: l, clip: average(l.mean.Load()).clip(), random: scatter(seed + golden)}
}

// Enter counts a request that is sent to backend i, or a tunnel. Each is to Leave.
func (l *Local) Enter(i int, tunnel bool) {
	if l.onlyReactor() {
		l.count(i, 1, tunnel)
		return
	}
	p := l.pendingOf(i)
	if tunnel {
		p.tunnels++
	} else {
		p.inflight++
	}
	if l.entered++; l.entered == publishEvery {
		l.Publish()
	}
}

// Leave counts the end of what has entered.
func (l *Local) Leave(i int, tunnel bool) {
	if l.onlyReactor() {
		l.count(i, -1, tunnel)
		return
	}
	p := l.pendingOf(i)
	if tunnel {
		p.tunnels--
	} else {
		p.inflight--
	}
}

// Become counts a request of backend i as a tunnel from now on: the backend agreed to it.
func (l *Local) Become(i int) {
	if l.onlyReactor() {
		l.count(i, -1, false)
		l.count(i, 1, true)
		return
	}
	p := l.pendingOf(i)
	p.inflight--
	p.tunnels++
}

// onlyReactor reports whether no other reactor looks at the loads.
func (l *Local) onlyReactor() bool { return l.loads.locals.Load() == 1 }

// count adds n to what is under way at backend i, for all to see.
func (l *Local) count(i int, n int32, tunnel bool) {
	if i >= len(l.pending) {
		l.grow(i + 1)
	}
	if c := l.loads.cell(i); tunnel {
		c.tunnels.Add(n)
	} else {
		c.inflight.Add(n)
	}
}

// Answered counts an answer of backend i whose head came after so many microseconds. now is the time in
// milliseconds since any moment, the same one for all reactors.
func (l *Local) Answered(i int, us, now uint32) {
	if i >= len(l.pending) {
		l.grow(i + 1)
	}
	p := &l.pending[i]
	if !p.sampled {
		p.sampled = true
		l.sampled = append(l.sampled, uint16(i))
	}
	if p.micros <= 1<<31 && p.answers < 1<<16-1 { // so many in one millisecond say enough
		p.answers++
		p.micros += min(us, latMax)
		l.answers++
		l.clipped += uint64(min(us, l.clip))
	}
	if now != l.now {
		l.fold(now)
	}
}

// Failed counts a failure of backend i: a connection refused or lost, an answer that came too late, or an answer that
// says that the backend cannot serve. It counts as a very slow answer, so that a backend that fails fast attracts no
// requests. now is as for Answered.
func (l *Local) Failed(i int, now uint32) {
	if i >= len(l.pending) {
		l.grow(i + 1)
	}
	l.fold(now)
	l.loads.fail(l.loads.cell(i), now)
}

// fold adds the answers to what is known of their backends.
func (l *Local) fold(now uint32) {
	if invariant.On {
		l.check()
	}
	mean := l.loads.foldMean(l.answers, l.clipped)
	l.now, l.answers, l.clipped, l.clip = now, 0, 0, mean.clip()
	for _, i := range l.sampled {
		p := &l.pending[i]
		l.loads.fold(l.loads.cell(int(i)), int(p.answers), p.micros, mean, now)
		p.answers, p.micros, p.sampled = 0, 0, false
	}
	l.sampled = l.sampled[:0]
	l.loads.fadeSlowness(now)
}

// pendingOf returns what is pending of backend i, which will be published.
func (l *Local) pendingOf(i int) *pending {
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
	l.sampled = append(make([]uint16, 0, n), l.sampled...)
	l.loads.grow(n)
}

// Dirty reports whether there is something to publish.
func (l *Local) Dirty() bool { return len(l.dirty) > 0 }

// Publish tells the other reactors what is under way: call it at the end of every tick in which Dirty is true.
// Totals that are a tick old are as good as exact ones; those that are held back for some milliseconds are not.
func (l *Local) Publish() {
	if invariant.On {
		l.check()
	}
	l.entered = 0
	pages := *l.loads.pages.Load()
	for _, i := range l.dirty {
		c, p := &pages[i/pageSize][i%pageSize], &l.pending[i]
		if p.inflight != 0 {
			c.inflight.Add(p.inflight)
		}
		if p.tunnels != 0 {
			c.tunnels.Add(p.tunnels)
		}
		p.inflight, p.tunnels, p.dirty = 0, 0, false
	}
	l.dirty = l.dirty[:0]
}

// growFor makes room for the backends of v, so that load need not look.
func (l *Local) growFor(v *View) {
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
	l.growFor(v)
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
	dirty, sampled := 0, 0
	for i := range l.pending {
		p := l.pending[i]
		if p.dirty {
			dirty++
		} else {
			invariant.That(p.inflight == 0 && p.tunnels == 0, "nobody will publish %+v of backend %d", p, i)
		}
		if p.sampled {
			sampled++
		} else {
			invariant.That(p.answers == 0 && p.micros == 0, "nobody will fold %+v of backend %d", p, i)
		}
	}
	invariant.That(dirty == distinct(l.dirty), "%d are dirty, the list is %v", dirty, l.dirty)
	invariant.That(sampled == distinct(l.sampled), "%d are sampled, the list is %v", sampled, l.sampled)
}

// distinct returns the length of a list that has nothing twice, or -1.
func distinct(list []uint16) int {
	sorted := slices.Sorted(slices.Values(list))
	if len(slices.Compact(sorted)) != len(list) {
		return -1
	}
	return len(list)
}
