package upstream

import (
	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/engine"
)

// View takes turns of its own among the backends of an Upstream, and among the addresses of each: who shares a pool
// with others, but not their order. Everything else is the Upstream's: the backends, their weights, which of them are
// up, the connections and their limits.
// Safe for any goroutine, except Pick and NextAddress, which are for the reactor they are given.
type View struct {
	*Upstream
	turns []*turns // by Reactor.Index
}

// turns is whose turn it is.
// Owned by its reactor.
type turns struct {
	picker *balance.RoundRobin
	next   []int // by backend: the address
}

// View makes a further View of u, whose turns begin anew.
func (u *Upstream) View() *View {
	v := &View{Upstream: u}
	for _, l := range u.local {
		v.turns = append(v.turns, u.newTurns(l.reactor.Index()))
	}
	return v
}

// newTurns makes the turns of one reactor. Their numbers fill whole cache lines, since other reactors write to theirs.
func (u *Upstream) newTurns(reactor int) *turns {
	const perLine = 8
	n := len(u.backends)
	return &turns{balance.NewRoundRobin(u.set, reactor), make([]int, n, (n+perLine-1)/perLine*perLine)}
}

// Pick chooses a backend that is up and was not tried, or -1. On r only.
func (v *View) Pick(r *engine.Reactor, tried *balance.Tried) int {
	return v.turns[r.Index()].picker.Pick(tried)
}

// NextAddress chooses an address of backend i, each in turn, for Take. On r only.
func (v *View) NextAddress(r *engine.Reactor, i int) int {
	return v.turns[r.Index()].address(i, v.Addresses(r, i))
}

// address moves on to the next one of n addresses of backend i.
func (t *turns) address(i, n int) int {
	if t.next[i]++; t.next[i] >= n {
		t.next[i] = 0
	}
	return t.next[i]
}
