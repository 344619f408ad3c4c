package proxybench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/bench/report"
)

// ScaleOptions say what RunScale measures. The zero value measures everything.
type ScaleOptions struct {
	Options              // Rounds are 5 by default
	Loops       []int    // event loops; default: 1, 2, 4 … half of the CPUs
	Parks       []string // names of ways to sleep; default: all
	Connections int      // for each event loop; default 64
}

// ScalePark is a way to sleep with the keys of [global] that ask for it. Immutable.
type ScalePark struct{ Name, Keys string }

// ScaleParks are all there are.
var ScaleParks = []ScalePark{
	{"auto", `park = "auto"`},
	{"runtime", `park = "runtime"`},
	{"syscall", `park = "syscall"`},
	{"syscall+pin", "park = \"syscall\"\npin = true"},
	{"spin", `park = "spin"`},
	{"spin+pin", "park = \"spin\"\npin = true"},
}

// scaleScenarios are what is asked: requests on connections that stand, and connections.
var scaleScenarios = []string{"small", "close"}

// scaleCell is one scenario with so many event loops that sleep in one way.
type scaleCell struct {
	scenario, park string
	loops          int
}

// scaleRun holds what is alive during a RunScale. Owned by its goroutine.
type scaleRun struct {
	*runner
	o      ScaleOptions
	cpus   []int
	parks  []ScalePark
	rounds map[scaleCell][]round // each of edge alone
}

// RunScale measures edge with a growing number of event loops, each with a CPU of its own, an origin and a load for
// each of them on other CPUs. It prints to w what one loop can carry. Where they do not fit, CPUs are shared and it
// says so. Everything it started has ended when it returns.
func RunScale(ctx context.Context, o ScaleOptions, w io.Writer) error {
	run, err := newScaleRun(ctx, o)
	if err != nil {
		return err
	}
	defer run.close()
	most := slices.Max(run.o.Loops)
	if 2*most > len(run.cpus) {
		run.note("%d loops and as many loads share %d CPUs: CPU/request counts, requests/s do not", most, len(run.cpus))
	}
	addrs, err := freeAddrs(most)
	if err != nil {
		return err
	}
	for i, cpu := range run.loadCPUs(most) {
		if err := run.startOrigin(ctx, addrs[i], cpu); err != nil {
			return err
		}
	}
	for n := range run.o.Rounds {
		for _, loops := range run.o.Loops {
			for _, p := range run.parks {
				if err := run.cell(ctx, p, loops); err != nil {
					return fmt.Errorf("%d loops, %s: %w", loops, p.Name, err)
				}
			}
		}
		run.note("round %d of %d", n+1, run.o.Rounds)
	}
	return run.print(w)
}

func newScaleRun(ctx context.Context, o ScaleOptions) (*scaleRun, error) {
	o.Rounds, o.Connections = cmp.Or(o.Rounds, 5), cmp.Or(o.Connections, 64)
	cpus := allowedCPUs()
	if len(o.Loops) == 0 {
		for n := 1; n <= max(len(cpus)/2, 1); n *= 2 {
			o.Loops = append(o.Loops, n)
		}
	}
	if slices.Min(o.Loops) < 1 {
		return nil, errors.New("event loops: 1 is the least")
	}
	parks, err := pick(ScaleParks, o.Parks, "way to sleep", func(p ScalePark) string { return p.Name })
	if err != nil {
		return nil, err
	}
	r, err := newRunner(o.Options, cheapKey)
	if err != nil {
		return nil, err
	}
	run := &scaleRun{runner: r, o: o, cpus: cpus, parks: parks, rounds: make(map[scaleCell][]round)}
	if err := r.chooseLoad(ctx); err != nil {
		run.close()
		return nil, err
	}
	return run, nil
}

// loadCPUs are where the loads and the origins of n loops run, edgeCPUs where the loops do.
func (r *scaleRun) loadCPUs(n int) (cpus []int) {
	for i := range n {
		cpus = append(cpus, r.cpus[i%len(r.cpus)])
	}
	return cpus
}

func (r *scaleRun) edgeCPUs(n int) []int { return r.cpus[max(len(r.cpus)-n, 0):] }

// cell starts edge and asks it each scenario.
func (r *scaleRun) cell(ctx context.Context, park ScalePark, loops int) error {
	addrs, err := freeAddrs(3)
	if err != nil {
		return err
	}
	edge, err := r.startPeer(ctx, edgePeer("edge", "edge", false, place{"loops": fmt.Sprint(loops), "global": park.Keys,
		"origin": strings.Join(r.addresses[:loops], ", ")}), addrs, r.edgeCPUs(loops)...)
	if err != nil {
		return err
	}
	defer edge.process.stop()
	found, err := FindScenarios(scaleScenarios)
	if err != nil {
		return err
	}
	for _, s := range found {
		s.Connections = r.o.Connections
		pids := processTree(edge.process.cmd.Process.Pid)
		sample, err := r.sample(ctx, s, addrs[0], pids, r.options.Window, r.loadCPUs(loops))
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		at := scaleCell{s.Name, park.Name, loops}
		r.rounds[at] = append(r.rounds[at], round{edgeName: sample})
	}
	return nil
}

// print writes a table; the last column is what is left of the requests that the fewest loops carried, each.
func (r *scaleRun) print(w io.Writer) error {
	t := report.NewTable(fmt.Sprintf("%s · load: %s, %d connections a loop · medians of %d", &r.report.Machine,
		r.report.Load, r.o.Connections, r.o.Rounds),
		"scenario\tpark\tloops\trequests/s a loop\tCPU µs/request\tbusy\tp99\terrors\tscale")
	for _, name := range scaleScenarios {
		for _, park := range r.parks {
			least := 0.0
			for i, loops := range r.o.Loops {
				p, n := summarize(edgeName, "", r.rounds[scaleCell{name, park.Name, loops}]), float64(loops)
				if i == 0 {
					least = p.RequestsPerSecond / n
				}
				t.Add("%s\t%s\t%d\t%.0f\t%.2f\t%.0f%%\t%s\t%d\t%.2f", name, park.Name, loops,
					p.RequestsPerSecond/n, p.CPUPerRequest, 100*p.Busy/n, report.Time(p.P99), p.Errors,
					p.RequestsPerSecond/n/max(least, 1))
			}
		}
	}
	return report.WriteText(w, t)
}
