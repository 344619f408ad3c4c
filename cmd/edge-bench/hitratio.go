package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/hitratio"
	"github.com/edge-proxy/edge/bench/report"
)

type hitratioFlags struct {
	policies    []string
	workload    string
	traces      string
	format, svg string
	seed        uint64
	list, quiet bool
}

func newHitratio() *cobra.Command {
	var f hitratioFlags
	c := &cobra.Command{
		Use:   "hitratio",
		Short: "Compare what caches hit: tinyufo's policy, S3-FIFO, LIRS, LRU, ARC, otter, theine, ristretto",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return runHitratio(c, f) },
	}
	flags := c.Flags()
	flags.StringSliceVarP(&f.policies, "policy", "p", nil, "policies by name, and name/16 for 16 shards (default: all)")
	flags.StringVarP(&f.workload, "workload", "w", "", "regular expression of workloads (default: all)")
	flags.StringVar(&f.traces, "traces", os.Getenv("HITRATIO_TRACES"),
		"folder with traces, which are run as well (default: $HITRATIO_TRACES)")
	flags.StringVarP(&f.format, "format", "f", "text", "text, markdown or json")
	flags.StringVar(&f.svg, "svg", "", "file for a picture")
	flags.Uint64Var(&f.seed, "seed", 1, "of the generators")
	flags.BoolVarP(&f.list, "list", "l", false, "list the policies, and the workloads that match")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "do not tell what runs")
	return c
}

func runHitratio(c *cobra.Command, f hitratioFlags) error {
	write := map[string]func(*hitratio.Table, io.Writer) error{
		"text": (*hitratio.Table).WriteText, "markdown": (*hitratio.Table).WriteMarkdown,
		"json": func(t *hitratio.Table, w io.Writer) error { return report.WriteJSON(w, t) },
	}[f.format]
	if write == nil {
		return fmt.Errorf("--format: %q is none of text, markdown, json", f.format)
	}
	pattern, err := regexp.Compile(f.workload)
	if err != nil {
		return fmt.Errorf("--workload: %w", err)
	}
	var o hitratio.Options
	if o.Policies, err = hitratio.Find(f.policies); err != nil {
		return fmt.Errorf("--policy: %w", err)
	}
	if f.traces != "" {
		if o.Workloads, err = hitratio.Traces(f.traces); err != nil {
			return fmt.Errorf("--traces: %w", err)
		}
	}
	o.Workloads = hitratio.Choose(append(o.Workloads, hitratio.Generated(f.seed)...), pattern)
	if f.list {
		return listHitratio(c.OutOrStdout(), o)
	}
	svg, err := create(f.svg)
	if err != nil {
		return err
	}
	if !f.quiet {
		o.Log = c.ErrOrStderr()
	}
	table, err := hitratio.Run(c.Context(), o)
	if table == nil || len(table.Cells) == 0 {
		return err
	}
	// What was measured before an interrupt is worth showing.
	return errors.Join(err, fill(svg, table.WriteSVG), write(table, c.OutOrStdout()))
}

func listHitratio(w io.Writer, o hitratio.Options) error {
	for _, m := range o.Policies {
		_, _ = fmt.Fprintf(w, "policy %-14s %s\n", m.Name, m.What)
	}
	for _, l := range o.Workloads {
		_, _ = fmt.Fprintf(w, "workload %-14s %s, sizes %v\n", l.Name, l.What, l.Sizes)
	}
	return nil
}
