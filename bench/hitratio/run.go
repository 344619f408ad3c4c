package hitratio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"sync"
)

// Options say what Run measures. The zero value is every policy over the generated workloads.
type Options struct {
	Policies  []Maker
	Workloads []Workload
	Log       io.Writer // a line per workload; nil for none
}

// Table is what Run found. Immutable.
type Table struct {
	Policies []string `json:"policies"`
	Cells    []Cell   `json:"cells"`
}

// Cell is one workload with one capacity.
type Cell struct {
	Workload string    `json:"workload"`
	Group    string    `json:"group"`
	Size     int       `json:"size"`     // capacity in entries
	Requests int       `json:"requests"` // accesses
	Keys     int       `json:"keys"`     // different ones
	Optimum  float64   `json:"optimum"`  // hits of the offline optimum, in per cent of the requests
	Hits     []float64 `json:"hits"`     // by policy, in per cent of the requests
}

// Choose returns the workloads whose name matches.
func Choose(all []Workload, pattern *regexp.Regexp) []Workload {
	return slices.DeleteFunc(slices.Clone(all), func(w Workload) bool {
		return !pattern.MatchString(w.Name)
	})
}

// Run measures each policy with each workload in each of its sizes. Cells run in parallel, each on one goroutine. When
// ctx ends or a workload cannot be read, it returns the cells that are complete, and the error.
func Run(ctx context.Context, o Options) (*Table, error) {
	if len(o.Policies) == 0 {
		o.Policies = Makers()
	}
	if o.Workloads == nil {
		o.Workloads = Generated(1)
	}
	t := &Table{}
	for _, m := range o.Policies {
		t.Policies = append(t.Policies, m.Name)
	}
	if len(o.Workloads) == 0 {
		return nil, errors.New("no workload matches")
	}
	for i, w := range o.Workloads {
		if o.Log != nil {
			fmt.Fprintf(o.Log, "%d/%d %s\n", i+1, len(o.Workloads), w.Name)
		}
		keys, err := w.Keys()
		if err != nil {
			return t, err
		}
		cells, err := runWorkload(ctx, o, w, keys)
		if err != nil {
			return t, err
		}
		t.Cells = append(t.Cells, cells...)
	}
	return t, nil
}

func runWorkload(ctx context.Context, o Options, w Workload, keys []uint64) ([]Cell, error) {
	var cells []Cell
	for _, size := range w.Sizes {
		cells = append(cells, Cell{
			Workload: w.Name, Group: w.Group, Size: size, Requests: len(keys), Keys: distinct(keys),
			Hits: make([]float64, len(o.Policies)),
		})
	}
	var runs sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0)) // runs at a time
	percent := func(hits int) float64 { return 100 * float64(hits) / float64(max(1, len(keys))) }
	for i := range cells {
		c := &cells[i]
		for j := -1; j < len(o.Policies); j++ {
			free <- struct{}{}
			runs.Go(func() {
				defer func() { <-free }()
				switch {
				case ctx.Err() != nil:
				case j < 0:
					c.Optimum = percent(Optimum(keys, c.Size))
				default:
					c.Hits[j] = percent(Hits(ctx, o.Policies[j].New(c.Size), keys))
				}
			})
		}
	}
	runs.Wait()
	return cells, ctx.Err()
}

// Hits counts the hits of p over keys, and closes p if it can be closed. It ends early with ctx.
func Hits(ctx context.Context, p Policy, keys []uint64) (hits int) {
	defer closePolicy(p)
	for i, key := range keys {
		if p.Access(key) {
			hits++
		}
		if i&0xffff == 0 && ctx.Err() != nil {
			return hits
		}
	}
	return hits
}
