package admission

import (
	"cmp"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/tally"
)

// What Wait says, and Asker.OnRefused.
var (
	ErrLineFull = errors.New("too many requests wait for a backend")
	ErrExpired  = errors.New("no backend had room for the request in time")
)

// Options are the limits of a service. The zero value has none.
type Options struct {
	Requests int           // under way at one member; 0: no limit
	Retries  int           // under way at all members; 0: no limit
	Pending  int           // requests that wait in the line; 0: 500; below 0: none
	Wait     time.Duration // how long one waits at the most; 0: 1 s
	Adaptive bool          // requests under way at all members are limited to what limits.Concurrency finds
}

// Class says how much a request matters where there is not room for all. The zero value is the usual one.
type Class uint8

// The classes. First goes before Usual, and that before Later and Last.
const (
	Usual Class = iota
	First
	Later
	Last
	classes = 4
)

// ranks are the places of classes in the order in which they are served.
var ranks = [classes]int{Usual: 1, First: 0, Later: 2, Last: 3}

// Defaults of Options.
const (
	pendingDefault = 500
	waitDefault    = time.Second
)

// Stats are the counters of a Limiter, on one reactor or on all.
type Stats struct {
	Queued  uint64 // requests that waited
	Full    uint64 // refused because of Options.Pending
	Expired uint64 // refused because they waited in vain
	Retries uint64 // retries not made because of Options.Retries
	Waiting int    // requests that wait now
	Limit   int    // that is found, where Options.Adaptive is set; of the first reactor, for all
	Total   int    // requests under way, likewise
	Open    int    // 1: requests wait, or were refused within the last second; of the first reactor, for all
}

// Limiter bounds the requests that are under way at the members of a service.
// Safe for any goroutine, except that methods that take a reactor are for that one.
//
//	line counts the requests in the lines of all reactors
type Limiter struct {
	opts     atomic.Pointer[Options] // with defaults; immutable once stored
	reactors []*reactorLine          // by Reactor.Index

	// All reactors write these, and read the fields above. Processors fetch cache lines by twos.
	line      Line
	waiting   [classes]atomic.Int64 // requests in the line, by rank
	_         [96]byte
	meter     meter
	retries   atomic.Int64
	refusedAt atomic.Int64 // reactor time at which a request was refused last
	_         [112]byte
}

// New makes a Limiter for so many reactors.
func New(reactors int, o Options) *Limiter {
	l := &Limiter{}
	l.refusedAt.Store(math.MinInt64 / 2)
	l.Change(o)
	l.meter.init(reactors)
	for range reactors {
		of := &reactorLine{limiter: l}
		of.publishTask.Run = func(r *engine.Reactor) {
			of.armed = false
			of.publish(r)
		}
		of.oldest.Store(nobody)
		of.serveTask.Run = of.serve
		l.reactors = append(l.reactors, of)
	}
	return l
}

// Change sets other limits. Requests that wait do so for as long as they would have. Safe for any goroutine.
func (l *Limiter) Change(o Options) {
	switch {
	case o.Pending == 0:
		o.Pending = pendingDefault
	case o.Pending < 0:
		o.Pending = 0
	}
	o.Wait = cmp.Or(o.Wait, waitDefault)
	l.opts.Store(&o)
	for _, of := range l.reactors {
		if of.oldest.Load() != nobody {
			of.wake(nil) // there may be more room
		}
	}
}

// Options returns the limits that hold now, the defaults filled in. Immutable.
func (l *Limiter) Options() *Options { return l.opts.Load() }

// Admits reports whether a request of class c may look for a place: no other one waits that goes before it, and the
// limit that is found allows it. A request that waits may, when its turn has come. On r.
func (l *Limiter) Admits(r *engine.Reactor, c Class, waits bool) bool {
	if !waits && l.anyAhead(ranks[c]) {
		return false
	}
	return !l.opts.Load().Adaptive || l.admits(r, ranks[c])
}

// Hold takes a place at m, and reports whether there was one. Each is to Enter and to Leave.
func (l *Limiter) Hold(m *backend.Member) bool { return m.Hold(l.opts.Load().Requests) }

// Room reports whether a place is free at m.
func (l *Limiter) Room(m *backend.Member) bool {
	most := l.opts.Load().Requests
	return most == 0 || m.Held() < most
}

// Leave gives a place at m back. On r.
func (l *Limiter) Leave(r *engine.Reactor, m *backend.Member) {
	m.Release()
	of := l.reactors[r.Index()]
	of.count(r, -1)
	// A request that begins to wait joins the line and then looks for a place once more. A place is released here
	// before the line is read, so that one of the two sees the other.
	if l.Crowded() {
		l.line.Freed()
		of.publish(r)
		l.wakeFirst(r)
	}
}

// TakeRetry begins a retry, and reports whether there may be one more. Each is to EndRetry. On r.
func (l *Limiter) TakeRetry(r *engine.Reactor) bool {
	n, most := l.retries.Add(1), l.opts.Load().Retries
	if most == 0 || n <= int64(most) {
		return true
	}
	l.retries.Add(-1)
	l.reactors[r.Index()].stats.Retries++
	return false
}

// EndRetry ends what TakeRetry has begun.
func (l *Limiter) EndRetry() { l.retries.Add(-1) }

// Add adds o to s.
func (s *Stats) Add(o *Stats) { tally.Add(s, o) }

// Stats returns the counters on r. On r only.
func (l *Limiter) Stats(r *engine.Reactor) Stats {
	r.MustOwn()
	s := l.reactors[r.Index()].stats
	if r.Index() > 0 {
		return s
	}
	if l.Crowded() || r.Now()-l.refusedAt.Load() < int64(time.Second) {
		s.Open = 1
	}
	if s.Total, s.Limit = l.Concurrency(); !l.opts.Load().Adaptive {
		s.Limit = 0
	}
	return s
}
