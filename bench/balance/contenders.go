package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"

	lb "github.com/edge-proxy/edge/backend/balance"
)

// Contender is a method that is simulated: one of package balance, or the model of a peer, which knows how many
// requests are under way without any delay.
// Immutable.
type Contender struct {
	Name   string
	What   string
	Method *lb.Method
	peer   func(p *proxied, seed uint64) lb.Picker
}

// Shared reports whether c does the same for each number of reactors.
func (c *Contender) Shared() bool { return c.Method == nil }

// Contenders returns all contenders, edge's own first.
func Contenders() []Contender {
	return []Contender{
		{Name: "adaptive", Method: lb.Adaptive, What: "edge's default"},
		{Name: "p2c", Method: lb.P2C, What: "edge's: two draws, published totals"},
		{Name: "least_conn", Method: lb.LeastConn, What: "edge's: all up to 16, else eight draws"},
		{Name: "peak_ewma", Method: lb.PeakEWMA, What: "edge's: Finagle's cost, published totals"},
		{Name: "round_robin", Method: lb.RoundRobin, What: "edge's: each reactor by itself"},
		{Name: "p2c-exact", What: "model: two distinct draws, exact totals (nginx random two least_conn)",
			peer: func(p *proxied, seed uint64) lb.Picker { return newTwo(p, seed, true) }},
		{Name: "least-exact", What: "model: the least of all, exact totals (nginx least_conn with a zone)",
			peer: func(p *proxied, _ uint64) lb.Picker {
				return &least{totals: totals{p.exact}, credit: make([]int, len(p.members))}
			}},
		{Name: "random-2", What: "model: two draws that may be the same, exact totals (HAProxy random; Envoy " +
			"least request with equal weights)",
			peer: func(p *proxied, seed uint64) lb.Picker { return newTwo(p, seed, false) }},
	}
}

// Find returns the contenders of these names, all when there are none.
func Find(names []string) ([]Contender, error) {
	all := Contenders()
	if len(names) == 0 {
		return all, nil
	}
	var found []Contender
	for _, name := range names {
		k := slices.IndexFunc(all, func(c Contender) bool { return c.Name == name })
		if k < 0 {
			return nil, fmt.Errorf("there is no %q; edge-bench balance --list names them", name)
		}
		found = append(found, all[k])
	}
	return found, nil
}

// totals is what the models of peers choose by.
type totals struct{ exact []int32 }

// less reports whether backend i has less under way than j, for its weight, with so many more at each.
func (t totals) less(v *lb.View, i, j int, more int32) bool {
	a, b := int64(t.exact[i]+more), int64(t.exact[j]+more)
	return a*int64(v.Weight(j)) < b*int64(v.Weight(i))
}

// two is the model of methods that draw two.
type two struct {
	totals
	chance   *rand.Rand
	distinct bool
	equal    bool // all weights are
}

func newTwo(p *proxied, seed uint64, distinct bool) *two {
	return &two{totals{p.exact}, stream(seed, 4), distinct, p.Weights[0] == 1 && len(p.Weights) == 1}
}

// draw returns an open backend, by weight.
func (t *two) draw(v *lb.View) int {
	sum := 0
	for k := range v.Count() {
		sum += v.Weight(v.OpenAt(k))
	}
	part := t.chance.IntN(sum)
	for k := 0; ; k++ {
		if part -= v.Weight(v.OpenAt(k)); part < 0 {
			return v.OpenAt(k)
		}
	}
}

// Pick implements balance.Picker.
func (t *two) Pick(v *lb.View, _ *lb.Local, _ *lb.Request) int {
	draw := func() int {
		if t.equal {
			return v.OpenAt(t.chance.IntN(v.Count()))
		}
		return t.draw(v)
	}
	i, j := draw(), draw()
	for t.distinct && i == j && v.Count() > 1 {
		j = draw()
	}
	if t.less(v, j, i, 1) {
		return j
	}
	return i
}

// least is the model of nginx's least_conn: of those with the least under way, turns.
type least struct {
	totals
	credit []int
}

// Pick implements balance.Picker.
func (l *least) Pick(v *lb.View, _ *lb.Local, _ *lb.Request) int {
	best := v.OpenAt(0)
	for k := 1; k < v.Count(); k++ {
		if i := v.OpenAt(k); l.less(v, i, best, 0) {
			best = i
		}
	}
	chosen, sum := -1, 0
	for k := range v.Count() {
		i := v.OpenAt(k)
		if l.less(v, best, i, 0) {
			continue
		}
		sum += v.Weight(i)
		if l.credit[i] += v.Weight(i); chosen < 0 || l.credit[i] > l.credit[chosen] {
			chosen = i
		}
	}
	l.credit[chosen] -= sum
	return chosen
}
