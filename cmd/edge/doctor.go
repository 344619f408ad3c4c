package main

import (
	"cmp"
	"io"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/doctor"
)

func newDoctor() *cobra.Command {
	var c control
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Look for what is wrong with the machine, and say which line mends it",
		Long: "Look at the machine for what the configuration needs of it: limits, sysctls, addresses, the cgroup, " +
			"clocks, files. Each finding has the line that mends it; nothing is changed. Run it as the user of edge, " +
			"or as root to see the sockets of all users.\n\nExit codes: 0 nothing fails, 1 something does, or the " +
			"configuration has errors.",
		Args: c.argument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.examine(cmd.OutOrStdout(), cmd.ErrOrStderr(), doctor.System{}, asJSON)
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON, see docs/doctor.md")
	return cmd
}

// examine looks at a machine and prints what it found.
func (c *control) examine(out, problems io.Writer, host doctor.Host, asJSON bool) error {
	path, ignored := c.locate()
	cfg, report := c.load(path, ignored)
	if report.OK() {
		report.Errors = append(report.Errors, server.CheckState(cfg, "")...)
	}
	if !report.OK() {
		return cmp.Or[error](report.Render(problems), exit(exitError))
	}
	running := 0
	if i, err := c.instance(cfg, path); err == nil {
		running = i.PID
	}
	found := doctor.Examine(host, cfg, running)
	show := found.Render
	if asJSON {
		show = func(out io.Writer) error { return printJSON(out, found) }
	}
	if err := show(out); err != nil || found.OK() {
		return err
	}
	return exit(exitError)
}
