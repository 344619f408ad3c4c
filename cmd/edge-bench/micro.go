package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/micro"
	"github.com/edge-proxy/edge/bench/report"
)

// microFlags are the flags of edge-bench micro that say what becomes of the results.
type microFlags struct {
	pattern, format, page, compare string
	asJSON, list, quiet            bool
}

// formats are what --format takes.
var formats = []string{"text", "json", "benchstat"}

func newMicro() *cobra.Command {
	var o micro.Options
	var given microFlags
	c := &cobra.Command{
		Use:   "micro",
		Short: "Measure the hot functions beside what one would use else, and compare runs",
		Long: "Measure the hot functions beside fasthttp, net/http, netpoll, Go's timers, pools and channels, in\n" +
			"interleaved rounds.",
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
	f.StringVar(&given.format, "format", "text", "what to print: "+strings.Join(formats, ", "))
	f.BoolVar(&given.asJSON, "json", false, "print JSON, with every sample and the facts of the machine: --format json")
	f.StringVar(&given.page, "report", "", "write a page with plots to this `file`, to be shown to others")
	f.StringVar(&given.compare, "compare", "", "say what changed since the JSON of an earlier run in this `file`")
	f.BoolVarP(&given.list, "list", "l", false, "list the benchmarks that match, and what of each is counted")
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
	if given.asJSON {
		given.format = "json"
	}
	write, err := given.writer()
	if err != nil {
		return err
	}
	// What cannot be read or written is said before minutes of measuring, not after.
	var old *report.Report
	if given.compare != "" {
		if old, err = readReport(given.compare); err != nil {
			return err
		}
	}
	var page *os.File
	if given.page != "" {
		if page, err = os.Create(given.page); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
		defer func() { err = errors.Join(err, page.Close()) }()
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
	// What was measured before an interrupt is worth showing.
	var changes *report.Comparison
	if old != nil {
		changes = r.Compare(old)
	}
	if err := write(c.OutOrStdout(), r, changes); err != nil {
		return err
	}
	if page != nil {
		if err := r.WriteHTML(page, changes); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	return failed
}

// writer is what prints a report, with its changes where there are any.
func (given *microFlags) writer() (func(io.Writer, *report.Report, *report.Comparison) error, error) {
	switch given.format {
	case "text":
		return func(w io.Writer, r *report.Report, changes *report.Comparison) error {
			if err := r.WriteText(w); err != nil || changes == nil {
				return err
			}
			return changes.WriteText(w)
		}, nil
	case "json":
		return func(w io.Writer, r *report.Report, _ *report.Comparison) error { return r.WriteJSON(w) }, nil
	case "benchstat":
		return func(w io.Writer, r *report.Report, _ *report.Comparison) error { return r.WriteBenchstat(w) }, nil
	}
	return nil, fmt.Errorf("--format: unknown format %q; there are %s", given.format, strings.Join(formats, ", "))
}

func readReport(path string) (*report.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--compare: %w", err)
	}
	defer func() { _ = f.Close() }()
	r, err := report.Read(f)
	if err != nil {
		return nil, fmt.Errorf("--compare %s: %w", path, err)
	}
	return r, nil
}

func listMicro(w io.Writer, pattern *regexp.Regexp) error {
	for _, e := range micro.Entries() {
		if !pattern.MatchString(e.Name) {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\n\t%s\n", e.Name, e.What); err != nil {
			return err
		}
	}
	return nil
}
