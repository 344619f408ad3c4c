package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/cmd/edge/report"
	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process/supervisor"
	"github.com/edge-proxy/edge/internal/server"
)

func newRun() *cobra.Command {
	var from sources
	var stats, asParent bool
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Serve what the configuration says",
		Long: "Serve what the configuration says, in the foreground unless -d or daemon = true is given. Without a " +
			"file it answers with a hello page on :8080.\n\nSIGHUP reads the files again, SIGUSR1 opens the logs " +
			"again, SIGUSR2 hands over to a new process, SIGTERM lets requests end within grace_period, SIGINT stops " +
			"at once. SIGQUIT is SIGTERM, or with upgrade_sock waits for a process with --upgrade.",
		Example: "  edge run\n  edge run edge.toml\n  edge run -d -c /etc/edge/edge.toml\n" +
			"  edge run edge.toml --watch\n  edge run edge.toml --set http.listen=:8081",
		Args: from.argument,
		RunE: func(*cobra.Command, []string) error {
			if asParent {
				return supervised(from)
			}
			return runConfig(from, stats)
		},
	}
	from.flags(cmd.Flags())
	daemonFlag(cmd.Flags(), &from.daemon)
	upgradeFlag(cmd.Flags(), &from.upgrade)
	cmd.Flags().BoolVar(&from.watch, "watch", false, "reload when a file changes, and print what that changes")
	statsFlag(cmd.Flags(), &stats)
	superviseFlag(cmd.Flags(), &asParent)
	return cmd
}

func statsFlag(f *pflag.FlagSet, stats *bool) {
	f.BoolVar(stats, "stats", false, "log all counters at the end")
}

func superviseFlag(f *pflag.FlagSet, supervise *bool) {
	f.BoolVar(supervise, "supervise", false,
		"start edge as a child, hand signals on to it and collect orphans: for process 1 of a container")
}

func supervised(from sources) error {
	if from.daemon {
		return usage{nil, errors.New("--supervise stays in the foreground, --daemon does not: leave one of them out")}
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool {
		return arg == "--supervise" || strings.HasPrefix(arg, "--supervise=")
	})
	code, err := supervisor.Run(args)
	if err != nil {
		return err
	}
	return exit(code)
}

// runConfig serves until a signal comes.
func runConfig(from sources, stats bool) error {
	o := from.program()
	if o.Conf == "" && from.watch {
		fmt.Fprintln(stderr, "edge: there is no configuration file yet, so --watch has nothing to watch")
	}
	reporter := report.New(build.Version())
	defer reporter.Close()
	o.Log, o.Server.Prepare = reporter.Handler(), reporter.Prepare
	o.Stats, o.Started = stats, func(s *server.Server, cfg *config.Config) {
		reporter.Serve(s)
		sayHello(s, cfg)
	}
	return from.newProgram(o).Run()
}

// sayHello prints where the hello page is, for a first start without a configuration.
func sayHello(s *server.Server, cfg *config.Config) {
	if cfg.Fallback.Kind != config.DestHello {
		return
	}
	for _, a := range s.Addresses() {
		fmt.Fprintf(stderr, "edge: nothing is configured yet, so here is a hello page: %s\n", urlOf(a))
	}
}

// urlOf returns a URL for an address that the server listens on, for use on this machine.
func urlOf(a server.Address) string {
	scheme := "http"
	if a.TLS {
		scheme = "https"
	}
	if a.Addr.IsUnix() {
		return a.Addr.String()
	}
	return localURL(scheme, a.Addr.IP)
}

// localURL returns the URL of an address for use on this machine.
func localURL(scheme string, a netip.AddrPort) string {
	if a.Addr().IsUnspecified() {
		return fmt.Sprintf("%s://localhost:%d/", scheme, a.Port())
	}
	return fmt.Sprintf("%s://%s/", scheme, a)
}
