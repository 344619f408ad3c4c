package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/proxybench"
)

func newProxy() *cobra.Command {
	var o proxybench.Options
	var jsonPath string
	c := &cobra.Command{
		Use:   "proxy",
		Short: "Compare edge with the relay floor and other proxies: CPU per request on one core",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Log = c.ErrOrStderr()
			report, err := proxybench.Run(c.Context(), o)
			if report == nil {
				return err
			}
			// What was measured before an interrupt is worth showing.
			if werr := report.WriteText(c.OutOrStdout()); werr != nil {
				return werr
			}
			if jsonPath != "" {
				if werr := writeJSON(jsonPath, report); werr != nil {
					return werr
				}
			}
			return err
		},
	}
	f := c.Flags()
	f.StringSliceVarP(&o.Scenarios, "scenario", "s", nil, "scenarios to run (default: all)")
	f.StringSliceVarP(&o.Peers, "peers", "p", nil, "peers beside the floor (default: all)")
	f.IntVarP(&o.Rounds, "rounds", "r", 9, "rounds per scenario")
	f.DurationVarP(&o.Window, "duration", "d", time.Second, "measured time per peer and round")
	f.StringVar(&o.Load, "load", "auto", "load generator: auto, wrk, go")
	f.StringVar(&o.Edge, "edge", "", "edge binary (default: beside edge-bench)")
	f.StringVar(&o.Before, "before", "", "another edge binary to compare with, in the same rounds")
	f.IntVar(&o.LoadCPU, "load-cpu", -1, "CPU of load and origin (default: the first)")
	f.IntVar(&o.ProxyCPU, "proxy-cpu", -1, "CPU of the proxies (default: the last)")
	f.StringVar(&jsonPath, "json", "", "write every sample to this file")
	return c
}

func writeJSON(path string, report *proxybench.Report) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := report.WriteJSON(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("report: %w", err)
	}
	return f.Close()
}
