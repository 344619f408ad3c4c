package admission

import (
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/limits"
)

// meter is what all reactors know of the requests under way at a service, and the limit that follows from it.
// Safe for any goroutine.
//
// Reactors tell it what they have counted at the end of each tick, and at once where that is a quarter of an even
// share of the limit: see reactorLine.publish. So the total is a tick old, and the limit is exceeded by less than a
// quarter at the most.
//
//	estimate is owned by the goroutine that has set closing
type meter struct {
	limit atomic.Int64 // of total; read by each request
	lease atomic.Int64 // requests that a reactor holds back at the most
	_     [112]byte

	total atomic.Int64 // under way, as far as it was published
	_     [120]byte

	// Of the present window.
	from     atomic.Int64 // reactor time at which it began
	last     atomic.Int64 // up to when area is
	area     atomic.Int64 // ns of all requests under way, in units of 1024
	sum      atomic.Int64 // µs of all answers
	samples  atomic.Int64
	most     atomic.Int64
	held     atomic.Bool // a request was held back
	closing  atomic.Bool
	estimate *limits.Concurrency
	_        [64]byte
}

func (m *meter) init(reactors int) {
	m.estimate = limits.NewConcurrency()
	m.publishLimit(reactors)
}

func (m *meter) publishLimit(reactors int) {
	n := int64(m.estimate.Limit())
	m.lease.Store(max(1, n/int64(4*reactors)))
	m.limit.Store(n)
}

// counts is what one reactor has counted and not published yet.
// Owned by its reactor.
type counts struct {
	delta       int64 // requests that began, less those that ended
	sum         int64 // µs of answers
	samples     int64
	publishTask engine.Task // publish
	armed       bool        // it is on its way
}

// count adds n to what is under way.
func (of *reactorLine) count(r *engine.Reactor, n int64) {
	of.delta += n
	if lease := of.limiter.meter.lease.Load(); of.delta >= lease || of.delta <= -lease {
		of.publish(r)
		return
	}
	of.publishLater(r)
}

// publishLater publishes what was counted when the tick is over.
func (of *reactorLine) publishLater(r *engine.Reactor) {
	if !of.armed {
		of.armed = true
		r.Defer(&of.publishTask)
	}
}

// publish adds what was counted to the meter, and ends the window when it is long enough.
func (of *reactorLine) publish(r *engine.Reactor) {
	m, now := &of.limiter.meter, r.Now()
	total := m.total.Add(of.delta)
	of.delta = 0
	if last := m.last.Swap(now); last != 0 && now > last {
		m.area.Add(max(total, 0) * ((now - last) >> 10))
	}
	for most := m.most.Load(); total > most && !m.most.CompareAndSwap(most, total); most = m.most.Load() {
	}
	if of.samples > 0 {
		m.sum.Add(of.sum)
		m.samples.Add(of.samples)
		of.sum, of.samples = 0, 0
	}
	if now-m.from.Load() >= int64(limits.WindowLeast) && m.samples.Load() >= limits.SamplesLeast {
		of.limiter.closeWindow(r)
	}
}

// closeWindow ends the window, unless another reactor does.
func (l *Limiter) closeWindow(r *engine.Reactor) {
	m, now := &l.meter, r.Now()
	if m.closing.Swap(true) {
		return
	}
	from := m.from.Swap(now)
	took := now - from
	samples, sum, area := m.samples.Swap(0), m.sum.Swap(0), m.area.Swap(0)
	most, held := m.most.Swap(max(m.total.Load(), 0)), m.held.Swap(false)
	if from != 0 && samples > 0 && took > 0 {
		m.estimate.Update(now, limits.Window{
			Samples: int(samples), Latency: time.Duration(sum/samples) * time.Microsecond,
			InFlight: float64(area) * 1024 / float64(took), Most: int(most), Held: held || l.Crowded(),
		})
		m.publishLimit(len(l.reactors))
	}
	m.closing.Store(false)
	if l.Crowded() {
		l.wakeFirst(r)
	}
}

// Answered notes the head of an answer that came d after the request was sent, or that none has come for so long. On r.
func (l *Limiter) Answered(r *engine.Reactor, d time.Duration) {
	of := l.reactors[r.Index()]
	of.sum += min(max(d.Microseconds(), 1), int64(time.Hour/time.Microsecond))
	of.samples++
	of.publishLater(r)
}

// Enter counts a request that has a place. On r.
func (l *Limiter) Enter(r *engine.Reactor) { l.reactors[r.Index()].count(r, 1) }

// shares are the parts of the limit, in hundredths, up to which requests of a class begin, by rank.
var shares = [...]int64{100, 95, 85, 70}

// admits reports whether the limit that is found allows one more request of a rank. On r.
func (l *Limiter) admits(r *engine.Reactor, rank int) bool {
	m := &l.meter
	most := max(m.limit.Load()*shares[rank]/100, 1)
	if m.total.Load()+l.reactors[r.Index()].delta < most {
		return true
	}
	if !m.held.Load() {
		m.held.Store(true)
	}
	return false
}

// Concurrency returns how many requests are under way, as of the end of the last ticks, and the limit that is found.
func (l *Limiter) Concurrency() (now, limit int) {
	return int(max(l.meter.total.Load(), 0)), int(l.meter.limit.Load())
}
