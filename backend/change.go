package backend

import (
	"log/slog"
	"slices"
	"time"
)

// Why says what gave a Reason, or took it away.
// Immutable.
type Why struct {
	Word  string      // one word for the log and for counters: "refused", "status"; "": nothing is known
	Facts []slog.Attr // what it is seen by, for the log
}

// Change is one Reason that a member has got, or has no more.
type Change struct {
	Member  *Member
	Reason  Reason
	On      bool          // it has got it
	Why     Why           // of the reason; when it is taken away, what gave it
	Facts   []slog.Attr   // what took it away
	Lasted  time.Duration // how long it was the other way; 0: since the member joined
	Tier    int           // of the member
	Open    int           // members of the set that serve now
	Members int           // of the set
}

// reasonRecord is a reason against a member, of now or of before.
type reasonRecord struct {
	reason Reason
	on     bool
	why    Why
	since  time.Time
}

// hooks are what is called with each E of a Set.
// Guarded by Set.mu.
type hooks[E any] []*func(e *E)

// add registers f to be called with each e, until stop.
func (h *hooks[E]) add(s *Set, f func(e *E)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*h = append(*h, &f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		*h = slices.DeleteFunc(*h, func(other *func(e *E)) bool { return other == &f })
	}
}

func (h hooks[E]) call(e *E) {
	for _, f := range h {
		(*f)(e)
	}
}

// OnChange calls f for each reason that a member of s gets or loses, once each, in their order. f must neither block
// nor change the set. stop ends that.
func (s *Set) OnChange(f func(c *Change)) (stop func()) { return s.changeHooks.add(s, f) }

// JoinWith gives each member that joins from now on a reason, which its writer takes away.
func (s *Set) JoinWith(reason Reason) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joinWith = reason
}

// Mark adds a reason why m does not serve, or takes it away, and reports whether that is news. A
// reason that m joined with is told when its writer first says why. Each reason is marked by one writer.
func (m *Member) Mark(reason Reason, on bool, why Why) (changed bool) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	next := m.Reasons() &^ reason
	if on {
		next |= reason
	}
	return m.mark(next, why)
}

// Why returns what gave m a reason that it has.
func (m *Member) Why(reason Reason) Why {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	if i := m.reasonRecordOf(reason); i >= 0 && m.standings[i].on {
		return m.standings[i].why
	}
	return Why{}
}

// reasonRecordOf returns the index of a reason in m.standings, or -1. set.mu is held.
func (m *Member) reasonRecordOf(reason Reason) int {
	return slices.IndexFunc(m.standings, func(s reasonRecord) bool { return s.reason == reason })
}

// mark sets the reasons of m, for why. set.mu is held.
func (m *Member) mark(reasons Reason, why Why) (changed bool) {
	old := Reason(m.reasons.Swap(uint32(reasons)))
	if old != reasons && !m.gone {
		m.set.updateOpen(m)
	}
	for bit := Reason(1); bit <= old|reasons && bit != 0; bit <<= 1 {
		if on := reasons&bit != 0; on != (old&bit != 0) {
			m.note(bit, on, why)
		} else if i := m.reasonRecordOf(bit); on && why.Word != "" && (i < 0 || m.standings[i].why.Word == "") {
			m.note(bit, true, why) // it joined with the reason, for which nothing was known yet
		}
	}
	return old != reasons
}

// note remembers and tells that m has a reason, or has it no more. set.mu is held.
func (m *Member) note(reason Reason, on bool, why Why) {
	now := time.Now()
	i := m.reasonRecordOf(reason)
	if i < 0 {
		i = len(m.standings)
		m.standings = append(m.standings, reasonRecord{reason: reason, since: now})
	}
	s := &m.standings[i]
	c := Change{Member: m, Reason: reason, On: on, Why: why, Facts: why.Facts, Lasted: now.Sub(s.since), Tier: m.tier}
	if !on {
		c.Why = s.why
	}
	s.on, s.why, s.since = on, c.Why, now
	if m.gone || len(m.set.changeHooks) == 0 {
		return
	}
	for _, other := range m.set.now.Load().members {
		if other != nil {
			c.Members++
			if other.Reasons() == 0 {
				c.Open++
			}
		}
	}
	m.set.changeHooks.call(&c)
}
