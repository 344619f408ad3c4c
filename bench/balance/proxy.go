package balance

import (
	"fmt"
	"math/rand/v2"
	"time"

	lb "github.com/edge-proxy/edge/balance"
)

// proxied is a proxy of several reactors before the backends: the code of package balance, or a Peer.
type proxied struct {
	*world
	view     *lb.View
	loads    *lb.Loads
	reactors []reactor
	exact    []int32 // requests under way, by backend: what no reactor knows, except in the models of peers
	flushes  delay
	chance   *rand.Rand
	tick     int64
	check    int64 // when the state of backends is looked at next
	closed   []bool
	part     []float64
	series   series
}

// reactor is one of the proxy's.
type reactor struct {
	local  *lb.Local
	picker lb.Picker
	due    bool   // it will publish at the end of this tick
	now    uint32 // ms, when the tick began: it reads the clock once
}

// checkEvery is how often the proxy looks at what Troubles say of members that join.
const checkEvery = int64(50 * time.Millisecond)

// run simulates s with a method.
func run(s *Scenario, m *Contender, members, reactors, requests int, tick time.Duration, seed uint64) *Result {
	p := &proxied{world: newWorld(s, members, requests, seed), loads: lb.NewLoads(), tick: int64(tick),
		exact: make([]int32, members), chance: stream(seed, 3),
		closed: make([]bool, members), part: make([]float64, members), series: newSeries(s, members)}
	backends := make([]lb.Backend, members)
	for i := range backends {
		backends[i] = backend(i, s.Weights[i%len(s.Weights)])
		p.part[i] = 1
	}
	p.view = lb.NewView(backends, p.loads)
	if m.Method != nil && m.Method.Prepare != nil {
		m.Method.Prepare(p.view)
	}
	var peer lb.Picker
	if m.Method == nil {
		peer = m.peer(p, seed)
	}
	for r := range reactors {
		p.reactors = append(p.reactors, reactor{lb.NewLocal(p.loads, seed*1000+uint64(r)), peer, false, 0})
		if m.Method != nil {
			p.reactors[r].picker = m.Method.New(r, reactors)
		}
	}
	p.loop()
	p.result.Series = p.series.points()
	return p.finish()
}

// backend is the one of an index.
func backend(i, weight int) lb.Backend {
	return lb.Backend{Name: fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250+1), Weight: weight}
}

func (p *proxied) loop() {
	for {
		at := min(p.arrivals.next, p.toBackend.at(), p.finished.at(), p.awake.at(), p.toProxy.at(), p.flushes.at())
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
			r := &p.reactors[p.flushes.pop()]
			r.due = false
			r.local.Publish()
		default:
			p.pick()
		}
	}
}

// pick sends the request that has come to a backend.
func (p *proxied) pick() {
	if len(p.Troubles) > 0 && p.now >= p.check {
		p.look()
	}
	id := p.take()
	at := p.chance.IntN(len(p.reactors))
	r := &p.reactors[at]
	i := r.picker.Pick(p.view, r.local, &lb.Request{})
	p.requests[id].backend, p.requests[id].reactor = int32(i), int32(at)
	p.series.add(p.now, i, p.exact)
	r.local.Enter(i, false)
	p.exact[i]++
	p.toBackend.push(p.now+way, id)
	p.dirty(at)
}

// dirty has a reactor publish at the end of its tick.
func (p *proxied) dirty(at int) {
	if r := &p.reactors[at]; !r.due {
		r.due, r.now = true, uint32(p.now/1e6)
		p.flushes.push(p.now+p.tick, int32(at))
	}
}

// look tells the proxy of members that leave and join.
func (p *proxied) look() {
	p.check = p.now + checkEvery
	for k := range p.Troubles {
		t := &p.Troubles[k]
		first, last := t.hits(len(p.members))
		for i := first; i < last; i++ {
			switch active := t.active(p.now); {
			case t.Kind == closed && active != p.closed[i]:
				p.closed[i] = active
				p.view = p.view.With(i, !active)
				if !active {
					p.loads.Forget(i)
				}
			case t.Kind == slowing:
				p.raise(t, i, active)
			}
		}
	}
}

// raise is slow start: a backend has a tenth of its weight when it joins, then more, in 32 steps.
func (p *proxied) raise(t *Trouble, i int, active bool) {
	part := 1.0
	if active {
		since := float64(p.now%int64(t.Period*1e9))/1e9 - t.From
		part = max(0.1, float64(int(since/t.For*32))/32)
	}
	if part != p.part[i] {
		p.part[i] = part
		p.loads.Scale(i, part)
	}
}

// arrived has a backend take a request.
func (p *proxied) arrived(id int32) {
	r := &p.requests[id]
	i := int(r.backend)
	m := &p.members[i]
	switch _, fails, _ := p.trouble(i); {
	case fails == 1 || fails > 0 && p.chance.Float64() < fails:
		r.failed = true
		p.awake.push(p.now+failsIn, id)
	case r.wait > 0:
		p.awake.push(p.now+r.wait, id)
	case m.busy < m.workers:
		p.start(i, id)
	default:
		m.line = append(m.line, id)
	}
}

// done has a backend answer, and begin with the next one in its line.
func (p *proxied) done(id int32) {
	i := int(p.requests[id].backend)
	m := &p.members[i]
	m.busy--
	p.toProxy.push(p.now+way, id)
	if m.next == len(m.line) {
		return
	}
	next := m.line[m.next]
	if m.next++; m.next > 1<<10 && m.next*2 > len(m.line) {
		m.line = m.line[:copy(m.line, m.line[m.next:])]
		m.next = 0
	}
	p.start(i, next)
}

// answered tells the reactor of an answer.
func (p *proxied) answered(id int32) {
	r := &p.requests[id]
	p.dirty(int(r.reactor))
	i, local, now := int(r.backend), p.reactors[r.reactor].local, p.reactors[r.reactor].now
	if r.failed {
		local.Failed(i, now)
	} else {
		local.Answered(i, uint32(min((p.now-r.picked)/1000, 1<<32-1)), now)
	}
	local.Leave(i, false)
	p.exact[i]--
	p.record(r)
	p.free = append(p.free, id)
}
