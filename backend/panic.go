package backend

import "time"

// Panic says that a Set begins to pick members that do not serve, since too few do, or that this is over.
type Panic struct {
	On      bool
	Open    int           // members that serve
	Members int           // those and the others that are picked, all that are not drained
	Lasted  time.Duration // how long it was the other way; 0: always
}

// panicState is what is known of panics.
type panicState struct {
	on    bool
	since time.Time
	count uint64
}

// OnPanic calls f when a panic of s begins and when it is over. f must neither block nor change the set. stop ends
// that.
func (s *Set) OnPanic(f func(p *Panic)) (stop func()) { return s.panicHooks.add(s, f) }

// Stats is what a Set has counted, and what it is like.
type Stats struct {
	Panics    uint64 // that have begun
	Panicking int64  // 1 while there is one
}

// Stats returns what s has counted.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Panics: s.panics.count}
	if s.panics.on {
		stats.Panicking = 1
	}
	return stats
}

// notePanic remembers and tells whether there is a panic. mu is held.
func (s *Set) notePanic(on bool, h healths) {
	p := &s.panics
	if p.on == on {
		return
	}
	now := time.Now()
	news := Panic{On: on}
	if !p.since.IsZero() {
		news.Lasted = now.Sub(p.since)
	}
	if p.on, p.since = on, now; on {
		p.count++
	}
	for i := range h {
		news.Open += h[i].up
		news.Members += h[i].members
	}
	s.panicHooks.call(&news)
}
