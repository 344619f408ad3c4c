package upstream

import (
	"errors"
	"time"

	"github.com/edge-proxy/edge/engine"
)

// What Take and OnTaken say when there is no connection, beside the errors of connecting.
var (
	ErrWait         = errors.New("a connection may come later")
	ErrQueueFull    = errors.New("too many wait for a connection to the backend")
	ErrQueueTimeout = errors.New("no connection to the backend became free in time")
)

// yieldAfter is how long an exchange has waited for a slot when other reactors close connections for it that cannot be
// moved: each costs a handshake, or a moment in which many exchanges wait.
const yieldAfter = 10 * time.Millisecond

// giveWait is how long another reactor has to answer. Opening a connection takes about as long.
const giveWait = time.Millisecond

// Taker is who waits for a connection.
type Taker interface {
	// OnTaken brings the connection, or says why there is none. It comes once for each ErrWait, in a step of its own,
	// unless Cancel was called.
	OnTaken(c *Conn, err error)
}

// Waiter is the place of an exchange in a line, to be embedded in it. Init makes it ready; it is used again and again.
// Owned by the exchange's reactor, which must stay the same.
//
//	local != nil  <=>  it is in the line of its site
//	letter != nil  =>  letter.waiter is it
//	hope != nil  <=>  it waits for a connection of hope whose protocol is not known yet, and hope.hoping counts it
//	queued  =>  its backend's waiting counts it
type Waiter struct {
	// Upgrade says that the exchange asks for an upgrade. Where the handshake tells the protocol it gets HTTP/1 then,
	// unless the backend is known to take upgrades on HTTP/2. Set before Take.
	Upgrade bool

	taker        Taker
	local        *local
	letter       *letter // a want that is on its way
	hope         *set
	older, newer *Waiter
	timer        engine.Timer
	since        int64
	backend      int
	address      int
	fresh        bool
	queued       bool
	alone        bool // only HTTP/1 will do
}

// Init makes w ready for t.
func (w *Waiter) Init(t Taker) { *w = Waiter{taker: t} }

// Waiting reports whether OnTaken is to come.
func (w *Waiter) Waiting() bool { return w.local != nil }

// Since returns the reactor time at which the wait began that Waiting reports, or that OnTaken ends.
func (w *Waiter) Since() int64 { return w.since }

// Cancel makes OnTaken not come. What was on its way to w goes to others.
func (w *Waiter) Cancel() {
	if w.local != nil {
		w.leave()
	}
}

// line is the exchanges that wait on one reactor for a connection to one backend, in the order in which they came.
type line struct{ first, last *Waiter }

// firstQueued returns the first that waits for a slot.
func (q *line) firstQueued() *Waiter {
	w := q.first
	for w != nil && !w.queued {
		w = w.newer
	}
	return w
}

// wait is the rest of Take, where there is no idle connection on this reactor: ask another one, open one, or wait.
func (l *local) wait(w *Waiter, s *site, i, address int, fresh bool) (*Conn, error) {
	if w == nil {
		if !l.upstream.backends[i].acquire() {
			return nil, ErrQueueFull
		}
		return l.dial(s.group(address))
	}
	w.backend, w.address, w.fresh = i, address, fresh
	w.since = max(l.reactor.Now(), 1)
	if !fresh && l.upstream.movable && l.want(w, s, false) {
		w.join(l, s)
		w.arm(giveWait)
		return nil, ErrWait
	}
	return l.reach(w, s)
}

// reach opens a connection, or lets w wait for leave to do so.
func (l *local) reach(w *Waiter, s *site) (*Conn, error) {
	if l.upstream.share {
		if c, ok := l.foresee(w, s); ok {
			return c, orWait(c)
		}
	}
	b := &l.upstream.backends[w.backend]
	if b.acquire() {
		return l.connect(w, s)
	}
	// Who retries on a fresh connection has held a place already, and its slot is about to come free.
	if n := b.waiting.Add(1); n > l.upstream.queue && !w.fresh {
		b.waiting.Add(-1)
		l.stats.QueueFull++
		return nil, ErrQueueFull
	}
	l.stats.Queued++
	w.queued = true
	if w.local == nil {
		w.join(l, s)
	}
	l.tellOldest(s, b)
	if b.acquire() { // see freeSlot
		w.leave()
		return l.connect(w, s)
	}
	w.armQueued()
	if l.idleOf(s) {
		l.serveLater(s)
	} else if w.letter == nil && l.upstream.movable {
		l.want(w, s, true)
	}
	return nil, ErrWait
}

