package backend

import (
	"cmp"
	"slices"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
)

// View is what a route picks from: the members of a Set by a method of balancing, in turns of its own, and the
// addresses of each in turns of its own. Views of one Set share the members, their weights, which of them serve, and
// what is known of their load.
// Safe for any goroutine, except that its methods are for the reactor they are given.
type View struct {
	set       *Set
	rotations []*rotation // by Reactor.Index
}

// rotation is whose turn it is on one reactor.
// Owned by its reactor.
type rotation struct {
	pickers [tiersMax]balance.Picker
	next    []int  // by slot: the address
	spill   uint64 // which tier is first for the next request
}

// View makes a View of s for so many reactors, whose turns begin anew. method nil is balance.Adaptive.
func (s *Set) View(reactors int, method *balance.Method) *View {
	method = cmp.Or(method, balance.Adaptive)
	v := &View{set: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loadsFor(reactors)
	s.prepareMethod(method)
	for i := range reactors {
		t := &rotation{spill: uint64(i) << 32}
		for k := range t.pickers {
			t.pickers[k] = method.New(i, reactors)
		}
		t.grow(len(s.now.Load().members))
		v.rotations = append(v.rotations, t)
	}
	return v
}

// prepareMethod calls Prepare of method for the present state, and from now on for each new one. mu is held.
func (s *Set) prepareMethod(method *balance.Method) {
	if method.Prepare == nil {
		return
	}
	i := slices.IndexFunc(s.methods, func(m *balance.Method) bool { return m.Name == method.Name })
	switch {
	case i < 0:
		s.methods = append(s.methods, method)
	case s.methods[i] == method:
		return
	default: // it was made anew
		s.methods[i] = method
	}
	s.prepare(&s.now.Load().order)
}

// unknown is a request of which nothing is known. Nothing writes to it.
var unknown balance.Request

// Pick chooses a member that serves and was not tried, of the first tier that has one; or else a member that is
// Unreachable and was not tried; nil when there is none. By the Policy of the set it may begin with another tier, or
// choose members that do not serve. A nil q is a request of which nothing is known. On r only.
func (v *View) Pick(r *engine.Reactor, q *balance.Request) *Member {
	r.MustOwn()
	if q == nil {
		q = &unknown
	}
	now, rot, l := v.set.now.Load(), v.rotations[r.Index()], &v.set.loadOn(r).Local
	if now.firstStages != nil {
		if m := now.pickFirst(rot, l, q); m != nil {
			return m
		}
	}
	for _, s := range now.stages {
		if i := rot.pickers[s.tier].Pick(s.view, l, q); i >= 0 {
			return now.members[i]
		}
	}
	return nil
}

// pickFirst picks from the first stage of q; nil: that has no member for it.
func (now *state) pickFirst(rot *rotation, l *balance.Local, q *balance.Request) *Member {
	if now.panicking && q.Tried.Len() > 0 {
		return nil
	}
	s := now.firstStage(rot, q)
	if i := rot.pickers[s.tier].Pick(s.view, l, q); i >= 0 {
		return now.members[i]
	}
	return nil
}

// Panics reports whether v picks members that do not serve, beside those that do: see Policy.Panic.
func (v *View) Panics() bool { return v.set.now.Load().panicking }

// NextAddress chooses an address of m, each in turn but those that are passed over: an index of Addrs. On r only.
func (v *View) NextAddress(r *engine.Reactor, m *Member) int {
	r.MustOwn()
	n := len(*m.Addrs())
	if n <= 1 {
		return 0
	}
	t := v.rotations[r.Index()]
	if m.slot >= len(t.next) {
		t.grow(m.slot + 1)
	}
	t.next[m.slot] = m.AddressAfter(t.next[m.slot])
	return t.next[m.slot]
}

// grow makes room for n members. The numbers fill whole cache lines, since other reactors write to theirs.
func (t *rotation) grow(n int) {
	const perLine = 8
	next := make([]int, n, (n+perLine-1)/perLine*perLine)
	copy(next, t.next)
	t.next = next
}
