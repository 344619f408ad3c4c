package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/program"
)

type checkOptions struct {
	sources
	json, strict, connect bool
	acme                  string
}

func newCheck() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:     "check [FILE]",
		Aliases: []string{"validate", "test"},
		Short:   "Read the configuration and say what is wrong with it",
		Long: "Read the configuration and say what is wrong with it. Nothing is started and no address is opened. " +
			"Where the configuration has lockdown, it lists what the process may reach then.\n\n" +
			"Exit codes: 0 it is right, 1 it has errors, 2 it has warnings and --strict was given.",
		Args: o.argument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.acme == "" && cmd.Flags().Changed("acme") {
				return errors.New("--acme= names no authority")
			}
			return check(cmd.OutOrStdout(), cmd.ErrOrStderr(), o)
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print findings as JSON, see docs/commands.md")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "exit with 2 when there are warnings")
	cmd.Flags().BoolVar(&o.connect, "connect", false,
		"try the servers that get logs, traces and events: OpenTelemetry, syslog, Sentry")
	cmd.Flags().StringVar(&o.acme, "acme", "", "try to get certificates from a staging authority, or from the one at "+
		"`URL` (--acme=URL), see docs/acme.md")
	cmd.Flags().Lookup("acme").NoOptDefVal = program.Staging
	return cmd
}

var errNoFile = errors.New("no configuration: there is no " + placesText + "; name one with -c")

// check reads the configuration, prints what it found and returns the exit code.
func check(out, problems io.Writer, o checkOptions) error {
	from := o.program()
	if from.Conf == "" {
		return errNoFile
	}
	return o.newProgram(from).Check(program.CheckOptions{JSON: o.json, Strict: o.strict, Connect: o.connect,
		ACME: o.acme, Out: out, Problems: problems})
}

// printJSON prints v for a program.
func printJSON(w io.Writer, v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(printable.JSON(text.Bytes()))
	return err
}
