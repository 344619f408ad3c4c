package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/server/explain"
	"github.com/edge-proxy/edge/lang"
)

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
		Short: "Say where a request goes, and why",
		Long: "Say which listener and which route of the configuration take a request, why no other one does, what " +
			"happens to it on the way, and where it goes; of tcp://HOST:PORT, the same for a connection to a TCP " +
			"service. Nothing is sent and no address is opened.\n\n" +
			"Exit codes: 0 it is explained, whatever becomes of the request, 1 the configuration has errors.",
		Example: "  edge explain http://localhost:8080/api\n" +
			"  edge explain https://example.com/login -d user=me -H 'X-Beta: 1' -c /etc/edge/edge.toml\n" +
			"  edge explain tcp://db.example.com:5432 --client-ip 10.0.0.9",
		Args: oneArgument("URL", "", &o.ask.URL),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	o.flags(f)
	askFlags(f, &o.ask, &o.client)
	f.BoolVar(&o.json, "json", false, "print JSON, see docs/explain.md")
	return cmd
}

// askFlags are the flags that say what is asked for beside its URL.
func askFlags(f *pflag.FlagSet, ask *explain.Ask, client *string) {
	f.StringVarP(&ask.Method, "request", "X", "", "the `method`, GET unless given")
	f.StringArrayVarP(&ask.Fields, "header", "H", nil, "a `field` of the request, as in -H 'X-Beta: 1'; repeatable")
	f.StringVarP(&ask.Body, "data", "d", "", "the `body` of the request, whose method is POST then unless given")
	f.StringVar(client, "client-ip", "", "the `address` of the client, 192.0.2.1 unless given")
}

var errClientIP = errors.New("--client-ip takes an IP address")

// askClient takes the address of the client, if one is given.
func askClient(ask *explain.Ask, client string) (err error) {
	if client == "" {
		return nil
	}
	if ask.Client, err = netip.ParseAddr(client); err != nil {
		return fmt.Errorf("%w, not %q", errClientIP, client)
	}
	return nil
}

// newStopwatch returns what measures the parts of conditions, for 20 ms all together.
func newStopwatch() *lang.Stopwatch {
	begin := time.Now()
	return &lang.Stopwatch{Left: 20 * time.Millisecond, Now: func() time.Duration { return time.Since(begin) }}
}

func (o *explainOptions) run(cmd *cobra.Command) error {
	if err := askClient(&o.ask, o.client); err != nil {
		return usage{cmd, err}
	}
	path, ignored := o.locate()
	o.textOnly, o.places, o.tables = true, true, language.NewTables()
	cfg, report := o.load(path, ignored)
	if !report.OK() {
		return cmp.Or[error](report.Render(cmd.ErrOrStderr()), exit(exitError))
	}
	cfg.Language.Commit()
	o.ask.Stopwatch = newStopwatch()
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
