package backend

import (
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend/ejection"
	"github.com/edge-proxy/edge/engine"
)

// Outliers ejects members of a Set that answer worse than the others, by what the users of the Set report: it is the
// writer of the Reason Ejected.
// Safe for any goroutine, except that methods that take a reactor are for that one.
type Outliers struct {
	set     *Set
	service string
	found   *ejection.Detector
	stopped atomic.Bool
}

// NewOutliers makes Outliers for the members of s, which the log calls by the name of the service.
func NewOutliers(service string, s *Set, reactors int, o ejection.Options) *Outliers {
	u := &Outliers{set: s, service: service}
	o.Random = rand.Uint64
	u.found = ejection.New(reactors, o, u.list)
	return u
}

func (u *Outliers) list() (all []ejection.Member) {
	for _, m := range u.set.Members() {
		all = append(all, ejection.Member{Slot: m.Slot(), Which: m, Open: m.Reasons()&^Ejected == 0})
	}
	return all
}

// Good reports that m answered, and that the answer is no failure of m. On r.
func (u *Outliers) Good(r *engine.Reactor, m *Member) {
	if all := u.found.Good(r.Index(), m.Slot(), r.Now()); all != nil {
		u.do(all)
	}
}

// Bad reports a failure of m. On r.
func (u *Outliers) Bad(r *engine.Reactor, m *Member, f ejection.Failed) {
	u.do(u.found.Bad(r.Index(), m.Slot(), f, r.Now()))
}

// Admits reports whether m may get a request: one that was ejected gets few at first. On r.
func (u *Outliers) Admits(r *engine.Reactor, m *Member) bool {
	return u.found.Admits(m.Slot(), r.Now())
}

// LastResort lets members that are ejected serve again where no other one does. It reports whether there were any. On
// r.
func (u *Outliers) LastResort(r *engine.Reactor) bool {
	all := u.found.LastResort(r.Now())
	u.do(all)
	return len(all) > 0
}

// Stop ends all ejections. What u is told afterwards has no effect: exchanges that began before may still report.
func (u *Outliers) Stop() {
	u.stopped.Store(true)
	for _, m := range u.set.Members() {
		m.Up(Ejected)
	}
}

// do ejects members, or lets them serve again.
func (u *Outliers) do(all []ejection.Action) {
	for _, a := range all {
		m := a.Member.Which.(*Member)
		if !a.Eject {
			if m.Up(Ejected) {
				slog.Info("an ejected backend is on trial", "upstream", u.service, "backend", m.Address())
			}
			continue
		}
		news := m.Down(Ejected)
		if u.stopped.Load() { // maybe after Stop was at m
			m.Up(Ejected)
			continue
		}
		if news {
			slog.Warn("a backend is ejected", "upstream", u.service, "backend", m.Address(), "reason", a.Cause.String(),
				"failed", a.Failed, "of", a.Asked, "for", a.For.Round(time.Second).String())
		}
	}
}
