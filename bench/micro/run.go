package micro

import (
	"context"
	"flag"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"testing"
)

// Options say what Run measures. The zero value is good.
type Options struct {
	Pattern   *regexp.Regexp // which entries; nil: all
	Benchtime string         // per entry and round, as of go test: a duration or a count with x; empty: 1s
	Count     int            // rounds; 0: 5
	Log       io.Writer      // is told what runs; nil: nobody
}

// Run measures in rounds and returns what it has when ctx ends, with the error of ctx.
// Not to be called twice at the same time.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Benchtime == "" {
		o.Benchtime = "1s"
	}
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
	report := &Report{
		Go: runtime.Version(), Arch: runtime.GOARCH, Procs: runtime.GOMAXPROCS(0),
		Benchtime: o.Benchtime, Rounds: o.Count,
	}
	for _, f := range families {
		results, err := f.measure(ctx, o)
		report.Results = append(report.Results, results...)
		if err != nil {
			return report, err
		}
	}
	return report, nil
}

// measure runs the rounds of f. When it ends early, the rounds that are whole count.
func (f family) measure(ctx context.Context, o Options) ([]Result, error) {
	var rounds [][]Sample
	var failed error
	for n := range o.Count {
		round := make([]Sample, 0, len(f))
		for _, e := range f {
			if failed = ctx.Err(); failed != nil {
				return f.results(rounds), failed
			}
			if o.Log != nil {
				_, _ = fmt.Fprintf(o.Log, "%d/%d %s\n", n+1, o.Count, e.Name)
			}
			s, ok := sampleOf(testing.Benchmark(e.Bench))
			if !ok {
				return f.results(rounds), fmt.Errorf("%s failed; go test -bench tells why", e.Name)
			}
			round = append(round, s)
		}
		rounds = append(rounds, round)
	}
	return f.results(rounds), nil
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
