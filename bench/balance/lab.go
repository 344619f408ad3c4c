package balance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Options say what Run simulates. The zero value is everything.
type Options struct {
	Scenarios  []Scenario
	Contenders []Contender
	Members    []int         // pools of other sizes are left out; nil: none is
	Reactors   []int         // nil: 1, 16, 64
	Seeds      int           // runs of each cell, each with other requests; 0: 2
	Seed       uint64        // of the first; 0: 1
	Scale      float64       // of the number of requests; 0: 1
	Tick       time.Duration // from the first thing that a reactor has to publish to its publishing; 0: 200 µs
	Keys       bool          // measure methods that hash, too
	Log        io.Writer     // a line for each scenario and pool; nil: none
}

// Result is one run.
type Result struct {
	P50, P99, P999 float64 // ms, of the requests that were served and did not wait for an event
	Failed         int
	Picks          []int   // by backend
	Imbalance      float64 // the most that was under way at one of the well backends for its weight, over the average
	Series         []Point
	Crossing       *Crossing // nil: there are no zones
	Hedges         *Hedges   // nil: no request is hedged
}

// Figures is a cell for one method: averages over the seeds, of ratios geometric ones.
type Figures struct {
	Method    string    `json:"method"`
	P50       float64   `json:"p50"` // over the ideal's
	P99       float64   `json:"p99"`
	P999      float64   `json:"p99_9"`
	P99Low    float64   `json:"p99_low"` // of the seeds, the least and the most
	P99High   float64   `json:"p99_high"`
	P99Ms     float64   `json:"p99_ms"`
	P999Ms    float64   `json:"p99_9_ms"`
	Failed    float64   `json:"failed"`          // part of the requests
	Share     float64   `json:"share"`           // part of the requests that went where the trouble is
	Imbalance float64   `json:"imbalance"`       // see Result
	Crowd     float64   `json:"crowd,omitempty"` // the highest Point.InFlight
	Crossing  *Crossing `json:"crossing,omitempty"`
	Hedges    *Hedges   `json:"hedges,omitempty"`
	Series    []Point   `json:"series,omitempty"`
}

// Cell is a scenario with a pool of a size and so many reactors.
type Cell struct {
	Scenario string    `json:"scenario"`
	Group    string    `json:"group"`
	What     string    `json:"what"`
	Members  int       `json:"members"`
	Reactors int       `json:"reactors"`
	Requests int       `json:"requests"` // of each run
	IdealP50 float64   `json:"ideal_p50_ms"`
	IdealP99 float64   `json:"ideal_p99_ms"`
	Period   float64   `json:"period_s,omitempty"`
	Hangs    bool      `json:"hangs,omitempty"` // requests do, of a backend
	Methods  []Figures `json:"methods"`
}

// Table is what Run found. Immutable.
type Table struct {
	Seed    uint64   `json:"seed"`
	Seeds   int      `json:"seeds"`
	Scale   float64  `json:"scale"`
	TickUs  int64    `json:"tick_us"`
	Methods []string `json:"methods"`
	Cells   []Cell   `json:"cells"`
	Keys    []Keys   `json:"keys,omitempty"`
}

func (o Options) withDefaults() Options {
	if o.Scenarios == nil {
		o.Scenarios = Scenarios()
	}
	if o.Contenders == nil {
		o.Contenders = Contenders()
	}
	if o.Reactors == nil {
		o.Reactors = []int{1, 16, 64}
	}
	o.Seeds, o.Seed = cmp.Or(o.Seeds, 2), cmp.Or(o.Seed, 1)
	o.Scale, o.Tick = cmp.Or(o.Scale, 1), cmp.Or(o.Tick, 200*time.Microsecond)
	return o
}

// Run simulates each method in each scenario. Runs go in parallel, each on one goroutine, and the same Options give the
// same Table on every machine of one architecture. When ctx ends it returns the cells that are complete, and the error.
func Run(ctx context.Context, o Options) (*Table, error) {
	o = o.withDefaults()
	t := &Table{Seed: o.Seed, Seeds: o.Seeds, Scale: o.Scale, TickUs: o.Tick.Microseconds()}
	for i := range o.Contenders {
		t.Methods = append(t.Methods, o.Contenders[i].Name)
	}
	for i := range o.Scenarios {
		s := &o.Scenarios[i]
		for _, members := range s.Members {
			if o.Members != nil && !slices.Contains(o.Members, members) {
				continue
			}
			if o.Log != nil {
				_, _ = fmt.Fprintf(o.Log, "%s, %d backends\n", s.Name, members)
			}
			cells := o.simulate(ctx, s, members)
			if ctx.Err() != nil {
				return t, ctx.Err()
			}
			t.Cells = append(t.Cells, cells...)
		}
	}
	if o.Keys {
		t.Keys = HashKeys(o.Seed)
	}
	if len(t.Cells) == 0 {
		return nil, errors.New("no scenario matches")
	}
	return t, nil
}

