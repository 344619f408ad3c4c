package upstream

import "time"

// How long a connection takes no exchange, so that it may become idle for an exchange that waits on another reactor;
// and how much later it may do so again. An exchange that lasts longer keeps the connection.
const (
	yieldFor   = 100 * time.Millisecond
	yieldAgain = 10 * yieldFor
)

// askToYield asks another reactor, for the first in the queue, to give up a connection that cannot be moved; or this
// one, where it is of no use to w.
func (w *Waiter) askToYield() {
	s := w.site.refresh()
	for _, t := range s.sets {
		if w.h1Only {
			t.yield()
		} else {
			t.resume(yieldFor)
		}
	}
	if w.letter == nil && w == s.firstQueued() && len(s.groups) > 0 {
		s.ask(w, true)
	}
}

// yield closes a connection to p that cannot be moved, so that its slot goes to the exchange that has waited longest. A
// shared connection takes no exchange for a while, and is closed when it becomes idle.
func (s *site) yield(p *peer) {
	if s.olderElsewhere(s.firstQueued()) < 0 {
		return
	}
	g := s.groupOf(p)
	if g == nil {
		return
	}
	if c := s.local.takeOldest(g); c != nil {
		s.local.stats.Yielded++
		c.client.Close()
		return
	}
	for _, t := range s.sets {
		if t.group == g {
			t.yield()
		}
	}
}

// yield lets one connection of t make room for an exchange on another reactor: an idle one, if there is any.
func (t *sharedSet) yield() {
	t.resume(yieldFor)
	l := t.site.local
	var least *shared
	for _, m := range t.conns {
		if m.yieldsSince != 0 && m.mux.Streams() > 0 {
			return // one at a time
		}
		if m.mux.Connected() && (least == nil || m.mux.Streams() < least.mux.Streams()) {
			least = m
		}
	}
	switch {
	case least == nil:
	case least.mux.Streams() == 0:
		l.stats.Yielded++
		least.retire()
	case l.reactor.Now()-least.yieldedAt >= int64(yieldAgain) || least.yieldedAt == 0:
		least.yieldsSince, least.yieldedAt = l.reactor.Now(), l.reactor.Now()
		least.room.Remove()
	}
}

// resume lets those connections of t take exchanges again that have yielded for so long and did not become idle.
func (t *sharedSet) resume(after time.Duration) {
	now := t.site.local.reactor.Now()
	for _, m := range t.conns {
		if m.yieldsSince != 0 && now-m.yieldsSince >= int64(after) {
			m.yieldsSince = 0
			if m.hasRoom() {
				t.room.PushFront(&m.room, m)
				t.announceRoom()
			}
		}
	}
}
