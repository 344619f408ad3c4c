package upstream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/session"
)

// arrive runs where t was posted to.
func (t *letter) arrive(*engine.Reactor) {
	l := t.local
	switch t.kind {
	case want:
		l.answerWant(t)
	case none:
		l.countAnswer(t)
		l.stats.WantsEmpty++
		w := t.waiter
		l.free(t)
		if w != nil {
			w.letter = nil
			w.retryAfterDenied()
		}
	case give:
		l.receiveConn(t)
	case slot:
		s := l.siteOf(t.origin)
		l.free(t)
		s.receiveSlot()
	}
}

// answerWant answers a want, on the owner's side. It does not touch t.waiter, which belongs to the asker.
func (l *local) answerWant(t *letter) {
	t.kind = none
	s := l.siteOf(t.origin)
	if !l.upstream.movable {
		s.yield(t.peer)
	} else if g := s.groupOf(t.peer); g != nil {
		for c := l.takeOldest(g); c != nil; c = l.takeOldest(g) {
			if t.pack(c) {
				break
			}
		}
	}
	l.post(t, t.asker.reactor.Index())
}

// countAnswer counts that t, if it is the answer to a want, has come.
func (l *local) countAnswer(t *letter) {
	if t.asker != nil {
		l.wants--
	}
}

// receiveConn adopts the connection in t: for the waiter that asked, else for the waiter that has waited longest, else
// into the pool.
func (l *local) receiveConn(t *letter) {
	l.countAnswer(t)
	s := l.siteOf(t.origin)
	w := t.waiter
	if w != nil {
		w.letter = nil
	} else {
		if w = s.queue.First(); w == nil {
			l.stats.LateGives++
		}
	}
	c := t.unpack(s, w)
	discarded := t.kind == none
	l.free(t)
	switch {
	case w != nil && w.fresh && discarded: // the connection made room for the connection that w needs
		w.useSlot()
	case c == nil:
		l.stats.LostGives++
		s.origin.release(l)
		if w != nil {
			w.retryAfterDenied()
		}
	case w != nil:
		l.stats.TakenOver++
		w.deliver(c)
	default:
		c.park()
	}
}

// unpack makes a Conn of the connection in t. It returns nil when the connection was closed on the way, or is of no use
// here: then t says none. w is to get it; when w is nil, it gets the deadline of an idle connection.
func (t *letter) unpack(s *site, w *Waiter) *Conn {
	l, g := s.local, s.groupOf(t.peer)
	idle := t.until - l.reactor.Now()
	fresh := w != nil && w.fresh
	if g == nil || fresh || w == nil && (idle <= 0 || s.closed || !l.ensureCapacity()) {
		session.Discard(l.reactor, t.moved)
		t.kind = none
		return nil
	}
	c := s.newConn(g)
	c.born, c.until = t.born, t.until
	switch err := c.client.Adopt(l.reactor, t.moved); err {
	case nil:
	case engine.ErrUnasked:
		l.stats.Surplus++
		return nil
	default:
		l.stats.Stale++
		return nil
	}
	l.stats.Connections++
	if w == nil {
		c.client.SetIdleTimeout(max(time.Duration(idle), 1)) // 0 would mean no limit
	}
	return c
}

// receiveSlot gives a slot that came by mail to the exchange that has waited longest for one.
func (s *site) receiveSlot() {
	if w := s.firstQueued(); w != nil && !(s.local.upstream.share && s.serveOne(w)) {
		w.useSlot()
		return
	}
	s.origin.release(s.local)
}
