package balance

import (
	"fmt"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/poller"
)

// Policy is what an upstream of edge is told beyond its method. The models of peers know nothing of it.
type Policy struct {
	SlowStart  time.Duration // 0: a backend that joins gets its whole share at once
	Zones      bool          // zones = "prefer", where the Scenario has Zones
	ZoneShare  bool          // each edge is told which part of the requests its zone gets
	HedgeAfter time.Duration // 0: no request is hedged
}

// edge is one process: its reactors, and what it knows of the backends. It is a backend.Set and a retry.Hedge.
// Owned by the goroutine of its proxied.
type edge struct {
	zone     string
	engine   *engine.Engine
	reactors []*reactor
	set      *backend.Set
	members  []*backend.Member // by index of the backend
	view     *backend.View
	hedge    *retry.Hedge // nil: no request is hedged
	keep     func()       // does what has become due in set
	rule     rule
}

// reactor is one of an edge's.
type reactor struct {
	*engine.Reactor
	kernel *kernel
	number int  // over all edges
	due    bool // it has begun a tick, and will publish at the end of that
}

// kernel is a clock, and nothing to wait for. A reactor needs no more of its kernel while it has no connection.
type kernel struct {
	poller.Kernel // nil
	now           int64
}

// clockStart is the reactor time at which a run begins: 0 means never to some.
const clockStart = int64(time.Hour)

func (k *kernel) Now() int64                     { return clockStart + k.now }
func (k *kernel) Wait([]poller.Event, int64) int { return 0 }
func (k *kernel) Wake()                          {}
func (k *kernel) Shut()                          {}

// newEdge makes the one in a zone, of so many reactors, whose first number is from.
func newEdge(w *world, z *Zone, m *Contender, reactors, from int) (*edge, error) {
	e := &edge{zone: z.Name}
	o := engine.Options{Reactors: reactors, ReadSize: 64, Memory: 1 << 30,
		Kernel: func(i int) (poller.Kernel, error) {
			e.reactors = append(e.reactors, &reactor{kernel: &kernel{}, number: from + i})
			return e.reactors[i].kernel, nil
		}}
	var err error
	if e.engine, err = engine.New(o); err != nil {
		return nil, err
	}
	for i, r := range e.engine.Reactors() {
		e.reactors[i].Reactor = r
	}
	e.set = backend.NewSet()
	e.keep = e.set.Simulate(func() time.Time { return time.Unix(0, clockStart+w.now) })
	if m.peer == nil {
		e.set.SetPolicy(w.Policy.of(z))
		if w.Policy.HedgeAfter > 0 {
			e.hedge = retry.NewHedge(reactors, w.Policy.HedgeAfter)
		}
	}
	specs := make([]backend.Spec, len(w.members))
	for i := range specs {
		specs[i] = backend.Spec{Address: address(i), Weight: w.Weights[i%len(w.Weights)],
			Zone: w.zone(i, len(specs)).Name}
	}
	e.set.Update(specs)
	e.members = e.set.Members()
	return e, nil
}

// of returns what the Set of the edge in z is told.
func (p *Policy) of(z *Zone) backend.Policy {
	policy := backend.Policy{SlowStart: p.SlowStart}
	if p.Zones {
		policy.Zones, policy.Zone = backend.ZonesPrefer, z.Name
	}
	if p.ZoneShare {
		policy.ZoneShare = z.Requests
	}
	return policy
}

// begin begins a tick, unless r is in one. It reports whether it did: then the tick is to end.
func (r *reactor) begin(now int64) bool {
	if r.due {
		return false
	}
	r.due = true
	r.kernel.now = now
	r.Tick()
	return true
}

// end ends the tick: it publishes.
func (r *reactor) end() {
	r.due = false
	r.Tick()
}

func address(i int) string { return fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250+1) }
