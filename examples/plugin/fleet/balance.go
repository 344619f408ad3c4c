package fleet

import (
	"slices"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/backend/balance"
)

// PrimaryConfig has the keys of a table [balance_methods.NAME] with type = "fleet_primary".
type PrimaryConfig struct {
	Order []string `edge:"order" doc:"Backends, the best first." required:"true" example:"[\"10.0.0.7:80\"]"`
}

func init() {
	edge.RegisterBalance("fleet_primary", "Picks the first backend of a list that is up, then any.", NewPrimary)
}

// primary picks on one reactor.
type primary struct {
	order []string
	rest  balance.Picker
}

// NewPrimary makes a balance method.
func NewPrimary(c *PrimaryConfig, b *edge.Build) (*balance.Method, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	return &balance.Method{
		New: func(reactor, reactors int) balance.Picker {
			return &primary{c.Order, balance.RoundRobin.New(reactor, reactors)}
		},
		Prepare: balance.RoundRobin.Prepare,
	}, nil
}

// Pick returns the index of a backend, or -1. It runs for each request, so it neither blocks nor allocates.
func (p *primary) Pick(v *balance.View, l *balance.Local, q *balance.Request) int {
	best, rank := -1, len(p.order)
	for i := range v.Len() {
		if !v.Open(i) || q.Tried.Has(i) { // it is down, or had an attempt of this request
			continue
		}
		if at := slices.Index(p.order, v.Name(i)); at >= 0 && at < rank {
			best, rank = i, at
		}
	}
	if best >= 0 {
		return best
	}
	return p.rest.Pick(v, l, q)
}
