package balance

import "math"

// Zone is a part of a place that has backends, and an edge of its own.
// Immutable.
type Zone struct {
	Name     string
	Part     float64 // of the backends that are there
	Requests float64 // part of all requests that come to the edge there
}

// nowhere is where everything is that has no zones.
var nowhere = []Zone{{Part: 1, Requests: 1}}

// places returns the zones of s, one at the least.
func (s *Scenario) places() []Zone {
	if s.Zones == nil {
		return nowhere
	}
	return s.Zones
}

// zone returns the zone of backend i of so many: the first zone has the first ones.
func (s *Scenario) zone(i, members int) *Zone {
	list, sum := s.places(), 0.0
	for k := range list {
		if sum += list[k].Part; float64(i) < math.Round(sum*float64(members)) {
			return &list[k]
		}
	}
	return &list[len(list)-1]
}

// rule is where the requests of an edge go, beside where Set.Shares says that they go.
type rule struct {
	shares []float64 // by backend, since the last look
	sent   int       // since then
	want   []float64 // by backend
	is     []float64
}

// look adds up what was sent since the last look, and has the shares that hold from now on.
func (r *rule) look(shares []float64) {
	if r.want == nil {
		r.want, r.is = make([]float64, len(shares)), make([]float64, len(shares))
	}
	for i, part := range r.shares {
		r.want[i] += part * float64(r.sent)
	}
	r.shares, r.sent = shares, 0
}

func (r *rule) add(i int) {
	r.sent++
	r.is[i]++
}

// Crossing is which part of the requests leaves its zone.
type Crossing struct {
	Is    float64 `json:"is"`
	Rule  float64 `json:"rule"`  // if all went as Set.Shares says; with the models of peers that is by weight
	Other float64 `json:"other"` // of the requests, those that went to another zone than that
}

// crossing adds up the rules of all edges.
func (p *proxied) crossing() *Crossing {
	if p.Zones == nil {
		return nil
	}
	c, all := &Crossing{}, 0.0
	for _, e := range p.edges {
		e.rule.look(nil)
		off := make(map[string]float64) // what a zone has got beyond what it should have
		for i := range e.rule.is {
			zone := p.zone(i, len(p.members)).Name
			off[zone] += e.rule.is[i] - e.rule.want[i]
			if all += e.rule.is[i]; zone != e.zone {
				c.Is += e.rule.is[i]
				c.Rule += e.rule.want[i]
			}
		}
		for k := range p.Zones {
			c.Other += math.Abs(off[p.Zones[k].Name]) / 2
		}
	}
	c.Is, c.Rule, c.Other = c.Is/all, c.Rule/all, c.Other/all
	return c
}
