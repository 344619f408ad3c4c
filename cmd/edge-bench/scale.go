package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/proxybench"
)

func newScale() *cobra.Command {
	var o proxybench.ScaleOptions
	c := command("scale", "What one event loop of edge carries among 1, 2, 4 … others, for each way to sleep",
		func(c *cobra.Command, _ []string) error {
			o.Log = c.ErrOrStderr()
			return proxybench.RunScale(c.Context(), o, c.OutOrStdout())
		})
	f := c.Flags()
	f.IntSliceVarP(&o.Loops, "loops", "n", nil, "event loops (default: 1, 2, 4 … half of the CPUs)")
	f.StringSliceVar(&o.Parks, "park", nil,
		"ways to sleep: runtime, syscall, syscall+pin, spin, spin+pin (default: all)")
	f.IntVarP(&o.Connections, "connections", "c", 64, "connections for each event loop")
	f.IntVarP(&o.Rounds, "rounds", "r", 5, "rounds")
	f.DurationVarP(&o.Window, "duration", "d", time.Second, "measured time of each scenario and round")
	f.StringVar(&o.Load, "load", "auto", "load generator: auto, wrk, go")
	f.StringVar(&o.Edge, "edge", "", "edge binary (default: beside edge-bench)")
	return c
}
