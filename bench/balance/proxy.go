package balance

import (
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/backend"
	lb "github.com/edge-proxy/edge/backend/balance"
)

// proxied is the edges before the backends, one where there are no zones: their code, or that code with the model of
// a Peer as its method.
type proxied struct {
	*world
	edges    []*edge
	reactors []*reactor // of all edges
	exact    []int32    // requests under way, by backend: what no reactor knows, except in the models of peers
	flushes  delay
	late     heap // requests that may be hedged
	hedges   hedges
	work     int64 // that all requests need
	chance   *rand.Rand
	tick     int64
	check    int64 // when the state of backends is looked at next
	series   series
}

// checkEvery is how often the proxy looks at what Troubles say of members that join, and goes on with slow starts.
const checkEvery = int64(50 * time.Millisecond)

// run simulates s with a method. It cannot fail: an engine that is never started needs nothing of the system.
func run(s *Scenario, m *Contender, members, reactors, requests int, tick time.Duration, seed uint64) *Result {
	p := &proxied{world: newWorld(s, members, requests, seed), tick: int64(tick),
		exact: make([]int32, members), chance: stream(seed, 3),
		series: series{period: int64(s.period() * 1e9), members: members}}
	method := m.Method
	if m.peer != nil {
		peer := m.peer(p, seed)
		method = &lb.Method{Name: m.Name, New: func(int, int) lb.Picker { return peer }}
	}
	places := s.places()
	for i := range places {
		e, err := newEdge(p.world, &places[i], m, reactors, len(p.reactors))
		if err != nil {
			panic(err)
		}
		defer e.engine.Stop()
		e.view = e.set.View(reactors, method)
		p.edges, p.reactors = append(p.edges, e), append(p.reactors, e.reactors...)
	}
	p.loop()
	p.result.Series, p.result.Crossing = p.series.points(), p.crossing()
	if s.Policy.HedgeAfter > 0 && m.peer == nil {
		p.result.Hedges = p.hedges.part(requests, p.work)
	}
	return p.finish()
}

func (p *proxied) loop() {
	for {
		at := min(p.arrivals.next, p.toBackend.at(), p.finished.at(), p.awake.at(), p.toProxy.at(), p.flushes.at(),
			p.late.at())
		if at == endOfTime {
			return
		}
		p.now = at
		switch at {
		case p.toProxy.at():
			p.answered(p.toProxy.pop())
		case p.finished.at():
			p.done(p.finished.pop())
		case p.awake.at():
			p.toProxy.push(at+way, p.awake.pop())
		case p.toBackend.at():
			p.arrived(p.toBackend.pop())
		case p.flushes.at():
			p.reactors[p.flushes.pop()].end()
		case p.late.at():
			p.fire(p.late.pop())
		default:
			p.pick()
		}
	}
}

func (p *proxied) of(q *request) (*edge, *reactor) {
	return p.edges[int(q.reactor)/(len(p.reactors)/len(p.edges))], p.reactors[q.reactor]
}

// pick sends the request that has come to a backend.
func (p *proxied) pick() {
	if p.now >= p.check {
		p.look()
	}
	id := p.take()
	q := &p.requests[id]
	q.reactor = int32(p.reactorOf())
	e, r := p.of(q)
	p.begin(r)
	q.backend = int32(e.view.Pick(r.Reactor, nil).Slot())
	p.work += q.demand
	crosses := false
	if p.Zones != nil {
		e.rule.add(int(q.backend))
		crosses = p.zone(int(q.backend), len(p.members)).Name != e.zone
	}
	p.series.add(p.now, int(q.backend), crosses, p.exact)
	if e.hedge != nil && q.wait == 0 {
		p.arm(e, r, id)
	}
	p.send(e, r, id)
}

// reactorOf draws the reactor that a request comes to: its edge by the part of the requests that come there.
func (p *proxied) reactorOf() int {
	if len(p.edges) == 1 {
		return p.chance.IntN(len(p.reactors))
	}
	k, part := 0, p.chance.Float64()
	for part -= p.Zones[k].Requests; part >= 0 && k < len(p.edges)-1; part -= p.Zones[k].Requests {
		k++
	}
	each := len(p.reactors) / len(p.edges)
	return k*each + p.chance.IntN(each)
}

func (p *proxied) send(e *edge, r *reactor, id int32) {
	i := p.requests[id].backend
	e.members[i].Enter(r.Reactor, false)
	p.exact[i]++
	p.toBackend.push(p.now+way, id)
}

// begin has r in a tick, at the end of which it publishes.
func (p *proxied) begin(r *reactor) {
	if r.begin(p.now) {
		p.flushes.push(p.now+p.tick, int32(r.number))
	}
}

// look tells the edges of members that leave and join, and has them go on with what takes time.
func (p *proxied) look() {
	p.check = p.now + checkEvery
	for _, e := range p.edges {
		for k := range p.Troubles {
			t := &p.Troubles[k]
			if t.Kind != closed {
				continue
			}
			first, last := t.hits(len(p.members))
			for _, m := range e.members[first:last] {
				m.Mark(backend.Health, t.active(p.now), backend.Why{})
			}
		}
		e.keep()
		if p.Zones != nil {
			e.rule.look(e.set.Shares())
		}
	}
}

func (p *proxied) arrived(id int32) {
	r := &p.requests[id]
	i := int(r.backend)
	m := &p.members[i]
	switch now := p.trouble(i); {
	case r.over && p.Stops:
		p.leave(id)
	case now.fails == 1 || now.fails > 0 && p.chance.Float64() < now.fails:
		r.failed = true
		p.awake.push(p.now+failsIn, id)
	case r.wait > 0:
		p.awake.push(p.now+r.wait, id)
	case now.hangs > 0 && p.chance.Float64() < now.hangs:
		p.awake.push(p.now+now.hang+r.demand, id)
	case m.busy < m.workers:
		p.start(i, id)
	default:
		m.line.push(p.now, id)
	}
}

// done has a backend answer, and begin with the next one in its line.
func (p *proxied) done(id int32) {
	q := &p.requests[id]
	q.works = false
	p.toProxy.push(p.now+way, id)
	if q.stopped {
		return
	}
	if q.over {
		p.hedges.wasted += p.now - q.began
	}
	p.release(int(q.backend))
}

// release has backend i begin with the next one in its line: a worker has nothing to do.
func (p *proxied) release(i int) {
	m := &p.members[i]
	m.busy--
	for m.line.at() != endOfTime && m.busy < m.workers {
		next := m.line.pop()
		if p.Stops && p.requests[next].over {
			p.leave(next)
			continue
		}
		p.start(i, next)
	}
}

func (p *proxied) answered(id int32) {
	q := &p.requests[id]
	if q.over { // it was taken back
		p.leave(id)
		return
	}
	e, r := p.of(q)
	p.begin(r)
	member := e.members[q.backend]
	if q.failed {
		member.Failed(r.Reactor)
	} else {
		member.Answered(r.Reactor, time.Duration(p.now-q.picked))
	}
	member.Leave(r.Reactor, false)
	p.exact[q.backend]--
	if e.hedge != nil && q.wait == 0 {
		p.settle(e, r, q)
	}
	p.record(q)
	p.leave(id)
}

// leave gives the place of an attempt back, unless its timer runs.
func (p *proxied) leave(id int32) {
	if q := &p.requests[id]; q.armed {
		q.over = true
		return
	}
	p.free = append(p.free, id)
}