// simulate runs all methods with a scenario and a pool of a size.
func (o *Options) simulate(ctx context.Context, s *Scenario, members int) []Cell {
	requests := s.requests(members, o.Scale)
	ideals := make([]*Result, o.Seeds)
	runs := make([][][]*Result, len(o.Reactors)) // by reactors, method and seed
	var group sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0)) // runs at a time
	begin := func(into **Result, f func() *Result) {
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			if ctx.Err() == nil {
				*into = f()
			}
		})
	}
	for k := range ideals {
		begin(&ideals[k], func() *Result { return runIdeal(s, members, requests, o.Seed+uint64(k)) })
	}
	for r, reactors := range o.Reactors {
		runs[r] = make([][]*Result, len(o.Contenders))
		for c := range o.Contenders {
			contender := &o.Contenders[c]
			if r > 0 && contender.Shared() {
				runs[r][c] = runs[0][c]
				continue
			}
			runs[r][c] = make([]*Result, o.Seeds)
			for k := range o.Seeds {
				begin(&runs[r][c][k], func() *Result {
					return run(s, contender, members, reactors, requests, o.Tick, o.Seed+uint64(k))
				})
			}
		}
	}
	group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	var cells []Cell
	for r, reactors := range o.Reactors {
		c := Cell{Scenario: s.Name, Group: s.Group, What: s.What, Members: members, Reactors: reactors,
			Requests: requests,
			IdealP50: mean(ideals, func(r *Result) float64 { return r.P50 }),
			IdealP99: mean(ideals, func(r *Result) float64 { return r.P99 }), Period: s.period(), Hangs: s.hangs()}
		for i := range o.Contenders {
			c.Methods = append(c.Methods, figures(&o.Contenders[i], runs[r][i], ideals, s.troubled(members)))
		}
		cells = append(cells, c)
	}
	return cells
}

// figures sums up the runs of one method with all seeds.
func figures(c *Contender, runs, ideals []*Result, troubled int) Figures {
	f := Figures{Method: c.Name, P99Low: math.Inf(1),
		P99Ms:     mean(runs, func(r *Result) float64 { return r.P99 }),
		P999Ms:    mean(runs, func(r *Result) float64 { return r.P999 }),
		Imbalance: mean(runs, func(r *Result) float64 { return r.Imbalance })}
	logs := [3]float64{}
	for k, r := range runs {
		ratio := r.P99 / ideals[k].P99
		f.P99Low, f.P99High = min(f.P99Low, ratio), max(f.P99High, ratio)
		logs[0] += math.Log(r.P50 / ideals[k].P50)
		logs[1] += math.Log(ratio)
		logs[2] += math.Log(r.P999 / ideals[k].P999)
		all, there := 0, 0
		for i, n := range r.Picks {
			all += n
			if i < troubled {
				there += n
			}
		}
		f.Failed += float64(r.Failed) / float64(all) / float64(len(runs))
		f.Share += float64(there) / float64(all) / float64(len(runs))
	}
	n := float64(len(runs))
	f.P50, f.P99, f.P999 = math.Exp(logs[0]/n), math.Exp(logs[1]/n), math.Exp(logs[2]/n)
	f.average(runs)
	return f
}

// average fills in the means of figures that only some scenarios have.
func (f *Figures) average(runs []*Result) {
	n := float64(len(runs))
	if points := len(runs[0].Series); points > 0 {
		f.Series = make([]Point, points)
	}
	for _, r := range runs {
		for i, p := range r.Series {
			f.Series[i].Share += p.Share / n
			f.Series[i].InFlight += p.InFlight / n
			f.Series[i].Crossing += p.Crossing / n
		}
		if c := r.Crossing; c != nil {
			old := *cmp.Or(f.Crossing, &Crossing{})
			f.Crossing = &Crossing{old.Is + c.Is/n, old.Rule + c.Rule/n, old.Other + c.Other/n}
		}
		if h := r.Hedges; h != nil {
			old := *cmp.Or(f.Hedges, &Hedges{})
			f.Hedges = &Hedges{old.Sent + h.Sent/n, old.Won + h.Won/n, old.Denied + h.Denied/n,
				old.Wasted + h.Wasted/n}
		}
	}
	for _, p := range f.Series {
		f.Crowd = max(f.Crowd, p.InFlight)
	}
}

func mean(runs []*Result, of func(*Result) float64) (sum float64) {
	for _, r := range runs {
		sum += of(r) / float64(len(runs))
	}
	return sum
}
