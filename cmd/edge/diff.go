package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server/changes"
)

// exitDiffers is the exit code of edge diff where something changes.
const exitDiffers = 3

// diffOptions are the flags of edge diff.
type diffOptions struct {
	set  []string
	json bool
}

func newDiff() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say what a reload would change, and which connections it touches",
		Long: "Say what a reload from one configuration file to another would change: entries that are added (+), " +
			"removed (-) and changed (~), by which keys, and which connections that touches. Values are not shown. " +
			"Nothing is opened but the files.\n\n" +
			"Exit codes: 0 nothing changes, 3 something does, 1 a file has errors.",
		Example: "  edge diff /etc/edge/edge.toml edge.toml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage{cmd, fmt.Errorf("%s takes two files, got %d", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.files(cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], args[1])
		},
	}
	cmd.Flags().StringArrayVar(&o.set, "set", nil, "`key=value` that beats both files; repeatable")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON, see docs/operations.md")
	return cmd
}

// files compares two files.
func (o *diffOptions) files(out, problems io.Writer, old, next string) error {
	var both [2]*config.Config
	for i, path := range []string{old, next} {
		from := sources{set: o.set, textOnly: true}
		cfg, report := from.load(path, nil)
		if !report.OK() {
			if err := report.Render(problems); err != nil {
				return err
			}
			return exit(exitError)
		}
		both[i] = cfg
	}
	d := changes.Of(both[0], both[1])
	return o.print(out, &d)
}

// print prints d, and returns the exit code.
func (o *diffOptions) print(out io.Writer, d *changes.Diff) error {
	var err error
	if o.json {
		err = printJSON(out, d)
	} else {
		err = d.Render(out)
	}
	if err == nil && !d.Empty() {
		return exit(exitDiffers)
	}
	return err
}
