package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/loadreport"
	"github.com/edge-proxy/edge/bench/proxybench"
	"github.com/edge-proxy/edge/bench/report"
)

func newProxy() *cobra.Command {
	var o proxybench.Options
	var jsonPath, page, svg string
	paths := make(map[string]*string, len(proxybench.Programs))
	c := command("proxy", "Compare edge with the relay floor and other proxies: CPU per request on one core",
		func(c *cobra.Command, _ []string) error {
			o.Log, o.Programs = c.ErrOrStderr(), make(map[string]string, len(paths))
			for name, path := range paths {
				o.Programs[name] = *path
			}
			samples, err := create(jsonPath)
			pageFile, failed := create(page)
			picture, failedToo := create(svg)
			if err := cmp.Or(err, failed, failedToo); err != nil {
				return err
			}
			found, err := proxybench.Run(c.Context(), o)
			if found == nil {
				return err
			}
			found.Command = commandLine(c)
			// What was measured before an interrupt is worth showing.
			return errors.Join(err, found.WriteText(c.OutOrStdout()),
				fill(samples, func(w io.Writer) error { return report.WriteJSON(w, found) }),
				fill(pageFile, found.Page().Write), fill(picture, found.Chart().WriteSVG))
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
	for _, name := range proxybench.Programs {
		paths[name] = f.String(name, "", "binary of "+name+" (default: in PATH, else it is left out)")
	}
	f.StringVar(&jsonPath, "json", "", "write every sample to this file")
	f.StringVar(&page, "report", "", "write a page with all figures to this `file`, to be shown to others")
	f.StringVar(&svg, "svg", "", "draw the costs of all peers beside edge's into this `file`")
	return c
}

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

func newSelf() *cobra.Command {
	var o proxybench.SelfOptions
	var show showFlags
	var rate string
	var names, kinds []string
	for _, k := range proxybench.SelfKinds {
		names = append(names, k.Name)
		kinds = append(kinds, fmt.Sprintf("  %-4s %s", k.Name, k.What))
	}
	c := &cobra.Command{
		Use:   "self [" + strings.Join(names, "|") + "]",
		Short: "What edge does on this machine: its rate, and how long an answer takes by load, beside the origin's",
		Long: `Start an origin, edge and a load on CPUs of their own, and measure what edge does on this machine.

A closed loop finds how many requests a second edge can do. Open loops at 10, 25, 50, 75 and 90 % of that tell how
long an answer takes; latency counts from the time at which a request was to be sent. The origin is asked the same
without edge, in turn. On one or two CPUs they share them, and the report says so.

` + strings.Join(kinds, "\n"),
		Example: "  edge-bench self h1 --report out.html\n" +
			"  edge-bench self tls -c 64 -d 10s --json > old.json\n" +
			"  edge-bench self tls -c 64 -d 10s --compare old.json\n" +
			"  edge-bench self h2 --cpus-proxy 2,3 --cpus-load 0 --cpus-origin 1",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				o.Kind = args[0]
			}
			if o.Rate, err = parseRate(rate); err != nil {
				return err
			}
			out, err := open(&show, loadreport.Read, nil)
			if err != nil {
				return err
			}
			o.Log, o.Version = c.ErrOrStderr(), version
			r, err := proxybench.RunSelf(c.Context(), o)
			if r == nil || len(r.Rows) == 0 {
				return err
			}
			r.Command = commandLine(c, args...)
			// What was measured before an interrupt is worth showing.
			return errors.Join(err, out.show(c.OutOrStdout(), r))
		},
	}
	f := c.Flags()
	f.IntVarP(&o.Connections, "connections", "c", 0, "connections (default 100, of HTTP/2 16)")
	f.DurationVarP(&o.Duration, "duration", "d", 5*time.Second, "measured time of each run; there are 12")
	f.StringVar(&rate, "rate", "", "requests a second of one open loop, like 50k (default: shares of the closed one's)")
	f.StringVar(&o.Edge, "edge", "", "edge binary (default: beside edge-bench)")
	f.IntSliceVar(&o.ProxyCPUs, "cpus-proxy", nil, "CPUs of edge, an event loop each (default: half of them)")
	f.IntSliceVar(&o.LoadCPUs, "cpus-load", nil, "CPUs of the load, a thread each (default: a quarter of them)")
	f.IntSliceVar(&o.OriginCPUs, "cpus-origin", nil, "CPUs of the origin, a process each (default: a quarter of them)")
	show.addLoad(c)
	return c
}

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

// hidden returns a command that other commands start.
func hidden(use, short string, run func(c *cobra.Command, args []string) error) *cobra.Command {
	c := command(use, short+", for other commands", run)
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

func newRush() *cobra.Command {
	var addr, flood string
	var window time.Duration
	c := hidden("rush", "Offer a proxy more handshakes than it can compute",
		func(c *cobra.Command, _ []string) error {
			if flood != "" {
				return proxybench.MeasureHellos(c.Context(), addr, flood, window, c.OutOrStdout())
			}
			return proxybench.MeasureOverload(c.Context(), addr, window, c.OutOrStdout())
		})
	c.Flags().StringVar(&addr, "secure", "", "its TLS address")
	c.Flags().StringVar(&flood, "flood", "", "flood it with hellos: what its clients do, and where good clients are")
	c.Flags().DurationVarP(&window, "duration", "d", 2*time.Second, "measured time of each load")
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

func newQUICGo() *cobra.Command {
	var listen, cert, key string
	c := command("quic-go", "Answer over HTTP/3 by quic-go, as the origin does",
		func(c *cobra.Command, _ []string) error {
			return proxybench.ServeQUICGo(c.Context(), listen, cert, key)
		})
	c.Flags().StringVar(&listen, "listen", anyLoopbackPort, "address")
	c.Flags().StringVar(&cert, "cert", "", "certificate, a file of PEM")
	c.Flags().StringVar(&key, "key", "", "its key")
	return c
}

func newAwake() *cobra.Command {
	return hidden("awake", "Keep a CPU from sleeping", func(c *cobra.Command, _ []string) error {
		return proxybench.KeepAwake(c.Context())
	})
}
