package backend

import (
	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/engine"
)

// View is what a route picks from: the members of a Set in turns of its own, and the addresses of each in turns of its
// own. Views of one Set share the members, their weights and which of them serve.
// Safe for any goroutine, except that its methods are for the reactor they are given.
type View struct {
	set   *Set
	turns []*turns // by Reactor.Index
}

// turns is whose turn it is on one reactor.
// Owned by its reactor.
type turns struct {
	picker balance.Picker
	next   []int // by slot: the address
}

// View makes a View of s for so many reactors, whose turns begin anew. method makes what picks on each of them; nil: in
// turns, by weight.
func (s *Set) View(reactors int, method func(reactor int) balance.Picker) *View {
	if method == nil {
		method = func(reactor int) balance.Picker { return balance.NewRoundRobin(reactor) }
	}
	v := &View{set: s}
	for i := range reactors {
		t := &turns{picker: method(i)}
		t.grow(len(s.now.Load().members))
		v.turns = append(v.turns, t)
	}
	return v
}

// Pick chooses a member that serves and was not tried, or else one that is Unreachable and was not; nil when there is
// none. Requests of one key belong together, for methods that hash. On r only.
func (v *View) Pick(r *engine.Reactor, key uint64, tried *balance.Tried) *Member {
	r.MustOwn()
	now := v.set.now.Load()
	picker := v.turns[r.Index()].picker
	i := picker.Pick(now.view, key, tried)
	if i < 0 && now.spare != now.view {
		i = picker.Pick(now.spare, key, tried)
	}
	if i < 0 {
		return nil
	}
	return now.members[i]
}

// NextAddress chooses an address of m, each in turn but those that are passed over: an index of Addrs. On r only.
func (v *View) NextAddress(r *engine.Reactor, m *Member) int {
	r.MustOwn()
	n := len(*m.Addrs())
	if n <= 1 {
		return 0
	}
	t := v.turns[r.Index()]
	if m.slot >= len(t.next) {
		t.grow(m.slot + 1)
	}
	t.next[m.slot] = m.AddressAfter(t.next[m.slot])
	return t.next[m.slot]
}

// grow makes room for n members. The numbers fill whole cache lines, since other reactors write to theirs.
func (t *turns) grow(n int) {
	const perLine = 8
	next := make([]int, n, (n+perLine-1)/perLine*perLine)
	copy(next, t.next)
	t.next = next
}
