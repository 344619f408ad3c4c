package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/printable"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process/lockdown"
	"github.com/edge-proxy/edge/server/process/versions"
)

type checkOptions struct {
	sources
	json, strict bool
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
		RunE: func(cmd *cobra.Command, _ []string) error { return check(cmd.OutOrStdout(), cmd.ErrOrStderr(), o) },
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print findings as JSON, see docs/operations.md")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "exit with 2 when there are warnings")
	return cmd
}

var errNoFile = errors.New("no configuration: there is no " + placesText + "; name one with -c")

// check reads the configuration, prints what it found and returns the exit code.
func check(out, problems io.Writer, o checkOptions) error {
	path, ignored := o.locate()
	if path == "" {
		return errNoFile
	}
	files := &config.Files{}
	o.reading.Record, o.filters = files, true
	cfg, report := o.load(path, ignored)
	limits, err := lockdownOf(cfg, report, files)
	if err != nil {
		return err
	}
	if err := show(out, problems, o, cfg, report); err != nil {
		return err
	}
	if !o.json && report.OK() {
		for _, line := range limits {
			fmt.Fprintln(out, "locked down it may "+line)
		}
	}
	switch {
	case !report.OK():
		return exit(exitError)
	case o.strict && len(report.Warnings) > 0:
		return exit(exitWarnings)
	}
	return nil
}

// lockdownOf returns what a process that is locked down could reach; nothing where cfg asks for no lockdown. An upgrade
// runs this command to check a program, and the command then inherits the lockdown: a file out of reach is an error.
func lockdownOf(cfg *config.Config, report *config.Report, files *config.Files) ([]string, error) {
	lock, err := lockdown.Inherited()
	if err != nil {
		return nil, err
	}
	if lock == nil && (!report.OK() || cfg.Global.Lockdown == config.LockdownOff) {
		return nil, nil
	}
	var needs *lockdown.Needs
	if report.OK() {
		program, _ := os.Executable()             // "": it cannot be started again
		state, _ := server.StateDir(os.Geteuid()) // "": only an internal authority needs one
		needs = lockdown.Of(lockdown.Options{Config: cfg, Files: files, Program: program, StateDir: state,
			Versions: versions.Dir(&cfg.Global)})
	}
	if lock != nil {
		lock.Judge(report, needs, true)
		return nil, nil
	}
	if err := lockdown.Missing(); err != nil && cfg.Global.Lockdown == config.LockdownStrict {
		report.Errors = append(report.Errors, config.Problem{Pos: config.Pos{File: files.Main},
			Severity: config.SeverityError, Message: fmt.Sprintf("lockdown = \"strict\": %v", err)})
	}
	return needs.Rules().Lines(), nil
}

// show prints the report, and a summary of a configuration that has no errors.
func show(out, problems io.Writer, o checkOptions, cfg *config.Config, report *config.Report) error {
	if o.json {
		_, err := out.Write(report.JSON())
		return err
	}
	if err := report.Render(problems); err != nil || !report.OK() {
		return err
	}
	_, err := fmt.Fprintln(out, cfg.Summary())
	return err
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
