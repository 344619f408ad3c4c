package upstream

import (
	"cmp"
	"errors"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
)

// What Take and OnTaken say when there is no connection, beside the errors of connecting.
var (
	ErrWait         = errors.New("a connection may come later")
	ErrQueueFull    = errors.New("too many wait for a connection to the backend")
	ErrQueueTimeout = errors.New("no connection to the backend became free in time")
)

// Take returns a connection to an address of m, which may still be connecting. It tries, in this order:
//
//	available     the idle connection that was parked last, if it is quiet, or a shared one with room
//	ask           an idle one of another reactor: w waits for the answer
//	joinProbe     a connection that others open, whose protocol is not known yet: w waits for it
//	dial          a connection of its own, if Options.PerBackend leaves a slot
//	enqueue       a place in the queue, until a slot is free
//
// fresh asks for a connection that was not parked. The error is ErrWait when w has to wait: then w's Taker hears of it.
// w must not wait already. On r only.
func (u *Upstream) Take(r *engine.Reactor, m *backend.Member, address int, fresh bool, w *Waiter) (*Conn, error) {
	r.MustOwn()
	if invariant.On {
		defer w.check()
	}
	l := u.local[r.Index()]
	s := l.site(m)
	if len(s.groups) == 0 {
		return nil, ErrNoAddress
	}
	h1Only := u.protocol == Auto && w.Upgrade && !s.group(address).Key().upgrade.Load()
	// Where the number of connections is limited, what became free just now is for the exchanges that wait.
	if s.parked == 0 || s.origin.limit == 0 {
		if c := s.available(address, fresh, h1Only); c != nil {
			c.countTaken()
			return c, nil
		}
	}
	w.site, w.address, w.fresh, w.h1Only = s, address, fresh, h1Only
	w.since = max(l.reactor.Now(), 1)
	w.turn = w.since
	if !fresh && u.movable && s.ask(w, false) {
		s.enqueue(w)
		w.arm(giveWait)
		return nil, ErrWait
	}
	return s.acquireOrQueue(w)
}

// available returns a connection to an address that takes an exchange now, nil when there is none.
func (s *site) available(address int, fresh, h1Only bool) *Conn {
	if s.sets != nil && !h1Only {
		if c := s.set(address).withRoom(fresh); c != nil {
			return c
		}
	}
	if fresh {
		return nil
	}
	return s.local.takeIdle(s.group(address))
}

// acquireOrQueue opens a connection for w, or lets w wait for a probe or for a slot.
func (s *site) acquireOrQueue(w *Waiter) (*Conn, error) {
	if s.sets != nil {
		if c, ok := s.joinProbe(w); ok {
			return c, orWait(c)
		}
	}
	if s.origin.acquire() {
		return s.dial(w)
	}
	return s.enqueueForSlot(w)
}

// joinProbe looks whether w needs no connection of its own: one has room by now, or a probe is under way that w can
// wait for. It reports whether that is so. It returns the connection, or nil when w is in the queue.
func (s *site) joinProbe(w *Waiter) (*Conn, bool) {
	t := s.set(w.address)
	if w.local != nil {
		if c := s.available(w.address, w.fresh, w.h1Only); c != nil {
			c.countTaken()
			return c, true
		}
	}
	if !w.h1Only && t.awaiting < t.probes*t.group.Key().assumed() {
		s.awaitProbe(w, t)
		return nil, true
	}
	return nil, false
}

// orWait returns ErrWait when there is no connection.
func orWait(c *Conn) error {
	if c == nil {
		return ErrWait
	}
	return nil
}

// dial opens a connection for w with a slot that was acquired. w has to wait when the handshake tells the protocol.
func (s *site) dial(w *Waiter) (*Conn, error) {
	u := s.local.upstream
	if !u.share {
		return s.dialHTTP1(s.group(w.address))
	}
	t := s.set(w.address)
	if u.protocol == H2 {
		return t.dial()
	}
	if w.h1Only || s.local.reactor.Now() < t.group.Key().h1Until.Load() {
		return s.dialHTTP1(t.group)
	}
	if err := t.probe(); err != nil {
		return nil, err
	}
	s.awaitProbe(w, t)
	return nil, ErrWait
}

// awaitProbe lets w wait for a connection of t whose protocol is not known yet.
func (s *site) awaitProbe(w *Waiter, t *sharedSet) {
	if w.local == nil {
		s.enqueue(w)
	}
	w.stopAwaiting()
	w.awaits = t
	t.awaiting++
}

// enqueueForSlot lets w wait for a slot, unless too many do.
func (s *site) enqueueForSlot(w *Waiter) (*Conn, error) {
	l, o := s.local, s.origin
	// An exchange that is tried again on a fresh connection held a connection before, whose slot is about to come free.
	if n := o.waiting.Add(1); n > l.upstream.queue && !w.fresh {
		o.waiting.Add(-1)
		l.stats.QueueFull++
		return nil, ErrQueueFull
	}
	l.stats.Queued++
	l.upstream.queued.Add(1)
	w.queued = true
	if w.local == nil {
		s.enqueue(w)
	}
	s.tellOldest()
	if o.acquire() { // see release
		w.leave()
		return s.dial(w)
	}
	w.armQueued()
	if s.anyIdle() {
		s.serveLater()
	} else if w.letter == nil && l.upstream.movable {
		s.ask(w, true)
	}
	return nil, ErrWait
}

// useSlot opens a connection for w with a slot that was handed to it.
func (w *Waiter) useSlot() {
	s := w.site.refresh()
	w.leave()
	if len(s.groups) == 0 {
		s.origin.release(s.local)
		w.taker.OnTaken(nil, ErrNoAddress)
		return
	}
	if c, err := s.dial(w); err != ErrWait {
		w.taker.OnTaken(c, err)
	}
}

// retryAfterDenied finds another way for w, after a reactor had no connection to give or a probe brought none for w. A
// waiter that waits for a slot waits on.
func (w *Waiter) retryAfterDenied() {
	if w.queued {
		return
	}
	s := w.site.refresh()
	if len(s.groups) == 0 {
		w.fail(ErrNoAddress)
		return
	}
	c, err := s.acquireOrQueue(w)
	if err == ErrWait {
		return
	}
	w.Cancel()
	w.taker.OnTaken(c, err)
}

func (w *Waiter) arm(d time.Duration) {
	if w.timer.Run == nil {
		w.timer.Run = w.expired
	}
	w.local.reactor.Arm(&w.timer, w.local.reactor.Now()+int64(d))
}

// armQueued arms w for the end of its wait for a slot, or for the time at which other reactors are asked to yield.
func (w *Waiter) armQueued() {
	d := time.Duration(w.deadline() - w.local.reactor.Now())
	if !w.local.upstream.movable {
		d = min(d, yieldAfter)
	}
	w.arm(d)
}

// deadline returns when the wait of w for a slot ends.
func (w *Waiter) deadline() int64 {
	return w.since + int64(cmp.Or(w.local.upstream.opts.QueueTimeout, queueTimeoutDefault))
}

// expired is the task of the timer. The wait for a letter is over, or the wait for a slot is, or it is time to ask
// other reactors to yield.
func (w *Waiter) expired(*engine.Reactor) {
	l := w.local
	switch {
	case w.queued && l.reactor.Now() < w.deadline():
		w.askToYield()
		w.armQueued()
	case w.queued:
		l.stats.QueueTimeouts++
		w.fail(ErrQueueTimeout)
	default:
		l.stats.WantsLate++
		w.forgetLetter()
		w.retryAfterDenied()
	}
}
