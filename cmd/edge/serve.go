package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/config"
)

func newServe() *cobra.Command {
	var listen string
	var stats bool
	cmd := &cobra.Command{
		Use:   "serve DIR [--listen :8080]",
		Short: "Serve the files of a folder, without a configuration",
		Long: "Serve the files of a folder, without a configuration: compressed, with lists of folders. Each request " +
			"is a line on stdout.\n\nNames that begin with a dot are not served, nor what a link outside of the " +
			"folder leads to.",
		Example: "  edge serve .\n  edge serve /srv/www --listen 127.0.0.1:3000",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage{cmd, errors.New("edge serve takes one folder: edge serve DIR; " +
					"edge run does what edge.toml says")}
			}
			if info, err := os.Stat(args[0]); err != nil {
				return err
			} else if !info.IsDir() {
				return fmt.Errorf("%s is no folder", args[0])
			}
			cfg, report := config.Parse("the command line", fmt.Appendf(nil, serveConfig, local4(listen), args[0]))
			if !report.OK() {
				return usage{cmd, fmt.Errorf("%s", aboutFlag(&report.Errors[0]))}
			}
			return serveNow(cfg, stats, args[0])
		},
	}
	cmd.Flags().StringVar(&listen, "listen", ":8080", "`address` to listen on")
	statsFlag(cmd.Flags(), &stats)
	return cmd
}

// serveConfig is the configuration that edge serve stands for.
const serveConfig = `
[global]
grace_period = "5s"

[log]
format = "common"

[http]
listen = %q

[filters.small]
type = "compress"

[defaults]
filters = ["small"]

[destinations.files]
type    = "static"
root    = %q
listing = true

[[routes]]
pattern = "/*"
dest    = "files"
`
