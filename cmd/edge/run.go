package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

// places are where a configuration is looked for when none is named.
var places = []string{"edge.toml", "/etc/edge/edge.toml"}

func confFlag(f *pflag.FlagSet, conf *string) {
	f.StringVarP(conf, "conf", "c", "", "configuration `file`; without it ./edge.toml, then /etc/edge/edge.toml")
}

func newRun() *cobra.Command {
	var conf string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve what the configuration says, in the foreground",
		Long: "Serve what the configuration says, in the foreground. Without a file it answers with a hello page on " +
			":8080.\n\nSIGHUP reads the file again, SIGUSR1 opens the logs again, SIGTERM and SIGQUIT let requests " +
			"end within grace_period, SIGINT stops at once.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runConfig(conf) },
	}
	confFlag(cmd.Flags(), &conf)
	return cmd
}

// locate returns the configuration file to use, "" when there is none.
func locate(conf string) string {
	if conf != "" {
		return conf
	}
	for _, place := range places {
		if _, err := os.Stat(place); !errors.Is(err, fs.ErrNotExist) {
			return place
		}
	}
	return ""
}

func load(path string) (*config.Config, *config.Report) {
	if path == "" {
		return config.Parse("(no file)", []byte("allow = [\"no-listener\"]"))
	}
	return config.Load(path)
}

// runConfig serves until a signal comes.
func runConfig(conf string) error {
	path := locate(conf)
	cfg, report := load(path)
	if err := report.Render(os.Stderr); err != nil || !report.OK() {
		return exit(exitError)
	}
	o := server.RunOptions{Started: func(s *server.Server) { sayHello(s, cfg) }}
	if path != "" {
		o.Load = func() (*config.Config, *config.Report) { return config.Load(path) }
	}
	return server.Run(cfg, o)
}

// sayHello prints where the hello page is, for whoever has just begun.
func sayHello(s *server.Server, cfg *config.Config) {
	if cfg.Fallback.Kind != config.DestHello {
		return
	}
	for _, a := range s.Addresses() {
		fmt.Fprintf(os.Stderr, "edge: nothing is configured yet, so here is a hello page: %s\n", urlOf(a))
	}
}

// urlOf returns the URL under which an address of ours can be asked from this machine.
func urlOf(a server.Address) string {
	if a.Addr.IsUnix() {
		return a.Addr.String()
	}
	if a.Addr.IP.Addr().IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d/", a.Addr.IP.Port())
	}
	return fmt.Sprintf("http://%s/", a.Addr.IP)
}
