package upstream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/list"
)

// yieldAfter is how long an exchange waits for a slot before other reactors close connections for it that cannot move:
// each costs a handshake, or a moment in which many exchanges wait.
const yieldAfter = 10 * time.Millisecond

// giveWait is how long another reactor has to answer. Opening a connection takes about as long.
const giveWait = time.Millisecond

// Taker is an exchange that waits for a connection.
type Taker interface {
	// OnTaken brings the connection, or says why there is none. It comes once for each ErrWait, in a step of its own,
	// unless Cancel was called.
	OnTaken(c *Conn, err error)
}

// Waiter is the place of an exchange in a queue. It is embedded in the exchange; Init makes it ready for any number of
// waits. Owned by the exchange's reactor, which must stay the same.
//
//	local != nil  <=>  it is in the queue of site
//	letter != nil  =>  letter.waiter is it
//	awaits != nil  =>  it waits for a probe of awaits, which counts it; a probe that is over has serve on its way
//	queued  =>  its origin's waiting counts it
//	local == nil  =>  letter == nil, awaits == nil and !queued
type Waiter struct {
	taker   Taker
	local   *local
	site    *site
	letter  *letter    // a want that is on its way
	awaits  *sharedSet // one of whose probes it waits for
	place   list.Node[Waiter]
	timer   engine.Timer
	since   int64
	turn    int64 // see Turn
	address int
	fresh   bool
	queued  bool // it waits for a slot
	h1Only  bool // HTTP/2 will not do

	// Upgrade says that the exchange asks for an upgrade. Where the handshake tells the protocol it gets HTTP/1 then,
	// unless the backend is known to take upgrades on HTTP/2. Set before Take.
	Upgrade bool
}

// Init makes w ready for t.
func (w *Waiter) Init(t Taker) { *w = Waiter{taker: t} }

// Waiting reports whether OnTaken is to come.
func (w *Waiter) Waiting() bool { return w.local != nil }

// Queued reports whether it waits for a slot, which is no fault of the backend's: others have them all.
func (w *Waiter) Queued() bool { return w.queued }

// Since returns the reactor time at which the present wait began, or the last one.
func (w *Waiter) Since() int64 { return w.since }

// Turn returns the reactor time at which the present wait, or the last one, was over as one for a slot: from then on it
// is the backend that is waited for. Since, where it never was one; meaningless while Queued.
func (w *Waiter) Turn() int64 { return w.turn }

// Cancel makes OnTaken not come. What was on its way to w goes to others.
func (w *Waiter) Cancel() {
	if w.local != nil {
		w.local.reactor.MustOwn()
		w.leave()
	}
}

// deliver ends the wait of w with c.
func (w *Waiter) deliver(c *Conn) {
	c.countTaken()
	w.leave()
	w.taker.OnTaken(c, nil)
}

// fail ends the wait of w without a connection.
func (w *Waiter) fail(err error) {
	w.leave()
	w.taker.OnTaken(nil, err)
}

// forgetLetter makes the answer to the want of w one for any exchange.
func (w *Waiter) forgetLetter() {
	if t := w.letter; t != nil {
		t.waiter, w.letter = nil, nil
	}
}

// stopAwaiting ends the wait of w for a probe.
func (w *Waiter) stopAwaiting() {
	if w.awaits != nil {
		w.awaits.awaiting--
		w.awaits = nil
	}
}

// leave takes w out of its queue.
func (w *Waiter) leave() {
	l, s := w.local, w.site
	w.place.Remove()
	w.local = nil
	l.stats.Waiting--
	w.forgetLetter()
	w.stopAwaiting()
	if w.timer.Run != nil {
		l.reactor.Disarm(&w.timer)
	}
	if w.queued {
		w.queued, w.turn = false, l.reactor.Now()
		s.origin.waiting.Add(-1)
		l.upstream.queued.Add(-1)
		s.tellOldest()
	}
	w.check()
}

// enqueue puts w at the end of the queue.
func (s *site) enqueue(w *Waiter) {
	w.local = s.local
	s.queue.PushBack(&w.place, w)
	s.local.stats.Waiting++
}

// tellOldest publishes since when the first exchange in the queue waits for a slot, 0 when none does.
func (s *site) tellOldest() {
	since := int64(0)
	if w := s.firstQueued(); w != nil {
		since = w.since
	}
	s.origin.oldest.tell(s.local.reactor.Index(), since)
}

// firstQueued returns the first that waits for a slot.
func (s *site) firstQueued() *Waiter {
	w := s.queue.First()
	for w != nil && !w.queued {
		w = w.place.Next()
	}
	return w
}

// olderElsewhere returns the reactor on which an exchange waits for a slot that came before w, or -1.
func (s *site) olderElsewhere(w *Waiter) int {
	if s.origin.waiting.Load() == 0 {
		return -1
	}
	l := s.local
	to, since := s.origin.longestWaiting()
	if to == l.reactor.Index() || w != nil && w.since <= since {
		return -1
	}
	if !l.upstream.movable && l.reactor.Now()-since < int64(yieldAfter) {
		return -1
	}
	return to
}
