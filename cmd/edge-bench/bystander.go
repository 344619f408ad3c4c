package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/proxybench"
)

func newBystander() *cobra.Command {
	var o proxybench.BystanderOptions
	c := command("bystander",
		"What quick clients of edge notice of those who make trouble: their 99th percentile with and without",
		func(c *cobra.Command, _ []string) error {
			o.Log = c.ErrOrStderr()
			return proxybench.RunBystander(c.Context(), o, c.OutOrStdout())
		})
	f := c.Flags()
	f.StringSliceVarP(&o.Troubles, "trouble", "s", nil, "troubles to make (default: all)")
	f.IntVarP(&o.Rounds, "rounds", "r", 5, "rounds for each")
	f.DurationVarP(&o.Window, "duration", "d", 0, "measured time, with trouble and without (default 2s)")
	f.StringVar(&o.Edge, "edge", "", "edge binary (default: beside edge-bench)")
	return c
}

// hidden returns a command that bystander starts.
func hidden(use, short string, run func(c *cobra.Command, args []string) error) *cobra.Command {
	c := command(use, short+", for bystander", run)
	c.Hidden = true
	return c
}

func newTrouble() *cobra.Command {
	var t proxybench.Target
	c := hidden("trouble NAME", "Make trouble for a proxy", func(c *cobra.Command, args []string) error {
		return proxybench.MakeTrouble(c.Context(), args[0], t, c.OutOrStdout())
	})
	c.Args = cobra.ExactArgs(1)
	c.Flags().StringVar(&t.Plain, "plain", "", "its plain address")
	c.Flags().StringVar(&t.Secure, "secure", "", "its TLS address")
	return c
}

func newOverload() *cobra.Command {
	var addr string
	var window time.Duration
	c := hidden("overload", "Offer a proxy more handshakes than it can compute",
		func(c *cobra.Command, _ []string) error {
			return proxybench.MeasureOverload(c.Context(), addr, window, c.OutOrStdout())
		})
	c.Flags().StringVar(&addr, "secure", "", "its TLS address")
	c.Flags().DurationVarP(&window, "duration", "d", 2*time.Second, "measured time of each load")
	return c
}

func newHellos() *cobra.Command {
	var addr string
	var apart bool
	var window time.Duration
	c := hidden("hellos", "Flood a proxy with handshakes, each of which waits for its answer",
		func(c *cobra.Command, _ []string) error {
			return proxybench.MeasureHellos(c.Context(), addr, apart, window, c.OutOrStdout())
		})
	c.Flags().StringVar(&addr, "secure", "", "its TLS address")
	c.Flags().BoolVar(&apart, "apart", true, "good clients come from another network")
	c.Flags().DurationVarP(&window, "duration", "d", 10*time.Second, "measured time")
	return c
}

func newH2Origin() *cobra.Command {
	var listen string
	c := hidden("h2origin", "Serve small and endless answers by HTTP/2", func(c *cobra.Command, _ []string) error {
		return proxybench.ServeH2Origin(c.Context(), listen)
	})
	c.Flags().StringVar(&listen, "listen", anyLoopbackPort, "address")
	return c
}
