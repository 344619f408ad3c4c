package inspect

import (
	"sync"
	"time"

	"github.com/edge-proxy/edge/admin"
	"github.com/edge-proxy/edge/backend"
)

// asked is what operators have asked of backends for a time. What has no end is kept by the backends themselves.
// Safe for any goroutine.
type asked struct {
	mu     sync.Mutex
	ending map[*backend.Member]*ending // guarded by mu
}

// ending is when what was asked of a backend is taken back.
type ending struct {
	at    time.Time
	timer *time.Timer
}

// change does what c says, and arranges for its end. A change takes the place of the end of the one before.
func (a *asked) change(m *backend.Member, c *admin.BackendChange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.ending[m]; e != nil {
		e.timer.Stop()
		delete(a.ending, m)
	}
	apply(m, c.State)
	if c.Share != nil {
		m.SetPart(backend.PartOperator, *c.Share)
	}
	d := time.Duration(c.For)
	if d <= 0 || c.State == admin.BackendServing && c.Share == nil {
		return
	}
	if a.ending == nil {
		a.ending = make(map[*backend.Member]*ending)
	}
	e := &ending{at: time.Now().Add(d)}
	e.timer = time.AfterFunc(d, func() { a.end(m, e) })
	a.ending[m] = e
}

// end takes back what was asked of m, unless something else was asked since.
func (a *asked) end(m *backend.Member, e *ending) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending[m] == e {
		delete(a.ending, m)
		apply(m, admin.BackendServing)
	}
}

// apply marks m. BackendServing takes back all that an operator has asked for.
func apply(m *backend.Member, state admin.BackendState) {
	why := backend.Why{Word: "operator"}
	switch state {
	case admin.BackendServing:
		m.Mark(backend.Draining, false, why)
		m.Mark(backend.Operator, false, why)
		m.SetPart(backend.PartOperator, 1)
	case admin.BackendDraining:
		m.Mark(backend.Draining, true, why)
		m.Mark(backend.Operator, false, why)
	case admin.BackendDown:
		m.Mark(backend.Operator, true, why)
		m.Mark(backend.Draining, false, why)
	}
}

// until returns when what was asked of m ends; nil: it does not, or nothing was asked.
func (a *asked) until(m *backend.Member) *time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.ending[m]; e != nil {
		at := e.at
		return &at
	}
	return nil
}
