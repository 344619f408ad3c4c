//go:build invariants

package upstream

import "github.com/edge-proxy/edge/internal/base/invariant"

// check panics when the invariants of what l keeps do not hold: its sites with their waiter queues and sets of shared
// connections, and the slots of their origins. Between two callbacks, on l's reactor.
func (l *local) check() {
	pending := make(map[*site]bool)
	for s := l.pending; s != nil; s = s.nextPending {
		invariant.That(s.parked > 0 && l.serving, "a site is to be served and has nothing, or serve is not on its way")
		pending[s] = true
	}
	waiting := 0
	for i, s := range l.sites {
		if s != nil {
			invariant.That(s.local == l && s.member.Slot() == i, "the site of slot %d is at %d", s.member.Slot(), i)
			invariant.That(pending[s] == (s.parked > 0), "%d are parked, to be served: %v", s.parked, pending[s])
			waiting += s.check()
		}
	}
	invariant.That(waiting <= l.stats.Waiting, "%d exchanges wait, %d are counted", waiting, l.stats.Waiting)
	for i, m := range l.shared {
		invariant.That(m.localIndex == i, "the shared connection at %d is said to be at %d", i, m.localIndex)
		m.check()
	}
}

// check returns how many exchanges wait in the queue of s.
func (s *site) check() int {
	awaiting := make(map[*sharedSet]int)
	waiting, queued := s.checkQueue(awaiting)
	s.origin.check(queued)
	since := int64(0)
	if w := s.firstQueued(); w != nil {
		since = w.since
	}
	told := s.origin.oldest.cells[s.local.reactor.Index()].Load()
	invariant.That(told == since, "the first waits since %d, %d is told", since, told)
	invariant.That(s.sets == nil || len(s.sets) == len(s.groups), "%d groups, %d sets", len(s.groups), len(s.sets))
	for t, n := range awaiting { // a set that is gone may have some left
		t.check(n)
	}
	for _, t := range s.sets {
		t.check(awaiting[t])
	}
	return waiting
}

// checkQueue walks each Waiter of the queue. It counts the exchanges that wait, those that wait for a slot, and those
// that await each set.
func (s *site) checkQueue(awaiting map[*sharedSet]int) (waiting, queued int) {
	for w := s.queue.First(); w != nil; w = w.place.Next() {
		waiting++
		invariant.That(w.local == s.local && w.site == s, "the waiter at place %d is not of this queue", waiting)
		invariant.That(!w.queued || w.awaits == nil, "an exchange waits for a slot and for a probe")
		w.check()
		if w.queued {
			queued++
		}
		if w.awaits != nil {
			awaiting[w.awaits]++
		}
	}
	err := s.queue.Check()
	invariant.That(err == nil, "the queue of a site: %v", err)
	return waiting, queued
}

// check panics when an invariant of Waiter does not hold, as far as w alone can tell: it is linked into its queue, or
// waits for nothing.
func (w *Waiter) check() {
	if w.local == nil {
		invariant.That(!w.place.Listed(), "an exchange that does not wait is in a queue")
		invariant.That(w.letter == nil && w.awaits == nil && !w.queued, "what is in no queue waits for something")
		return
	}
	invariant.That(w.place.In(&w.site.queue), "an exchange that waits is not in its queue")
	invariant.That(w.letter == nil || w.letter.waiter == w, "the letter of a waiter is for another one")
	invariant.That(w.awaits == nil || w.awaits.awaiting > 0, "waits for a probe and is not counted")
	invariant.That(w.awaits == nil || w.awaits.probes > 0 || w.site.parked > 0, "waits for a probe that is over")
	invariant.That(!w.queued || w.site.origin.waiting.Load() > 0, "waits for a slot and is not counted")
}

// check panics when an invariant of Conn does not hold.
func (c *Conn) check() {
	invariant.That(c.node.Conn == c, "the node of a connection is another one's")
	if m := c.shared; m != nil {
		invariant.That(m.conn == c && !c.node.Parked() && c.client.Uses() == 0, "a shared connection is used as HTTP/1")
	}
}

// check panics when an invariant of shared, or of its Conn, does not hold.
func (m *shared) check() {
	m.conn.check()
	t := m.set
	invariant.That(m.conn.shared == m, "the connection of a shared one is another one's")
	invariant.That(t != nil || !m.room.Listed(), "a connection that drains has room")
	invariant.That(t == nil || m.setIndex < len(t.conns) && t.conns[m.setIndex] == m, "a set misses a connection")
}

// check looks at the slots of o, of which queued exchanges wait for one on this reactor.
func (o *origin) check(queued int) {
	open, waiting := o.open.Load(), o.waiting.Load()
	invariant.That(open >= 0 && (o.limit == 0 || open <= o.limit), "%d slots of %d are taken", open, o.limit)
	invariant.That(waiting >= int64(queued), "%d exchanges wait for a slot, %d are counted", queued, waiting)
}

// check walks the connections of t, for one of whose probes so many exchanges wait.
func (t *sharedSet) check(awaiting int) {
	invariant.That(t.awaiting == awaiting, "%d exchanges wait for a probe, %d are counted", awaiting, t.awaiting)
	invariant.That(t.probes >= 0, "%d probes", t.probes)
	listed := 0
	for i, m := range t.conns {
		invariant.That(m.set == t && m.setIndex == i, "the connection at place %d is not of this set", i)
		invariant.That(m.yieldsSince == 0 || !m.room.Listed(), "a connection yields and takes exchanges")
		if m.room.Listed() {
			listed++
		}
	}
	err := t.room.Check()
	invariant.That(err == nil, "the connections that have room: %v", err)
	invariant.That(listed == t.room.Len(), "%d connections have room, of those in the set %d", t.room.Len(), listed)
}
