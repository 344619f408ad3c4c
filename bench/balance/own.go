package balance

import (
	"fmt"
	"strings"
	"time"
)

// Own is the numbers of a user, which Scenarios makes scenarios of.
type Own struct {
	Members          []int // 4 when nil
	Workers, Weights []int
	Service          string // see ParseService
	Load             float64
	Slow             string // "1:10": one backend is ten times slower
	Fail             int    // backends that answer 503 at once
	Pause            time.Duration
}

// Scenarios returns what o describes.
func (o *Own) Scenarios() ([]Scenario, error) {
	if !(o.Load > 0 && o.Load < 1) {
		return nil, fmt.Errorf("a load of %v: above 1 a queue grows without end; give a part such as 0.7", o.Load)
	}
	service, err := ParseService(o.Service)
	if err != nil {
		return nil, err
	}
	for _, n := range append(append([]int(nil), o.Workers...), o.Weights...) {
		if n < 1 || n > 65535 {
			return nil, fmt.Errorf("%d workers, or a weight of that: from 1 to 65535", n)
		}
	}
	s := Scenario{Name: "own", Group: GroupOwn, Members: o.Members, Workers: o.Workers, Weights: o.Weights,
		Service: service, Load: o.Load}
	if s.Members == nil {
		s.Members = []int{4}
	}
	what := []string{fmt.Sprintf("%v, load %.0f %%", service, 100*o.Load)}
	bad := 0
	if o.Slow != "" {
		var count int
		var factor float64
		if n, err := fmt.Sscanf(o.Slow, "%d:%g", &count, &factor); n != 2 || err != nil || count < 1 || factor <= 1 {
			return nil, fmt.Errorf("%q slow backends: 1:10 says that one is ten times slower", o.Slow)
		}
		s.Troubles = append(s.Troubles, Trouble{Kind: slower, Count: count, Factor: factor})
		what = append(what, fmt.Sprintf("%d of them %g × slower", count, factor))
		bad = count
	}
	if o.Fail > 0 {
		s.Troubles = append(s.Troubles, Trouble{Kind: failing, First: bad, Count: o.Fail})
		what = append(what, fmt.Sprintf("%d of them fail", o.Fail))
		bad += o.Fail
	}
	for _, n := range s.Members {
		if bad < 0 || bad >= n {
			return nil, fmt.Errorf("nothing is wrong with one of %d backends at the least", n)
		}
	}
	if o.Pause > 0 {
		s.Troubles = append(s.Troubles, Trouble{Kind: pausing, Part: 1, For: o.Pause.Seconds(),
			Period: 19 * o.Pause.Seconds()})
		what = append(what, fmt.Sprintf("pauses of %v", o.Pause))
	}
	s.What = strings.Join(what, ", ")
	return usually([]Scenario{s}), nil
}
