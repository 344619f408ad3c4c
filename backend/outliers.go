package backend

import (
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/ejection"
)

// Outliers ejects members of a Set that answer worse than the others, by what the users of the Set report: it is the
// writer of the Reason Ejected.
// Safe for any goroutine, except that methods that take a reactor are for that one.
type Outliers struct {
	set       *Set
	detector  *ejection.Detector
	ejections [len(ejection.Counts{})]atomic.Uint64
	stopped   atomic.Bool
}

// NewOutliers makes Outliers for the members of s. The log has a line about each ejection where LogChanges writes one.
func NewOutliers(s *Set, reactors int, o ejection.Options) *Outliers {
	u := &Outliers{set: s}
	o.Random = rand.Uint64
	u.detector = ejection.New(reactors, o, u.list)
	return u
}

func (u *Outliers) list() (all []ejection.Member) {
	for _, m := range u.set.Members() {
		// A member that cannot be connected to serves no requests, before that is a reason against it too. Of an
		// ejected one the trouble may be old.
		reasons := m.Reasons()
		open := reasons == Ejected || reasons == 0 && m.Trouble() != Connecting
		all = append(all, ejection.Member{Slot: m.Slot(), Which: m, Open: open, Checked: m.checked.Load()})
	}
	return all
}

// Good reports that m answered, and that the answer is no failure of m. On r.
func (u *Outliers) Good(r *engine.Reactor, m *Member) {
	if !u.set.has(m) {
		return
	}
	if all := u.detector.Good(r.Index(), m.Slot(), m, r.Now()); all != nil {
		u.apply(all)
	}
}

// Bad reports a failure of m. On r.
func (u *Outliers) Bad(r *engine.Reactor, m *Member, f ejection.Failed) {
	if u.set.has(m) {
		u.apply(u.detector.Bad(r.Index(), m.Slot(), m, f, r.Now()))
	}
}

// OrEjected returns next, which v has picked for q, or an ejected member where no other is left. On r.
func (u *Outliers) OrEjected(v *View, r *engine.Reactor, q *balance.Request, next *Member) *Member {
	none := next == nil || next.Reasons() == Unreachable // in a panic ejected ones are picked anyway
	if none && u.lastResort(r) {
		return v.Pick(r, q)
	}
	return next
}

// Trying reports whether any member is on trial after an ejection: then Admit is to be asked. It is one load.
func (u *Outliers) Trying() bool { return u.detector.Trying() }

// Admit says whether m may get a request: a member on trial gets few at a time, but this one where must is set. Any
// goroutine.
func (u *Outliers) Admit(m *Member, must bool) ejection.Admission {
	return u.detector.Admit(m.Slot(), m, must)
}

// Leave notes the end of a request that Admit has counted. Any goroutine.
func (u *Outliers) Leave(m *Member) { u.detector.Leave(m.Slot(), m) }

// Ejections returns how many there were.
func (u *Outliers) Ejections() (counts ejection.Counts) {
	for i := range u.ejections {
		counts[i] = u.ejections[i].Load()
	}
	return counts
}

// OnTrial reports whether m was ejected and gets few requests. On any reactor.
func (u *Outliers) OnTrial(m *Member) bool { return u.detector.OnTrial(m.Slot(), m) }

// lastResort lets members that are ejected serve again where no other one does. It reports whether there were any. On
// r.
func (u *Outliers) lastResort(r *engine.Reactor) bool {
	all := u.detector.LastResort(r.Now())
	u.apply(all)
	return len(all) > 0
}

// Stop ends all ejections. What u is told afterwards has no effect: exchanges that began before may still report.
func (u *Outliers) Stop() {
	u.stopped.Store(true)
	for _, m := range u.set.Members() {
		m.Mark(Ejected, false, Why{Facts: []slog.Attr{slog.String("by", "ejection is off")}})
	}
}

// apply ejects members, or lets them serve again.
func (u *Outliers) apply(all []ejection.Action) {
	for _, a := range all {
		m := a.Member.Which.(*Member)
		if !a.Eject {
			m.Mark(Ejected, false, Why{Facts: []slog.Attr{slog.Bool("trial", true)}})
			continue
		}
		m.checked.Store(false)
		news := m.Mark(Ejected, true, Why{Word: a.Cause.String(), Facts: []slog.Attr{
			slog.Int("failed", a.Failed), slog.Int("of", a.Asked),
			slog.String("for", a.For.Round(time.Second).String()),
		}})
		if u.stopped.Load() { // maybe after Stop was at m
			m.Up(Ejected)
			continue
		}
		if news {
			u.ejections[a.Cause].Add(1)
		}
	}
}
