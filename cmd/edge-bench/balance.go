package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/balance"
)

type balanceFlags struct {
	showFlags
	pattern, svg      string
	methods           []string
	members, reactors []int
	seeds             int
	seed              uint64
	scale             float64
	tick              time.Duration
	list, quiet       bool
	own               balance.Own
}

func newBalance() *cobra.Command {
	var f balanceFlags
	c := &cobra.Command{
		Use:   "balance",
		Short: "Simulate how edge's balancing does beside an ideal queue, nginx's and HAProxy's rules",
		Long: "Simulate edge's balancing, the very code that a proxy runs, with backends that are slow, fail,\n" +
			"pause or join, beside one ideal queue and models of nginx's and HAProxy's rules. Times are over the\n" +
			"ideal's. With --load it is about a pool of your own, and not about the project's scenarios.",
		Example: "  edge-bench balance --report out.html\n" +
			"  edge-bench balance --run 'slower|pauses' --members 4 --reactors 16\n" +
			"  edge-bench balance --load 0.7 --members 12 --workers 8 --service lognormal:40ms:1.2 --slow 1:10\n" +
			"  edge-bench balance --load 0.6 --zones 6,4,2 --leave 3\n" +
			"  edge-bench balance --format json > old.json; edge-bench balance --compare old.json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runBalance(c, f) },
	}
	flags := c.Flags()
	flags.StringVarP(&f.pattern, "run", "r", "", "regular expression of scenarios and of their groups (default: all)")
	flags.StringSliceVarP(&f.methods, "method", "m", nil, "methods by name (default: all)")
	flags.IntSliceVar(&f.members, "members", nil, "sizes of the pool (default: as in the scenario, or 4)")
	flags.IntSliceVar(&f.reactors, "reactors", nil, "numbers of reactors (default: 1,16,64)")
	flags.IntVar(&f.seeds, "seeds", 2, "runs of each cell, each with other requests")
	flags.Uint64Var(&f.seed, "seed", 1, "of the first run")
	flags.Float64Var(&f.scale, "scale", 1, "times as many requests as usual: 0.1 for a first look")
	flags.DurationVar(&f.tick, "tick", 200*time.Microsecond, "how long a reactor takes until the others hear of it")
	flags.StringVarP(&f.format, "format", "f", "text", "text, markdown or json")
	f.add(c)
	flags.StringVar(&f.svg, "svg", "", "write the overview to this `file`, as a picture")
	flags.BoolVarP(&f.list, "list", "l", false, "list the methods, and the scenarios that match")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "do not tell what runs")
	flags.Float64Var(&f.own.Load, "load", 0, "a pool of your own: the part of what its well backends can serve")
	flags.IntSliceVar(&f.own.Workers, "workers", []int{4}, "own: requests that a backend serves at a time, in turn")
	flags.IntSliceVar(&f.own.Weights, "weights", []int{1}, "own: weights of the backends, in turn")
	flags.StringVar(&f.own.Service, "service", "lognormal:10ms:1", "own: how long a request needs: "+
		"lognormal:MEAN:SIGMA, exponential:MEAN, constant:MEAN, pareto:MEAN:ALPHA, bimodal:SHORT:PART:LONG")
	flags.StringVar(&f.own.Slow, "slow", "", "own: so many backends are so many times slower: 1:10")
	flags.IntVar(&f.own.Fail, "fail", 0, "own: so many backends answer 503 at once")
	flags.DurationVar(&f.own.Pause, "pause", 0, "own: backends stand still for so long, once in 20 times of it")
	flags.StringVar(&f.own.Leave, "leave", "", "own: so many backends are away for 10 s of each 30 s, and so many "+
		"times slower at first for so long: 1 or 1:10:5s")
	flags.StringVar(&f.own.Hang, "hang", "", "own: one backend keeps a part of its requests waiting: 0.01:500ms")
	flags.DurationVar(&f.own.SlowStart, "slow-start", 0, "own: slow_start of the upstream, beside the same without")
	flags.IntSliceVar(&f.own.Zones, "zones", nil, "own: backends of each zone, with zones = prefer, and without")
	flags.IntSliceVar(&f.own.ZoneShare, "zone-share", nil,
		"own: per cent of the requests in each zone (default: equal)")
	flags.DurationVar(&f.own.HedgeAfter, "hedge-after", 0, "own: retry.hedge_after, beside the same without")
	return c
}

func runBalance(c *cobra.Command, f balanceFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	if f.list {
		return listBalance(c.OutOrStdout(), o)
	}
	out, err := open(&f.showFlags, balance.Read, map[string]writer[*balance.Table]{
		"markdown": (*balance.Table).WriteMarkdown,
	})
	if err != nil {
		return err
	}
	svg, err := create(f.svg)
	if err != nil {
		return err
	}
	if !f.quiet {
		o.Log = c.ErrOrStderr()
	}
	table, failed := balance.Run(c.Context(), o)
	if table == nil || len(table.Cells) == 0 {
		return failed
	}
	// What was simulated before an interrupt is worth showing.
	return errors.Join(failed, out.show(c.OutOrStdout(), table), fill(svg, table.WriteSVG))
}

func (f *balanceFlags) options() (o balance.Options, err error) {
	o = balance.Options{Reactors: f.reactors, Seeds: f.seeds, Seed: f.seed, Scale: f.scale, Tick: f.tick}
	if o.Contenders, err = balance.Find(f.methods); err != nil {
		return o, fmt.Errorf("--method: %w", err)
	}
	for _, n := range slices.Concat(f.members, f.reactors) {
		if n < 1 || n > 4096 {
			return o, fmt.Errorf("--members, --reactors: %d is not from 1 to 4096", n)
		}
	}
	if f.seeds < 1 || f.scale <= 0 || f.tick < time.Microsecond {
		return o, errors.New("--seeds, --scale, --tick: not above zero")
	}
	if f.own.Load != 0 {
		f.own.Members = f.members
		o.Scenarios, err = f.own.Scenarios()
		return o, err
	}
	pattern, err := regexp.Compile(f.pattern)
	if err != nil {
		return o, fmt.Errorf("--run: %w", err)
	}
	o.Members = f.members
	o.Scenarios = slices.DeleteFunc(balance.Scenarios(), func(s balance.Scenario) bool {
		return !pattern.MatchString(s.Name) && !pattern.MatchString(s.Group)
	})
	o.Keys = f.pattern == ""
	return o, nil
}

func listBalance(w io.Writer, o balance.Options) error {
	for _, c := range o.Contenders {
		_, _ = fmt.Fprintf(w, "method %-12s %s\n", c.Name, c.What)
	}
	for _, s := range o.Scenarios {
		_, _ = fmt.Fprintf(w, "scenario %-28s %s: %s, %s, load %.0f %%, backends %v\n", s.Name, s.Group, s.What,
			s.Service, 100*s.Load, s.Members)
	}
	return nil
}
