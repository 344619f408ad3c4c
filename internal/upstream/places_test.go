package upstream

import (
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// deal returns the locals of an upstream that keeps so many idle connections on so many reactors.
func deal(t *testing.T, idle, reactors int) (*Upstream, []*local) {
	t.Helper()
	e, err := engine.New(engine.Options{
		Reactors: reactors, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
	})
	testutil.Must(t, err)
	u := New(e, Options{Idle: idle, Backends: backend.Of("10.0.0.1:80")})
	return u, u.local
}

// newIdle makes a connection of l that can be parked.
func newIdle(l *local) *Conn {
	s := l.site(l.upstream.opts.Backends.Members()[0])
	return s.newConn(s.group(0))
}

// The places of all reactors are never more than Options.Idle, and each keeps what it is promised.
func TestPlaces_addUp(t *testing.T) {
	for _, c := range []struct{ idle, reactors int }{{1, 1}, {1, 3}, {7, 4}, {72, 2}, {4096, 64}, {100, 3}} {
		u, locals := deal(t, c.idle, c.reactors)
		rng := rand.New(rand.NewPCG(1, uint64(c.idle)))
		parked := make(map[*local][]*Conn)
		for range 20_000 {
			l := locals[rng.IntN(len(locals))]
			if rng.IntN(3) > 0 && l.ensureCapacity() {
				n := newIdle(l)
				l.shard.Park(n.group, &n.node)
				parked[l] = append(parked[l], n)
			} else if k := len(parked[l]); k > 0 {
				l.shard.Remove(&parked[l][k-1].node)
				parked[l] = parked[l][:k-1]
				l.returnCapacity()
			}
			u.places.check(t, locals, c.idle)
			if l.stats.Evicted > 0 {
				t.Fatalf("%+v: %d evicted", c, l.stats.Evicted)
			}
		}
	}
}

// check fails t unless p and what each of locals has borrowed of it add up to idle. While no reactor runs.
func (p *places) check(t *testing.T, locals []*local, idle int) {
	t.Helper()
	sum := int(p.spare.Load())
	if sum < 0 {
		t.Fatalf("%d places are spare", sum)
	}
	for _, l := range locals {
		sum += l.capacity
		if l.capacity < p.floor || l.shard.Len() > l.capacity {
			t.Fatalf("%d parked of %d, of which %d are promised", l.shard.Len(), l.capacity, p.floor)
		}
	}
	if sum != idle {
		t.Fatalf("%d places, not %d", sum, idle)
	}
}

// One busy reactor has nearly all of them.
func TestPlaces_goWhereTheLoadIs(t *testing.T) {
	_, locals := deal(t, 72, 2)
	n := 0
	for locals[0].ensureCapacity() {
		c := newIdle(locals[0])
		locals[0].shard.Park(c.group, &c.node)
		n++
	}
	if n < 64 || !locals[1].ensureCapacity() {
		t.Fatal(n)
	}
}
