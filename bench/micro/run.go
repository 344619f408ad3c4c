package micro

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/edge-proxy/edge/bench/machine"
	"github.com/edge-proxy/edge/bench/report"
)

// Options say what Run measures. The zero value is good.
type Options struct {
	Pattern   *regexp.Regexp // which entries; nil: all
	Benchtime string         // per entry and round, as of go test: a duration or a count with x; empty: 1s
	Count     int            // rounds; 0: 5
	Version   string         // of the program, for the report
	Progress  func(Step)     // is told what runs next, before it does; nil: nobody
}

// Step is one benchmark of one round.
type Step struct {
	Name   string
	Round  int // of Rounds, from 1
	Rounds int
	Done   int // how many steps were done before, of Steps
	Steps  int
}

// Run measures in rounds and returns what it has when ctx ends, with the error of ctx.
// Not to be called twice at the same time.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	o.Benchtime = cmp.Or(o.Benchtime, "1s")
	if o.Count <= 0 {
		o.Count = 5
	}
	families, err := choose(Entries(), o.Pattern)
	if err != nil {
		return nil, err
	}
	restore, err := setBenchtime(o.Benchtime)
	if err != nil {
		return nil, err
	}
	defer restore()
	r := &report.Report{
		Time: time.Now().UTC().Truncate(time.Second), Machine: machine.Read(o.Version),
		Benchtime: o.Benchtime, Rounds: o.Count,
	}
	at := Step{Rounds: o.Count}
	for _, f := range families {
		at.Steps += len(f) * o.Count
	}
	for _, f := range families {
		results, err := f.measure(ctx, o, &at)
		r.Results = append(r.Results, results...)
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// measure runs the rounds of f, counting on in at. When it ends early, the rounds that are whole count.
func (f family) measure(ctx context.Context, o Options, at *Step) ([]report.Result, error) {
	var rounds [][]report.Sample
	for n := range o.Count {
		round := make([]report.Sample, 0, len(f))
		for _, e := range f {
			if err := ctx.Err(); err != nil {
				return f.results(rounds), err
			}
			if at.Name, at.Round = e.Name, n+1; o.Progress != nil {
				o.Progress(*at)
			}
			s, ok := report.SampleOf(testing.Benchmark(e.Bench))
			if !ok {
				return f.results(rounds), fmt.Errorf("%s failed; go test -bench tells why", e.Name)
			}
			round = append(round, s)
			at.Done++
		}
		rounds = append(rounds, round)
	}
	return f.results(rounds), nil
}

func (f family) results(rounds [][]report.Sample) []report.Result {
	rows := make([]report.Result, len(f))
	for i, e := range f {
		if rows[i] = (report.Result{Name: e.Name, Group: e.Group, What: e.What}); i > 0 {
			rows[i].BaselineOf = f[0].Name
		}
	}
	return report.Fill(rows, rounds)
}

// setBenchtime says to package testing how long a benchmark runs; restore takes it back.
func setBenchtime(d string) (restore func(), err error) {
	testing.Init()
	const name = "test.benchtime"
	before := flag.Lookup(name).Value.String()
	if err := flag.Set(name, d); err != nil {
		return nil, fmt.Errorf("benchtime %q: %w", d, err)
	}
	return func() { _ = flag.Set(name, before) }, nil
}
