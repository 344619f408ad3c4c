package metrics

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/exchange/meter"
)

// patience is how long a round waits for reactors. A reactor that takes longer is in a turn that it does not end: what
// it counted before stands in for it.
const patience = 100 * time.Millisecond

// What a reactor copies in one turn, so that no turn lasts longer than some 20 µs: it goes on in the next one.
const (
	partsPerTurn  = 32
	routesPerTurn = 256
)

// Part is something that each reactor counts for itself: a listener, an upstream, the engine. A Gatherer asks each
// reactor to copy it out.
type Part interface {
	copyOut(r *engine.Reactor)
	keep(reactor int)
	// AddTo adds what was copied out last to a sample. For the owner of the Gatherer.
	AddTo(s *Sample)
	// Restart makes AddTo add only what is counted from now on. All have to be counters. For the owner of the Gatherer.
	Restart()
}

// part is a Part of a struct of counters.
type part[S any] struct {
	read  func(r *engine.Reactor) S
	into  func(s *Sample) *S
	taken []S // by Reactor.Index: written by that reactor, read when it is done
	kept  []S // by Reactor.Index: what was taken last. Guarded by the owner of the Gatherer
	past  *S  // what is not added any more, or nil. Guarded likewise
}

// NewPart makes a Part. read runs on each of that number of reactors, and what it returns is added to what into returns
// of a Sample.
func NewPart[S any](reactors int, read func(r *engine.Reactor) S, into func(s *Sample) *S) Part {
	return &part[S]{read: read, into: into, taken: make([]S, reactors), kept: make([]S, reactors)}
}

func (p *part[S]) copyOut(r *engine.Reactor) { p.taken[r.Index()] = p.read(r) }

func (p *part[S]) keep(reactor int) { p.kept[reactor] = p.taken[reactor] }

func (p *part[S]) AddTo(s *Sample) {
	to := p.into(s)
	for i := range p.kept {
		tally.Add(to, &p.kept[i])
	}
	if p.past != nil {
		tally.SubCounters(to, p.past)
	}
}

func (p *part[S]) Restart() {
	p.past = new(S)
	for i := range p.kept {
		tally.Add(p.past, &p.kept[i])
	}
}

// Gatherer copies out what reactors count, while they run. All are asked at once. One goroutine at a time.
type Gatherer struct {
	probes []*probe
	timer  *time.Timer
}

// probe asks one reactor. It belongs to the reactor from when it is posted until done has a value, and else to the
// Gatherer.
type probe struct {
	task    engine.Task
	reactor *engine.Reactor
	meters  *meter.Meters
	parts   []Part
	at      int // of parts: those before are copied
	deltas  []meter.Delta
	posted  time.Time
	lag     time.Duration // from posted to when the reactor took the task
	busy    uint64        // of the reactor then
	fresh   bool          // the first turn of a round is to come
	done    chan struct{} // with room for one
	pending bool          // done will have a value. Of the Gatherer
}

// Loop is what a Gatherer has found of a reactor.
type Loop struct {
	Lag   time.Duration // that a task waited, of the last task that ran
	Busy  float64       // the part of the time that it was busy, between the last two rounds
	Stale bool          // it has not answered in time: its values are old

	busy  uint64    // ns, up to asked
	asked time.Time // zero: never
}

// note notes that the reactor answered a question of that time, after it was busy for so many ns in all.
func (l *Loop) note(p *probe) {
	l.Lag = p.lag
	at := p.posted.Add(p.lag)
	if passed := at.Sub(l.asked); !l.asked.IsZero() && passed > 0 {
		l.Busy = min(1, float64(p.busy-l.busy)/float64(passed))
	}
	l.busy, l.asked = p.busy, at
}

// NewGatherer makes a Gatherer for reactors whose routes m counts.
func NewGatherer(reactors []*engine.Reactor, m *meter.Meters) *Gatherer {
	g := &Gatherer{timer: time.NewTimer(0)}
	for _, r := range reactors {
		p := &probe{reactor: r, meters: m, done: make(chan struct{}, 1)}
		p.task.Run = p.run
		g.probes = append(g.probes, p)
	}
	return g
}

// Gather asks every reactor to copy the parts out, and what routes and upstreams have counted, which add is given. It
// waits 100 ms at most and writes what it found of each reactor to loops.
func (g *Gatherer) Gather(parts []Part, add func(reactor int, all []meter.Delta), loops []Loop) {
	for i, p := range g.probes {
		if p.pending && p.answered() { // after its round
			p.take(i, add, &loops[i])
		}
		if !p.pending {
			p.pending, p.fresh = true, true
			p.parts, p.at, p.deltas, p.posted = parts, 0, p.deltas[:0], time.Now()
			p.reactor.Post(&p.task)
		}
	}
	g.timer.Reset(patience)
	late := false
	for i, p := range g.probes {
		if loops[i].Stale = !p.wait(g.timer.C, &late); !loops[i].Stale {
			p.take(i, add, &loops[i])
		}
	}
	g.timer.Stop()
}

// answered reports whether p is done, which it says once.
func (p *probe) answered() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// take takes over what p, which is done, has copied out of a reactor.
func (p *probe) take(reactor int, add func(reactor int, all []meter.Delta), l *Loop) {
	p.pending = false
	for _, one := range p.parts {
		one.keep(reactor)
	}
	p.parts = nil // a reload may take them away long before the next round
	add(reactor, p.deltas)
	l.note(p)
}

// wait waits until p is done, or time has run out, which late says for those that come after.
func (p *probe) wait(timeout <-chan time.Time, late *bool) (done bool) {
	if *late {
		return p.answered()
	}
	select {
	case <-p.done:
		return true
	case <-timeout:
		*late = true
	}
	return p.wait(nil, late)
}

// run copies a part of it all out, and goes on in the next turn of the reactor.
func (p *probe) run(r *engine.Reactor) {
	if p.fresh {
		p.fresh, p.lag, p.busy = false, time.Since(p.posted), r.Stats().Busy
	}
	end := min(p.at+partsPerTurn, len(p.parts))
	for ; p.at < end; p.at++ {
		p.parts[p.at].copyOut(r)
	}
	done := false
	if p.at == len(p.parts) {
		p.deltas, done = p.meters.Take(r.Index(), p.deltas, routesPerTurn)
	}
	if !done {
		r.Post(&p.task)
		return
	}
	p.done <- struct{}{}
}
