package inspect

import (
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// asked is what operators have asked of backends for a time. What has no end is kept by the backends themselves.
// Safe for any goroutine.
type asked struct {
	mu     sync.Mutex
	ending map[subject]*ending // guarded by mu
}

// subject is what is asked of a backend: its share or its state. Each has an end of its own.
type subject struct {
	member *backend.Member
	share  bool
}

// ending is when what was asked of a backend is taken back.
type ending struct {
	at    time.Time
	timer *time.Timer
	back  func() // makes the backend do what was asked of it without an end
}

// changeAt does what c says with the members of an upstream that have an address, and returns one of them; nil: there
// is none. Without c.Force it is ErrLast where they serve and no other member does. Looking and changing are one step:
// of two changes at a time the second one sees the first.
func (a *asked) changeAt(all []*backend.Member, address string, c *admin.BackendChange) (*backend.Member, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found *backend.Member
	serves, others := false, false
	for _, m := range all {
		if m.Address() == address {
			found, serves = m, serves || m.Reasons() == 0
		} else {
			others = others || m.Reasons() == 0 && m.Part() > 0
		}
	}
	if serves && !others && !c.Force && c.State != "" && c.State != admin.BackendServing {
		return nil, admin.ErrLast
	}
	for _, m := range all {
		if m.Address() == address { // an address that is named twice has several
			a.change(m, c)
		}
	}
	return found, nil
}

// change does what c says, and arranges for its end. A change takes the place of the one before of the same subject,
// and of its end; BackendServing takes the place of all. a.mu is held.
func (a *asked) change(m *backend.Member, c *admin.BackendChange) {
	state, share, d := subject{m, false}, subject{m, true}, time.Duration(c.For)
	switch c.State {
	case "":
	case admin.BackendServing:
		a.forget(state)
		a.forget(share)
		apply(m, c.State)
		m.SetPart(backend.PartOperator, 1)
	default:
		was := stateOf(m)
		a.arrange(state, d, func() { apply(m, was) })
		apply(m, c.State)
	}
	if c.Share != nil {
		was := backend.PartOperator.Of(m)
		a.arrange(share, d, func() { m.SetPart(backend.PartOperator, was) })
		m.SetPart(backend.PartOperator, *c.Share)
	}
}

// arrange schedules a call of back after d, in place of the call that was arranged for s before; the function of that
// call, if there was one, takes the place of back. Without d nothing is arranged. a.mu is held.
func (a *asked) arrange(s subject, d time.Duration, back func()) {
	if e := a.forget(s); e != nil {
		back = e.back
	}
	if d <= 0 {
		return
	}
	if a.ending == nil {
		a.ending = make(map[subject]*ending)
	}
	e := &ending{at: time.Now().Add(d), back: back}
	e.timer = time.AfterFunc(d, func() { a.end(s, e) })
	a.ending[s] = e
}

// forget drops the end of s, and returns it; nil: there is none. a.mu is held.
func (a *asked) forget(s subject) *ending {
	e := a.ending[s]
	if e != nil {
		e.timer.Stop()
		delete(a.ending, s)
	}
	return e
}

// end takes back what was asked of s, unless something else was asked since.
func (a *asked) end(s subject, e *ending) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending[s] == e {
		delete(a.ending, s)
		e.back()
	}
}

// apply marks m.
func apply(m *backend.Member, state admin.BackendState) {
	why, down := backend.Why{Word: "operator"}, state == admin.BackendDown
	if down {
		m.Mark(backend.Operator, true, why) // before it drains no more: it must not serve in between
	}
	m.Mark(backend.Draining, state == admin.BackendDraining, why)
	m.Mark(backend.Operator, down, why)
}

func stateOf(m *backend.Member) admin.BackendState {
	switch reasons := m.Reasons(); {
	case reasons&backend.Operator != 0:
		return admin.BackendDown
	case reasons&backend.Draining != 0:
		return admin.BackendDraining
	default:
		return admin.BackendServing
	}
}

// until returns when the first of what was asked of m ends; nil: none does, or nothing was asked.
func (a *asked) until(m *backend.Member) *time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	var first *time.Time
	for _, share := range []bool{false, true} {
		if e := a.ending[subject{m, share}]; e != nil && (first == nil || e.at.Before(*first)) {
			first = new(e.at)
		}
	}
	return first
}
