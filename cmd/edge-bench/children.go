package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/bench/floor"
	"github.com/edge-proxy/edge/bench/origin"
	"github.com/edge-proxy/edge/bench/proxybench"
	"github.com/edge-proxy/edge/bench/rawio"
)

const anyLoopbackPort = "127.0.0.1:0"

func newOrigin() *cobra.Command {
	var listen, counterPath string
	c := command("origin", "Serve the static answers behind the proxies", func(c *cobra.Command, _ []string) error {
		counter, err := origin.OpenCounter(counterPath)
		if err != nil {
			return err
		}
		s, err := origin.New(listen, counter)
		if err != nil {
			return err
		}
		return serve(c.Context(), s)
	})
	c.Flags().StringVar(&listen, "listen", anyLoopbackPort, "address")
	c.Flags().StringVar(&counterPath, "counter", "", "file whose first 8 bytes count the requests")
	return c
}

func newFloor() *cobra.Command {
	var o floor.Options
	c := command("floor", "Relay bytes and understand nothing: the least a proxy can cost",
		func(c *cobra.Command, _ []string) error {
			r, err := floor.New(o)
			if err != nil {
				return err
			}
			return serve(c.Context(), r)
		})
	c.Flags().StringVar(&o.Listen, "listen", anyLoopbackPort, "address")
	c.Flags().StringVar(&o.Origin, "origin", "", "address to relay to")
	c.Flags().StringVar((*string)(&o.Park), "park", string(rawio.ParkRuntime), "where it sleeps: runtime, syscall")
	return c
}

// service is what origin and floor have in common.
type service interface {
	Addr() string
	Serve() error
	Stop()
	Close()
}

func serve(ctx context.Context, s service) error {
	defer s.Close()
	defer context.AfterFunc(ctx, s.Stop)()
	_, _ = fmt.Fprintln(os.Stderr, "listening on", s.Addr())
	return s.Serve()
}

func newPeer() *cobra.Command {
	var listen, to string
	c := command("peer fasthttp|nethttp", "Run another Go proxy", func(c *cobra.Command, args []string) error {
		return proxybench.ServeGoPeer(c.Context(), args[0], listen, to)
	})
	c.Args, c.ValidArgs = cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), []string{"fasthttp", "nethttp"}
	c.Flags().StringVar(&listen, "listen", anyLoopbackPort, "address")
	c.Flags().StringVar(&to, "origin", "", "address to proxy to")
	return c
}