// connect uses a slot for w, which may have to wait for the connection to tell its protocol.
func (l *local) connect(w *Waiter, s *site) (*Conn, error) {
	if l.upstream.share {
		return l.connectShared(w, s)
	}
	return l.dial(s.group(w.address))
}

// open uses a slot for w.
func (w *Waiter) open() {
	l := w.local
	s := l.upstream.site(l, w.backend)
	w.leave()
	if len(s.groups) == 0 {
		l.freeSlot(w.backend)
		w.taker.OnTaken(nil, ErrNoAddress)
		return
	}
	if c, err := l.connect(w, s); err != ErrWait {
		w.taker.OnTaken(c, err)
	}
}

// goOn opens a connection for w when another reactor has none to give. One that waits for a slot waits on.
func (w *Waiter) goOn() {
	if w.queued {
		return
	}
	l := w.local
	s := l.upstream.site(l, w.backend)
	if len(s.groups) == 0 {
		w.leave()
		w.taker.OnTaken(nil, ErrNoAddress)
		return
	}
	c, err := l.reach(w, s)
	if err == ErrWait {
		return
	}
	w.Cancel()
	w.taker.OnTaken(c, err)
}

// deliver ends the wait of w with c.
func (w *Waiter) deliver(c *Conn) {
	c.taken()
	w.leave()
	w.taker.OnTaken(c, nil)
}

// expired is the task of the timer: w does not wait any longer, for an answer or at all.
func (w *Waiter) expired(*engine.Reactor) {
	l := w.local
	if w.queued && l.reactor.Now() < w.deadline() {
		l.askToYield(w)
		w.armQueued()
		return
	}
	if w.queued {
		l.stats.QueueTimeouts++
		w.leave()
		w.taker.OnTaken(nil, ErrQueueTimeout)
		return
	}
	l.stats.WantsLate++
	w.forget()
	w.goOn()
}

func (w *Waiter) arm(d time.Duration) {
	if w.timer.Run == nil {
		w.timer.Run = w.expired
	}
	w.local.reactor.Arm(&w.timer, w.local.reactor.Now()+int64(d))
}

// armQueued arms w for the end of its wait for a slot, or for when others are asked to yield.
func (w *Waiter) armQueued() {
	d := time.Duration(w.deadline() - w.local.reactor.Now())
	if !w.local.upstream.movable {
		d = min(d, yieldAfter)
	}
	w.arm(d)
}

// deadline is when w has waited for a slot for long enough.
func (w *Waiter) deadline() int64 { return w.since + int64(w.local.upstream.queueTimeout()) }

// forget lets the answer to the want of w, should it come, be for somebody else.
func (w *Waiter) forget() {
	if t := w.letter; t != nil {
		t.waiter, w.letter = nil, nil
	}
}

// join puts w at the end of the line of s.
func (w *Waiter) join(l *local, s *site) {
	w.local = l
	w.older, w.newer = s.line.last, nil
	if w.older != nil {
		w.older.newer = w
	} else {
		s.line.first = w
	}
	s.line.last = w
	l.stats.Waiting++
}

// leave takes w out of its line.
func (w *Waiter) leave() {
	l := w.local
	s := &l.sites[w.backend]
	if w.older != nil {
		w.older.newer = w.newer
	} else {
		s.line.first = w.newer
	}
	if w.newer != nil {
		w.newer.older = w.older
	} else {
		s.line.last = w.older
	}
	w.older, w.newer, w.local = nil, nil, nil
	l.stats.Waiting--
	w.forget()
	w.lose()
	if w.timer.Run != nil {
		l.reactor.Disarm(&w.timer)
	}
	if w.queued {
		w.queued = false
		b := &l.upstream.backends[w.backend]
		b.waiting.Add(-1)
		l.tellOldest(s, b)
	}
}

// tellOldest publishes since when the first in line waits for a slot.
func (l *local) tellOldest(s *site, b *backend) {
	since := int64(0)
	if w := s.line.firstQueued(); w != nil {
		since = w.since
	}
	b.oldest.tell(l.reactor.Index(), since)
}
