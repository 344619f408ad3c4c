package balance

import (
	"time"

	lb "github.com/edge-proxy/edge/backend/balance"
)

// Hedges is what hedging costs.
type Hedges struct {
	Sent   float64 `json:"sent"`   // requests that were sent a second time, as a part of all
	Won    float64 `json:"won"`    // of these, the part whose second attempt answered first
	Denied float64 `json:"denied"` // requests that were late and had no budget, as a part of all
	Wasted float64 `json:"wasted"` // of workers, by attempts that were taken back, as a part of what all requests need
}

// hedges counts for Hedges.
type hedges struct {
	sent, won, denied int
	wasted            int64
}

// part returns h as parts of so many requests that need so much work.
func (h *hedges) part(requests int, work int64) *Hedges {
	all := float64(requests)
	return &Hedges{Sent: float64(h.sent) / all, Won: float64(h.won) / float64(max(h.sent, 1)),
		Denied: float64(h.denied) / all, Wasted: float64(h.wasted) / float64(work)}
}

// arm has a request looked at after the delay of its edge.
func (p *proxied) arm(e *edge, r *reactor, id int32) {
	q := &p.requests[id]
	q.armed = true
	q.delay = int64(e.hedge.Delay(r.Index(), r.Now()))
	p.late.push(p.now+q.delay, id)
}

// fire sends a request that is late a second time, by the rules of package proxy: to another member that serves and is
// not slow, if the budget has one more. The answer that comes first counts.
func (p *proxied) fire(id int32) {
	q := &p.requests[id]
	q.armed = false
	if q.over {
		p.free = append(p.free, id)
		return
	}
	e, r := p.of(q)
	p.begin(r)
	first := e.members[q.backend]
	var ask lb.Request
	ask.Tried.Add(first.Slot())
	m := e.view.Pick(r.Reactor, &ask)
	if m == nil || m.Reasons() != 0 || !m.SameTier(first) {
		return
	}
	if _, slow := m.Latency(); slow > 1 {
		return
	}
	if !e.hedge.Budget.Take(r.Index(), r.Now()) {
		p.hedges.denied++
		return
	}
	second := p.place()
	q = &p.requests[id] // place may have moved it
	p.requests[second] = request{came: q.came, picked: p.now, demand: q.demand, delay: q.delay, reactor: q.reactor,
		backend: int32(m.Slot()), twin: id, second: true}
	q.twin = second
	p.hedges.sent++
	p.send(e, r, second)
}

// settle ends the race of q, which has answered: its other attempt is taken back. The backend of that stops, or goes on
// and nobody hears of it.
func (p *proxied) settle(e *edge, r *reactor, q *request) {
	if q.twin != none {
		other := &p.requests[q.twin]
		member := e.members[other.backend]
		if took := p.now - other.picked; took >= q.delay {
			member.Answered(r.Reactor, time.Duration(took))
			e.hedge.Heads.Add(r.Index(), time.Duration(took), r.Now())
		}
		member.Leave(r.Reactor, false)
		p.exact[other.backend]--
		other.twin, other.over = none, true
		q.twin = none
		if p.Stops && other.works {
			other.stopped = true
			p.hedges.wasted += p.now - other.began
			p.release(int(other.backend))
		}
		if q.second {
			p.hedges.won++
		}
	}
	if !q.failed {
		e.hedge.Heads.Add(r.Index(), time.Duration(p.now-q.picked), r.Now())
		e.hedge.Budget.Good(r.Index(), r.Now())
	}
}
