package upstream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
)

// serveLater arranges that the connections parked meanwhile are given to those who wait. Not at once: the callback that
// parked one is still at work on it.
func (l *local) serveLater(s *site) {
	s.parked++
	if !l.serving {
		l.serving = true
		l.reactor.Defer(&l.server)
	}
}

// serve is the task that serveLater defers.
func (l *local) serve(*engine.Reactor) {
	l.serving = false
	for i := range l.sites {
		if s := &l.sites[i]; s.parked > 0 {
			n := s.parked
			s.parked = 0
			if l.upstream.share {
				l.serveShared(i)
			}
			l.serveSite(i, n)
		}
	}
}

// serveSite gives up to n parked connections of backend i to those who wait for one: whoever has waited longest, on
// whichever reactor. n, since the others know later that they were served.
func (l *local) serveSite(i, n int) {
	s := l.upstream.site(l, i)
	b := &l.upstream.backends[i]
	for w := s.line.first; n > 0; n-- {
		to := l.olderElsewhere(b, w)
		if w == nil && to < 0 {
			return
		}
		c := l.idleAny(s)
		switch {
		case c == nil:
			return
		case to >= 0 && !l.upstream.movable: // its slot goes there
			l.stats.Yielded++
			c.client.Close()
		case to >= 0:
			t := l.letter(give)
			if !l.pack(t, c) {
				l.free(t)
				continue
			}
			l.post(t, to)
		case w.fresh: // needs a connection of its own: this one makes room for it
			w = w.newer
			c.client.Close()
		default:
			next := w.newer
			w.deliver(c)
			if w = next; w != nil && w.local != l { // what deliver did may have ended it
				w = s.line.first
			}
		}
	}
}

// olderElsewhere returns the reactor on which an exchange waits for a slot that came before w, or -1.
func (l *local) olderElsewhere(b *backend, w *Waiter) int {
	if b.waiting.Load() == 0 {
		return -1
	}
	to, since := b.longest()
	if to == l.reactor.Index() || w != nil && w.since <= since {
		return -1
	}
	if !l.upstream.movable && l.reactor.Now()-since < int64(yieldAfter) {
		return -1
	}
	return to
}

// idleAny takes an idle connection to any address of s.
func (l *local) idleAny(s *site) *Conn {
	for _, g := range s.groups {
		if c := l.takeIdle(g); c != nil {
			return c
		}
	}
	return nil
}

// idleOf reports whether a connection to any address of s is parked here.
func (l *local) idleOf(s *site) bool {
	for _, g := range s.groups {
		if g.Len() > 0 {
			return true
		}
	}
	return false
}

// idleFor is what is left of the time that a connection may be idle.
func idleFor(ns int64) time.Duration { return max(time.Duration(ns), 1) }
