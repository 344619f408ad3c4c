//go:build invariants

package upstream

import "github.com/edge-proxy/edge/internal/invariant"

// check panics when the invariants of what l keeps do not hold: its sites with their waiter queues and sets of shared
// connections, and the slots of their origins. Between two callbacks, on l's reactor.
func (l *local) check() {
	waiting := 0
	for _, s := range l.sites {
		if s != nil {
			waiting += s.check()
		}
	}
	invariant.That(waiting <= l.stats.Waiting, "%d exchanges wait, %d are counted", waiting, l.stats.Waiting)
	for i, m := range l.shared {
		invariant.That(m.localIndex == i, "the shared connection at %d is said to be at %d", i, m.localIndex)
	}
	for s := l.pending; s != nil; s = s.nextPending {
		invariant.That(s.parked > 0 && l.serving, "a site is to be served and has nothing, or serve is not on its way")
	}
}

// check returns how many exchanges wait in the queue of s.
func (s *site) check() int {
	awaiting := make(map[*sharedSet]int)
	waiting, queued := s.checkQueue(awaiting)
	s.origin.check(queued)
	since := int64(0)
	if w := s.queue.firstQueued(); w != nil {
		since = w.since
	}
	told := s.origin.oldest.cells[s.local.reactor.Index()].Load()
	invariant.That(told == since, "the first waits since %d, %d is told", since, told)
	invariant.That(s.sets == nil || len(s.sets) == len(s.groups), "%d groups, %d sets", len(s.groups), len(s.sets))
	for _, t := range s.sets {
		t.check(awaiting[t])
	}
	return waiting
}

// checkQueue walks the queue. It counts the exchanges that wait, those that wait for a slot, and those that await each
// set.
func (s *site) checkQueue(awaiting map[*sharedSet]int) (waiting, queued int) {
	var older *Waiter
	for w := s.queue.first; w != nil; older, w = w, w.newer {
		waiting++
		invariant.That(w.older == older, "broken link at place %d of the queue", waiting)
		invariant.That(w.local == s.local && w.site == s, "the waiter at place %d is not of this queue", waiting)
		invariant.That(w.letter == nil || w.letter.waiter == w, "the letter of a waiter is for another one")
		invariant.That(!w.queued || w.awaits == nil, "an exchange waits for a slot and for a probe")
		if w.queued {
			queued++
		}
		if w.awaits != nil {
			awaiting[w.awaits]++
		}
	}
	invariant.That(s.queue.last == older, "the queue does not end with its last waiter")
	return waiting, queued
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
		invariant.That(m.yieldsSince == 0 || !m.listed, "a connection yields and takes exchanges")
		if m.listed {
			listed++
		}
	}
	var newer *shared
	for m := t.first; m != nil; newer, m = m, m.older {
		invariant.That(m.listed && m.newer == newer, "broken link among the connections that have room")
		listed--
	}
	invariant.That(listed == 0, "%d connections too few are among those that have room", listed)
}
