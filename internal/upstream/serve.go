package upstream

import "github.com/edge-proxy/edge/engine"

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

// pack puts c, which was taken from its group, into t, and reports whether it could. The slot of c goes with it.
func (t *letter) pack(c *Conn) bool {
	l := c.site.local
	m, ok := c.client.Leave()
	if !ok {
		l.stats.Stale++
		c.client.Close()
		return false
	}
	t.kind, t.moved = give, m
	t.origin, t.peer = c.site.origin, c.group.Key()
	t.born, t.until = c.born, c.until
	l.stats.Given++
	l.stats.Connections--
	l.returnCapacity()
	return true
}
