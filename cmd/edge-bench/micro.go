package main

import (
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/micro"
)

func newMicro() *cobra.Command {
	var o micro.Options
	var pattern string
	var asJSON, list, quiet bool
	c := &cobra.Command{
		Use:   "micro",
		Short: "Measure the hot functions beside fasthttp, net/http, netpoll, Go's timers and channels",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Pattern, err = regexp.Compile(pattern); err != nil {
				return fmt.Errorf("--run: %w", err)
			}
			if list {
				return listMicro(c.OutOrStdout(), o.Pattern)
			}
			if !quiet {
				o.Log = c.ErrOrStderr()
			}
			report, err := micro.Run(c.Context(), o)
			if report == nil {
				return err
			}
			// What was measured before an interrupt is worth showing.
			write := report.WriteText
			if asJSON {
				write = report.WriteJSON
			}
			if werr := write(c.OutOrStdout()); werr != nil {
				return werr
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVarP(&pattern, "run", "r", "", "regular expression of names (default: all)")
	f.StringVarP(&o.Benchtime, "benchtime", "t", "1s", "measured time per benchmark and round, or a count: 1000x")
	f.IntVarP(&o.Count, "count", "n", 5, "rounds")
	f.BoolVar(&asJSON, "json", false, "print JSON, with every sample")
	f.BoolVarP(&list, "list", "l", false, "list the benchmarks that match, and what of each is counted")
	f.BoolVarP(&quiet, "quiet", "q", false, "do not tell what runs")
	return c
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
