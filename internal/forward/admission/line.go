package admission

import (
	"math"
	"sync/atomic"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/list"
)

// Choice is what Asker.Choose has found.
type Choice uint8

// The choices.
const (
	Full   Choice = iota // each member that may serve is full
	Chosen               // a member is chosen
	Nobody               // no member may serve
)

// Asker is a request that may have to wait. Its methods are called on its reactor, in a step of their own.
type Asker interface {
	// Choose looks for a member that has room, and holds a place there when it finds one. It must not do more: the
	// request is still in the line.
	Choose() Choice
	// OnTurn goes on after Choose has found Chosen or Nobody. The request is not in the line any more.
	OnTurn()
	// OnRefused ends the wait in vain.
	OnRefused(err error)
}

// nobody stands for the first of a line that is empty.
const nobody = math.MaxInt64

// reactorLine is the line of one reactor.
// Owned by its reactor, except oldest and woken, which others read, and woken, which they set.
//
//	oldest == the key of the first of the lines, nobody when there is none
//	woken  =>  serveTask is on its way
type reactorLine struct {
	limiter *Limiter
	reactor *engine.Reactor            // set before oldest first is
	lines   [classes]list.List[Waiter] // by rank
	counts
	stats     Stats
	serveTask engine.Task // serve

	_      [128]byte
	oldest atomic.Int64
	woken  atomic.Bool
	_      [112]byte
}

// Waiter is the place of a request in the line. Init makes it ready for any number of waits.
// Owned by the reactor of the request.
//
//	line != nil  <=>  it is in that line
type Waiter struct {
	asker Asker
	line  *reactorLine
	node  list.Node[Waiter]
	timer engine.Timer
	since int64
	rank  int
}

// Init makes w ready for a.
func (w *Waiter) Init(a Asker) {
	*w = Waiter{asker: a}
	w.timer.Run = w.expire
}

// Waiting reports whether w is in a line.
func (w *Waiter) Waiting() bool { return w.line != nil }

// Since returns the reactor time at which the present wait began, or the last one.
func (w *Waiter) Since() int64 { return w.since }

// Crowded reports whether requests wait.
func (l *Limiter) Crowded() bool { return l.line.waiting.Load() > 0 }

// anyAhead reports whether requests wait that go before one of a rank that comes now.
func (l *Limiter) anyAhead(rank int) bool {
	if !l.Crowded() {
		return false
	}
	for i := range rank + 1 {
		if l.waiting[i].Load() > 0 {
			return true
		}
	}
	return false
}

// Wait puts w at the end of its class in the line. The error is ErrLineFull when too many wait; else the Asker of w
// hears of its end, unless w.Cancel is called. w must not wait already. On r, the reactor of w.
func (l *Limiter) Wait(r *engine.Reactor, w *Waiter, c Class) error {
	r.MustOwn()
	of := l.reactors[r.Index()]
	now, o := r.Now(), l.opts.Load()
	if l.line.Join(now) > o.Pending {
		l.line.Leave()
		of.stats.Full++
		l.refusedAt.Store(now)
		return ErrLineFull
	}
	of.stats.Queued++
	of.stats.Waiting++
	if of.reactor == nil {
		of.reactor = r
	}
	w.line, w.since = of, now
	w.rank = ranks[c]
	of.lines[w.rank].PushBack(&w.node, w)
	l.waiting[w.rank].Add(1)
	of.publishOldest()
	r.Arm(&w.timer, now+int64(l.line.Patience(now, o.Wait)))
	of.wake(r) // looks for a place once more: see Leave
	return nil
}

// Cancel takes w out of its line. Its Asker hears nothing.
func (w *Waiter) Cancel() {
	of := w.line
	if of == nil {
		return
	}
	of.reactor.MustOwn()
	w.removeFromLine() // when it was woken already, serve passes its turn on
}

// removeFromLine takes w out of its line.
func (w *Waiter) removeFromLine() {
	of := w.line
	w.line = nil
	w.node.Remove()
	of.reactor.Disarm(&w.timer)
	of.stats.Waiting--
	of.publishOldest()
	of.limiter.waiting[w.rank].Add(-1)
	of.limiter.line.Leave()
	if invariant.On {
		w.check()
		of.check()
	}
}

// expire ends a wait in vain.
func (w *Waiter) expire(*engine.Reactor) {
	of := w.line
	of.stats.Expired++
	of.limiter.refusedAt.Store(of.reactor.Now())
	w.removeFromLine()
	w.asker.OnRefused(ErrExpired)
}

// key is the order in which requests are served: by rank, and then as they came. Reactor times stay below 2^58 for
// nine years.
func (w *Waiter) key() int64 { return int64(w.rank)<<58 | w.since }

// first returns the request that is served next, nil when none waits.
func (of *reactorLine) first() *Waiter {
	for i := range of.lines {
		if w := of.lines[i].First(); w != nil {
			return w
		}
	}
	return nil
}

// firstKey returns the key of the first, nobody when none waits.
func (of *reactorLine) firstKey() int64 {
	if w := of.first(); w != nil {
		return w.key()
	}
	return nobody
}

func (of *reactorLine) publishOldest() { of.oldest.Store(of.firstKey()) }

// wakeFirst wakes the reactor whose request has waited longest, to look for places. r is the present reactor.
func (l *Limiter) wakeFirst(r *engine.Reactor) {
	if of := l.firstLine(); of != nil {
		of.wake(r)
	}
}

// firstLine returns the reactor whose request goes before the requests of the others, nil when none seems to wait.
func (l *Limiter) firstLine() (first *reactorLine) {
	least := int64(nobody)
	for _, of := range l.reactors {
		if key := of.oldest.Load(); key < least {
			least, first = key, of
		}
	}
	return first
}

// wake runs the task that serves the line of of. r is the present reactor; nil: another goroutine calls.
func (of *reactorLine) wake(r *engine.Reactor) {
	if of.woken.Swap(true) {
		return
	}
	if of.reactor == r {
		r.Defer(&of.serveTask)
		return
	}
	of.reactor.Post(&of.serveTask)
}

// serve is the task of the line: it gives places to those that wait, in their order, while there are any. What waits
// longer on another reactor comes first, and that reactor lets this one go on.
func (of *reactorLine) serve(r *engine.Reactor) {
	of.woken.Store(false)
	room := true
	for w := of.first(); w != nil && room; w = of.first() {
		if other := of.limiter.firstLine(); other != of && other != nil && other.oldest.Load() < w.key() {
			other.wake(r)
			return
		}
		switch w.asker.Choose() {
		case Full:
			room = false
		default:
			w.removeFromLine()
			w.asker.OnTurn()
		}
	}
	if room && of.limiter.Crowded() {
		of.limiter.wakeFirst(r)
	}
}

func (w *Waiter) check() {
	invariant.That((w.line != nil) == w.node.Listed(), "it waits and is in no line, or the reverse")
	invariant.That(w.line == nil || w.node.In(&w.line.lines[w.rank]), "it is in the line of another reactor")
}

func (of *reactorLine) check() {
	if w := of.first(); w != nil {
		w.check()
	}
	key, n := of.firstKey(), 0
	for i := range of.lines {
		n += of.lines[i].Len()
	}
	invariant.That(of.oldest.Load() == key, "oldest is %d, the first is %d", of.oldest.Load(), key)
	invariant.That(of.stats.Waiting == n, "%d wait, the lines have %d", of.stats.Waiting, n)
}
