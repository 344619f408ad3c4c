package metrics

import (
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// gathering is a Gatherer of an engine with two reactors, each of which counts how often it was asked.
type gathering struct {
	*Gatherer
	e     *engine.Engine
	m     *meter.Meters
	parts []Part
	loops []Loop
	asked [2]uint64 // each by its reactor
	took  []meter.Delta
}

func gatherer(t *testing.T, parts int) *gathering {
	e, err := engine.New(engine.Options{Reactors: 2})
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	t.Cleanup(e.Stop)
	g := &gathering{e: e, m: meter.New(2, meter.ByClass), loops: make([]Loop, 2)}
	g.Gatherer = NewGatherer(e.Reactors(), g.m)
	for range parts {
		g.parts = append(g.parts, NewPart(2, func(r *engine.Reactor) proxy.Stats {
			g.asked[r.Index()]++
			return proxy.Stats{Exchanges: g.asked[r.Index()], Active: 1}
		}, func(s *Sample) *proxy.Stats { return &s.Proxy }))
	}
	return g
}

// gather returns the sum of all parts.
func (g *gathering) gather() proxy.Stats {
	g.Gather(g.parts, func(_ int, all []meter.Delta) { g.took = append(g.took, all...) }, g.loops)
	s := NewSample()
	for _, p := range g.parts {
		p.AddTo(s)
	}
	return s.Proxy
}

// All parts and all routes come, whether they fit into a turn of the reactor or not.
func TestGatherer_severalTurns(t *testing.T) {
	for _, n := range []int{0, 1, partsPerTurn, partsPerTurn + 1, 5 * partsPerTurn} {
		g := gatherer(t, n)
		by, routes := g.m.Listener(0, g.m.Route(false)), 2*routesPerTurn+n
		done := make(chan struct{})
		g.e.Reactors()[1].Post(&engine.Task{Run: func(*engine.Reactor) {
			for range routes {
				g.m.Route(true).Count(1, by, message.VerbGet, 200, meter.Untimed)
			}
			close(done)
		}})
		<-done
		if s := g.gather(); s.Active != 2*n || len(g.took) != routes {
			t.Errorf("%d parts: %d came, and %d of %d routes", n, s.Active, len(g.took), routes)
		}
		if g.gather(); len(g.took) != routes || g.loops[0].Stale || g.loops[1].Stale {
			t.Errorf("%d routes the second time, loops %+v", len(g.took), g.loops)
		}
	}
}

// A reactor that is stuck is shown as it was, and the other one as it is; afterwards nothing is missing.
func TestGatherer_stuckReactor(t *testing.T) {
	g := gatherer(t, 1)
	r := g.m.Route(true)
	by := g.m.Listener(0, r)
	before := g.gather()
	stuck, let := make(chan struct{}), make(chan struct{})
	g.e.Reactors()[0].Post(&engine.Task{Run: func(*engine.Reactor) {
		r.Count(0, by, message.VerbGet, 200, meter.Untimed)
		close(stuck)
		<-let
	}})
	<-stuck
	during := g.gather()
	if !g.loops[0].Stale || g.loops[1].Stale || during.Exchanges != before.Exchanges+1 || len(g.took) > 0 {
		t.Errorf("loops %+v, %d and then %d", g.loops, before.Exchanges, during.Exchanges)
	}
	close(let)
	testutil.Eventually(t, testutil.Patience, func() bool {
		g.gather()
		return !g.loops[0].Stale
	}, "the reactor answers again")
	if after := g.gather(); after.Exchanges < during.Exchanges+2 || len(g.took) != 1 || g.took[0].N != 1 {
		t.Errorf("%d, took %v", after.Exchanges, g.took)
	}
	if l := g.loops[0]; l.Busy < 0 || l.Busy > 1 || l.Lag <= 0 {
		t.Errorf("loop %+v", l)
	}
}

// An answer that came after its round is kept, but it is old: the next round asks the reactor anew.
func TestGatherer_lateAnswer(t *testing.T) {
	g := gatherer(t, 1)
	g.gather()
	r := g.e.Reactors()[0]
	stuck, let, answered := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r.Post(&engine.Task{Run: func(*engine.Reactor) {
		close(stuck)
		<-let
	}})
	<-stuck
	if g.gather(); !g.loops[0].Stale {
		t.Fatal("a reactor that is stuck has answered")
	}
	close(let)
	r.Post(&engine.Task{Run: func(*engine.Reactor) { close(answered) }})
	<-answered
	if s := g.gather(); s.Exchanges != 3+3 || g.loops[0].Stale {
		t.Errorf("%d, want what both count when they are asked for the third time; loops %+v", s.Exchanges, g.loops)
	}
}
