package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/server/explain"
)

// explainOptions are the flags of edge explain.
type explainOptions struct {
	sources
	ask    explain.Ask
	client string
	json   bool
}

func newExplain() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Say what becomes of a request, and why",
		Long: "Say which listener and which route of the configuration take a request, why no other one does, what " +
			"happens to it on the way, and where it goes. Nothing is sent and no address is opened.\n\n" +
			"Exit codes: 0 it is explained, whatever becomes of the request, 1 the configuration has errors.",
		Example: "  edge explain http://localhost:8080/api\n" +
			"  edge explain https://example.com/login -X POST -H 'X-Beta: 1' -c /etc/edge/edge.toml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage{cmd, fmt.Errorf("%s takes one URL, got %d", cmd.CommandPath(), len(args))}
			}
			o.ask.URL = args[0]
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	o.flags(f)
	f.StringVarP(&o.ask.Method, "request", "X", "", "the `method`, GET unless given")
	f.StringArrayVarP(&o.ask.Fields, "header", "H", nil, "a `field` of the request, as in -H 'X-Beta: 1'; repeatable")
	f.StringVar(&o.client, "client-ip", "", "the `address` of the client, 192.0.2.1 unless given")
	f.BoolVar(&o.json, "json", false, "print JSON, see docs/explain.md")
	return cmd
}

var errClientIP = errors.New("--client-ip takes an IP address")

// run reads the configuration and explains.
func (o *explainOptions) run(cmd *cobra.Command) error {
	if o.client != "" {
		ip, err := netip.ParseAddr(o.client)
		if err != nil {
			return usage{cmd, fmt.Errorf("%w, not %q", errClientIP, o.client)}
		}
		o.ask.Client = ip
	}
	path, ignored := o.locate()
	o.textOnly, o.places = true, true
	cfg, report := o.load(path, ignored)
	if !report.OK() {
		if err := report.Render(cmd.ErrOrStderr()); err != nil {
			return err
		}
		return exit(exitError)
	}
	answer, err := explain.Explain(cfg, &o.ask)
	if err != nil {
		return usage{cmd, err}
	}
	return o.print(cmd.OutOrStdout(), answer)
}

func (o *explainOptions) print(w io.Writer, a *explain.Answer) error {
	if o.json {
		return printJSON(w, a)
	}
	return a.WriteText(w)
}
