package backend

import (
	"sync/atomic"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
)

// heldRequests counts the requests under way at a member whose number is limited. It is alone on its cache lines, since
// all reactors write it with every request, and read what else a Member has. Safe for any goroutine.
type heldRequests struct {
	held atomic.Int64
	_    [120]byte
}

// Hold counts a request at m if fewer than limit are counted, 0: any number, and reports whether it did. Each is to
// Release. Safe for any goroutine.
func (m *Member) Hold(limit int) bool {
	held := &m.requests.held
	if limit == 0 {
		held.Add(1)
		return true
	}
	for {
		n := held.Load()
		if n >= int64(limit) {
			return false
		}
		if held.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release ends the count of one request. Safe for any goroutine.
func (m *Member) Release() {
	n := m.requests.held.Add(-1)
	if invariant.On {
		invariant.That(n >= 0, "%s has %d requests", m.address, n)
	}
}

// Held returns how many requests are counted at m. Safe for any goroutine.
func (m *Member) Held() int { return int(m.requests.held.Load()) }

// Find returns a member that serves, was not tried, and for which ok returns true, of the first tier that has one; nil
// when there is none. It looks at all members one after the other, from a random one on: for when picks have failed. On
// r only.
func (v *View) Find(r *engine.Reactor, q *balance.Request, ok func(m *Member) bool) *Member {
	r.MustOwn()
	now, l := v.set.now.Load(), &v.set.loadOn(r).Local
	for _, one := range now.tiers {
		n := one.view.Count()
		if n == 0 {
			continue
		}
		from := int(l.Random() % uint64(n))
		for k := range n {
			i := one.view.OpenAt((from + k) % n)
			if m := now.members[i]; !q.Tried.Has(i) && ok(m) {
				return m
			}
		}
	}
	return nil
}
