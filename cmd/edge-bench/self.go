package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/loadreport"
	"github.com/edge-proxy/edge/bench/proxybench"
)

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
