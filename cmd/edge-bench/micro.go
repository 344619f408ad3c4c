package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/micro"
	"github.com/edge-proxy/edge/bench/report"
)

// microFlags are the flags of edge-bench micro that say what becomes of the results.
type microFlags struct {
	showFlags
	pattern     string
	list, quiet bool
}

func newMicro() *cobra.Command {
	var o micro.Options
	var given microFlags
	c := &cobra.Command{
		Use:   "micro",
		Short: "Measure the hot functions beside what one would use else, and compare runs",
		Long: "Measure hot functions beside fasthttp, net/http, netpoll, Go's timers, pools, caches and rings of\n" +
			"others, in interleaved rounds.",
		Example: "  edge-bench micro --run 'parse|timer' --report out.html\n" +
			"  edge-bench micro --json > old.json\n" +
			"  edge-bench micro --compare old.json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return measureMicro(c, o, &given) },
	}
	f := c.Flags()
	f.StringVarP(&given.pattern, "run", "r", "", "regular expression of names (default: all)")
	f.StringVarP(&o.Benchtime, "benchtime", "t", "1s", "measured time per benchmark and round, or a count: 1000x")
	f.IntVarP(&o.Count, "count", "n", 5, "rounds")
	f.StringVar(&given.format, "format", "text", "what to print: text, json, benchstat")
	f.BoolVar(&given.asJSON, "json", false, "print JSON, with every sample and the facts of the machine: --format json")
	given.add(c)
	f.BoolVarP(&given.list, "list", "l", false, "list the benchmarks that match, and the counts of each")
	f.BoolVarP(&given.quiet, "quiet", "q", false, "do not tell what runs")
	return c
}

func measureMicro(c *cobra.Command, o micro.Options, given *microFlags) (err error) {
	if o.Pattern, err = regexp.Compile(given.pattern); err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	if given.list {
		return listMicro(c.OutOrStdout(), o.Pattern)
	}
	out, err := open(&given.showFlags, report.Read, map[string]writer[*report.Report]{
		"benchstat": func(r *report.Report, w io.Writer, _ *report.Report) error { return r.WriteBenchstat(w) },
	})
	if err != nil {
		return err
	}
	finish := func() {}
	if !given.quiet {
		o.Progress, finish = progress(c.ErrOrStderr())
	}
	o.Version = version
	r, failed := micro.Run(c.Context(), o)
	finish()
	if r == nil || len(r.Results) == 0 {
		return failed
	}
	r.Command = commandLine(c)
	// What was measured before an interrupt is worth showing.
	return errors.Join(out.show(c.OutOrStdout(), r), failed)
}

func listMicro(w io.Writer, pattern *regexp.Regexp) error {
	for _, e := range micro.Entries() {
		if pattern.MatchString(e.Name) {
			_, _ = fmt.Fprintf(w, "%s\n\t%s\n", e.Name, e.What)
		}
	}
	return nil
}
