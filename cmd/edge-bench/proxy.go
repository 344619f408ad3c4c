package main

import (
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/proxybench"
	"github.com/edge-proxy/edge/bench/report"
)

func newProxy() *cobra.Command {
	var o proxybench.Options
	var jsonPath string
	c := command("proxy", "Compare edge with the relay floor and other proxies: CPU per request on one core",
		func(c *cobra.Command, _ []string) error {
			o.Log = c.ErrOrStderr()
			samples, err := create(jsonPath)
			if err != nil {
				return err
			}
			found, err := proxybench.Run(c.Context(), o)
			if found == nil {
				return err
			}
			// What was measured before an interrupt is worth showing.
			return errors.Join(err, found.WriteText(c.OutOrStdout()),
				fill(samples, func(w io.Writer) error { return report.WriteJSON(w, found) }))
		})
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
