package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/proxybench"
)

func newBystander() *cobra.Command {
	var o proxybench.BystanderOptions
	c := &cobra.Command{
		Use:   "bystander",
		Short: "What quick clients of edge notice of those who make trouble: their 99th percentile with and without",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Log = c.ErrOrStderr()
			return proxybench.RunBystander(c.Context(), o, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringSliceVarP(&o.Troubles, "trouble", "s", nil, "troubles to make (default: all)")
	f.IntVarP(&o.Rounds, "rounds", "r", 5, "rounds for each")
	f.DurationVarP(&o.Window, "duration", "d", 0, "measured time, with trouble and without (default 2s)")
	f.StringVar(&o.Edge, "edge", "", "edge binary (default: beside edge-bench)")
	return c
}

func newTrouble() *cobra.Command {
	var t proxybench.Target
	c := &cobra.Command{
		Use:    "trouble NAME",
		Short:  "Make trouble for a proxy, for bystander",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			return proxybench.MakeTrouble(c.Context(), args[0], t, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&t.Plain, "plain", "", "its plain address")
	c.Flags().StringVar(&t.Secure, "secure", "", "its TLS address")
	return c
}

func newOverload() *cobra.Command {
	var addr string
	var window time.Duration
	c := &cobra.Command{
		Use:    "overload",
		Short:  "Offer a proxy more handshakes than it can compute, for bystander",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return proxybench.MeasureOverload(c.Context(), addr, window, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&addr, "secure", "", "its TLS address")
	c.Flags().DurationVarP(&window, "duration", "d", 2*time.Second, "measured time of each load")
	return c
}

func newHellos() *cobra.Command {
	var addr string
	var apart bool
	var window time.Duration
	c := &cobra.Command{
		Use:    "hellos",
		Short:  "Flood a proxy with handshakes, each of which waits for its answer, for bystander",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return proxybench.MeasureHellos(c.Context(), addr, apart, window, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&addr, "secure", "", "its TLS address")
	c.Flags().BoolVar(&apart, "apart", true, "good clients come from another network")
	c.Flags().DurationVarP(&window, "duration", "d", 10*time.Second, "measured time")
	return c
}

func newH2Origin() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:    "h2origin",
		Short:  "Serve small and endless answers by HTTP/2, for bystander",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return proxybench.ServeH2Origin(c.Context(), listen)
		},
	}
	c.Flags().StringVar(&listen, "listen", anyLoopbackPort, "address")
	return c
}
