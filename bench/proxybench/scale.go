package proxybench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// ScaleOptions say what RunScale measures. The zero value measures everything.
type ScaleOptions struct {
	Self        string        // edge-bench; default: this executable
	Edge        string        // edge; default: beside Self
	Loops       []int         // event loops; default: 1, 2, 4 … half of the CPUs
	Parks       []string      // names of ways to sleep; default: all
	Connections int           // for each event loop; default 64
	Rounds      int           // default 5
	Window      time.Duration // what is measured at a time; default 1 s
	Load        string        // auto, wrk, go
	Log         io.Writer     // progress and notes; default: none
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

// ScaleCell is what was seen of one scenario with so many event loops that sleep in one way: medians over the rounds.
type ScaleCell struct {
	Scenario      string
	Park          string
	Loops         int
	PerSecond     float64 // requests, for each event loop
	CPUPerRequest float64 // µs
	Busy          float64 // share of the CPUs of edge
	P99           time.Duration
	Errors        uint64
}

// scaleRun holds what is alive during a RunScale. Owned by its goroutine.
type scaleRun struct {
	*runner
	o       ScaleOptions
	cpus    []int
	parks   []ScalePark
	samples map[ScaleCell][]Sample // by scenario, park and loops alone
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
	for _, cpu := range run.loadCPUs(most) {
		if err := run.addOrigin(ctx, cpu); err != nil {
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
	base, err := Options{
		Self: o.Self, Edge: o.Edge, Load: o.Load, Log: o.Log, Rounds: o.Rounds, Window: o.Window,
	}.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Rounds <= 0 {
		base.Rounds = 5
	}
	o.Rounds, o.Window = base.Rounds, base.Window
	run := &scaleRun{
		runner: &runner{options: base, report: &Report{Machine: thisMachine()}}, o: o, cpus: allowedCPUs(),
		samples: make(map[ScaleCell][]Sample),
	}
	if run.o.Connections <= 0 {
		run.o.Connections = 64
	}
	if len(o.Loops) == 0 {
		for n := 1; n <= max(len(run.cpus)/2, 1); n *= 2 {
			run.o.Loops = append(run.o.Loops, n)
		}
	}
	if slices.Min(run.o.Loops) < 1 {
		return nil, errors.New("event loops: 1 is the least")
	}
	run.parks, err = pick(ScaleParks, o.Parks, "way to sleep", func(p ScalePark) string { return p.Name })
	if err != nil {
		return nil, err
	}
	if run.dir, err = os.MkdirTemp("", "edge-bench-"); err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	if err := run.chooseLoad(ctx); err != nil {
		run.close()
		return nil, err
	}
	return run, nil
}

// addOrigin starts one more origin.
func (r *scaleRun) addOrigin(ctx context.Context, cpu int) error {
	addrs, err := freeAddrs(1)
	if err != nil {
		return err
	}
	return r.startOrigin(ctx, addrs[0], cpu)
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
	addrs, err := freeAddrs(1)
	if err != nil {
		return err
	}
	binary, err := Peer{binary: "edge"}.locate(&r.options)
	if err != nil {
		return err
	}
	file := filepath.Join(r.dir, "edge.toml")
	if err := os.WriteFile(file, []byte(r.config(park, loops, addrs[0])), 0o600); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	edge, err := startOn("edge", []string{binary, "run", "-c", file}, r.edgeCPUs(loops), r.dir)
	if err != nil {
		return err
	}
	defer edge.stop()
	if err := edge.waitReady(ctx, addrs[0]); err != nil {
		return err
	}
	for _, name := range scaleScenarios {
		found, err := FindScenarios([]string{name})
		if err != nil {
			return err
		}
		s := found[0]
		s.Connections = r.o.Connections
		sample, err := r.sample(ctx, s, addrs[0], processTree(edge.cmd.Process.Pid), r.o.Window, r.loadCPUs(loops))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		at := ScaleCell{Scenario: name, Park: park.Name, Loops: loops}
		r.samples[at] = append(r.samples[at], sample)
	}
	return nil
}

func (r *scaleRun) config(park ScalePark, loops int, listen string) string {
	return fmt.Sprintf(`[global]
worker_threads = %d
%s

[[listeners]]
listen = %q

[[routes]]
pattern = "/"
dest = %q

[log]
output = []
`, loops, park.Keys, listen, strings.Join(r.addresses[:loops], ", "))
}

// cells are the medians, in the order they are printed.
func (r *scaleRun) cells() []ScaleCell {
	var all []ScaleCell
	for _, name := range scaleScenarios {
		for _, park := range r.parks {
			for _, loops := range r.o.Loops {
				c := ScaleCell{Scenario: name, Park: park.Name, Loops: loops}
				all = append(all, c.median(r.samples[c]))
			}
		}
	}
	return all
}

func (c ScaleCell) median(samples []Sample) ScaleCell {
	var rates, costs, busy, p99s []float64
	for _, s := range samples {
		rates = append(rates, s.RequestsPerSecond/float64(c.Loops))
		costs = append(costs, s.CPUPerRequest)
		busy = append(busy, s.Busy/float64(c.Loops))
		p99s = append(p99s, float64(s.P99))
		c.Errors += s.Errors
	}
	c.PerSecond, c.CPUPerRequest, c.Busy = median(rates), median(costs), median(busy)
	c.P99 = time.Duration(median(p99s))
	return c
}

// print writes a table; the last column is what is left of the requests that the fewest loops carried, each.
func (r *scaleRun) print(w io.Writer) error {
	m := r.report.Machine
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(w, "%s %s · %s, %d CPUs · %s · load: %s, %d connections a loop · medians of %d\n\n",
		m.Kernel, m.Arch, m.CPU, m.CPUs, m.Go, m.Load, r.o.Connections, r.o.Rounds)
	_, _ = fmt.Fprintln(t, "scenario\tpark\tloops\trequests/s a loop\tCPU µs/request\tbusy\tp99\terrors\tscale\t")
	var least float64
	for _, c := range r.cells() {
		if c.Loops == r.o.Loops[0] {
			least = c.PerSecond
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%.0f\t%.2f\t%.0f%%\t%s\t%d\t%.2f\t\n", c.Scenario, c.Park, c.Loops,
			c.PerSecond, c.CPUPerRequest, 100*c.Busy, micros(c.P99), c.Errors, c.PerSecond/max(least, 1))
	}
	return t.Flush()
}
