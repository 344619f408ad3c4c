package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process"
)

// places are where a configuration is looked for when none is named.
var places = []string{"edge.toml", "edge.yaml", "/etc/edge/edge.toml"}

const placesText = "./edge.toml, ./edge.yaml, /etc/edge/edge.toml"

// sources are the flags that say where the configuration comes from.
type sources struct {
	conf string
	set  []string
	dir  string // where the process was started, when it has left that folder; else ""

	daemon bool
}

func (s *sources) flags(f *pflag.FlagSet) {
	confFlag(f, &s.conf)
	f.StringArrayVar(&s.set, "set", nil, "`key=value` that beats the file, as in --set http.listen=:8081; repeatable")
}

func confFlag(f *pflag.FlagSet, conf *string) {
	f.StringVarP(conf, "conf", "c", "", "configuration `file`; without it the first of "+placesText)
}

func daemonFlag(f *pflag.FlagSet, daemon *bool) {
	f.BoolVarP(daemon, "daemon", "d", false, "serve in the background; return when it serves")
}

func newRun() *cobra.Command {
	var from sources
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve what the configuration says",
		Long: "Serve what the configuration says, in the foreground unless -d or daemon = true is given. Without a " +
			"file it answers with a hello page on :8080.\n\nSIGHUP reads the files again, SIGUSR1 opens the logs " +
			"again, SIGTERM and SIGQUIT let requests end within grace_period, SIGINT stops at once.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runConfig(from) },
	}
	from.flags(cmd.Flags())
	daemonFlag(cmd.Flags(), &from.daemon)
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

// load reads the file at path and what the command line sets. Without a file it is the configuration of the hello
// page.
func (s *sources) load(path string) (*config.Config, *config.Report) {
	o := config.Options{Set: s.set, Dir: s.dir}
	if s.daemon {
		o.Set = append(slices.Clip(o.Set), "daemon=true")
	}
	if path == "" {
		return o.Parse("(no file)", []byte("allow = [\"no-listener\"]"))
	}
	return o.Load(path)
}

// runConfig serves until a signal comes.
func runConfig(from sources) error {
	signals := process.NewSignals() // Run obeys a SIGHUP that comes while the files are read
	path := locate(from.conf)
	cfg, report := from.load(path)
	if !process.Detached() || !report.OK() {
		_ = report.Render(stderr) // a warning that cannot be printed does not keep edge from serving
	}
	if !report.OK() {
		return exit(exitError)
	}
	if cfg.Global.WorkingDirectory != "" && path != "" { // a reload reads the same files
		var err error
		if from.dir, err = os.Getwd(); err != nil {
			return err
		}
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
	}
	o := process.Options{Started: func(s *server.Server) { sayHello(s, cfg) }, Signals: signals}
	if path != "" {
		o.Load = func() (*config.Config, *config.Report) { return from.load(path) }
	}
	return process.Run(cfg, o)
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
	if a.Addr.IP.Addr().IsUnspecified() {
		return fmt.Sprintf("%s://localhost:%d/", scheme, a.Addr.IP.Port())
	}
	return fmt.Sprintf("%s://%s/", scheme, a.Addr.IP)
}
