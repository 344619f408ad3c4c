package upstream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
)

// serve is the task that serveLater defers.
func (l *local) serve(*engine.Reactor) {
	l.serving = false
	s := l.pending
	l.pending = nil
	for s != nil {
		next, n := s.nextPending, s.parked
		s.nextPending, s.parked = nil, 0
		s.refresh()
		if l.upstream.share {
			s.serveShared()
		}
		s.serveParked(n)
		s = next
	}
	l.check()
}

// serveShared gives connections that have room to the exchanges that wait, in the order in which they came.
func (s *site) serveShared() {
	for n := s.local.stats.Waiting; n > 0; n-- {
		w := s.queue.First()
		for w != nil && !s.serveOne(w) {
			w = w.place.Next()
		}
		if w == nil {
			return
		}
	}
}

// serveOne gives w a connection that has room, or tells it that the probe it waited for brought none, and reports
// whether it did either.
func (s *site) serveOne(w *Waiter) bool {
	if c := s.refresh().availableFor(w); c != nil {
		w.deliver(c)
		return true
	}
	t := w.awaits
	if t == nil || t.probes > 0 {
		return false
	}
	if t.cause != nil {
		w.fail(t.cause)
		return true
	}
	w.stopAwaiting()
	w.retryAfterDenied()
	return true
}

// availableFor returns a connection that has room for w. When w waits for a slot it may be to any address of the
// member, since Options.PerBackend leaves no choice.
func (s *site) availableFor(w *Waiter) *Conn {
	if len(s.sets) == 0 {
		return nil
	}
	c := s.available(w.address, w.fresh, w.h1Only)
	for i := 0; c == nil && w.queued && i < len(s.sets); i++ {
		c = s.available(i, w.fresh, w.h1Only)
	}
	return c
}

// serveParked gives up to n parked connections to exchanges that wait for one: each to the exchange that has waited
// longest, on whichever reactor. More than n would be too many: exchanges elsewhere are counted as waiting until their
// connection arrives.
func (s *site) serveParked(n int) {
	l := s.local
	for w := s.queue.First(); n > 0; n-- {
		to := s.olderElsewhere(w)
		if w == nil && to < 0 {
			return
		}
		c := s.takeAny()
		switch {
		case c == nil:
			return
		case to >= 0 && !l.upstream.movable: // its slot goes there
			l.stats.Yielded++
			c.client.Close()
		case to >= 0:
			t := l.letter(give)
			if !t.pack(c) {
				l.free(t)
				continue
			}
			l.post(t, to)
		case w.fresh: // needs a connection of its own: this one makes room for it
			w = w.place.Next()
			c.client.Close()
		default:
			next := w.place.Next()
			w.deliver(c)
			if w = next; w != nil && w.local != l { // deliver may have ended its wait
				w = s.queue.First()
			}
		}
	}
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

// takeAny takes an idle connection to any address.
func (s *site) takeAny() *Conn {
	for _, g := range s.groups {
		if c := s.local.takeIdle(g); c != nil {
			return c
		}
	}
	return nil
}

// anyIdle reports whether a connection to any address is parked here.
func (s *site) anyIdle() bool {
	for _, g := range s.groups {
		if g.Len() > 0 {
			return true
		}
	}
	return false
}

// idleFor returns the idle time that is left, at least 1 ns: 0 would mean no limit.
func idleFor(ns int64) time.Duration { return max(time.Duration(ns), 1) }

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
