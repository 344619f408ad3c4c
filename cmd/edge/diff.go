package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// exitDiffers is the exit code of edge diff where something changes.
const exitDiffers = 3

func newDiff() *cobra.Command {
	var a asking
	var old string
	cmd := &cobra.Command{
		Use:   "diff [FILE | OLD NEW]",
		Short: "Say what a reload would change, and which connections it touches",
		Long: "Say what a reload would change: entries that are added (+), removed (-) and changed (~), by which " +
			"keys, and which connections that touches. Values are not shown. The running process compares what it " +
			"serves with its files. With two files, the first one is compared with the second one, and no process " +
			"is asked.\n\nExit codes: 0 nothing changes, 3 something does, 1 a file has errors, or there is no " +
			"process.\n\n" + asksText,
		Example: "  edge diff\n  edge diff /etc/edge/edge.toml new.toml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && a.conf == "" {
				old, a.conf = args[0], args[1]
				return nil
			}
			return a.argument(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if old != "" {
				return a.diffFiles(cmd.OutOrStdout(), cmd.ErrOrStderr(), old, a.conf)
			}
			return a.diff(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	a.flags(cmd)
	return cmd
}

// diff asks the process what a reload would change.
func (a *asking) diff(out, problems io.Writer) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := a.servesFile(c); err != nil {
		return err
	}
	var plan admin.Plan
	if err := c.Patient().Do(context.Background(), "GET", "/v1/diff", nil, &plan); err != nil {
		return err
	}
	if plan.Applicable {
		return a.printDiff(out, &plan.Diff)
	}
	if a.json {
		err = printJSON(out, &plan)
	} else {
		printFindings(problems, plan.Findings)
	}
	return cmp.Or[error](err, exit(exitError))
}

// servesFile returns an error where a file was named that the process of c does not serve.
func (a *asking) servesFile(c *admin.Client) error {
	if a.conf == "" {
		return nil
	}
	var st admin.Status
	if err := c.Do(context.Background(), "GET", "/v1/status", nil, &st); err != nil {
		return err
	}
	if full, err := filepath.Abs(a.conf); err != nil || full != st.Configuration.File {
		return fmt.Errorf("the process %d serves %s, not %s: edge diff OLD NEW compares two files", st.PID,
			cmp.Or(st.Configuration.File, "no file"), a.conf)
	}
	return nil
}

func (a *asking) diffFiles(out, problems io.Writer, old, next string) error {
	var both [2]*config.Config
	for i, path := range []string{old, next} {
		from := sources{set: a.set, textOnly: true}
		cfg, report := from.load(path, nil)
		if !report.OK() {
			err := report.Render(problems)
			if err == nil && a.json {
				err = printJSON(out, &admin.Plan{Findings: problemsOf(report)})
			}
			return cmp.Or[error](err, exit(exitError))
		}
		both[i] = cfg
	}
	d := changes.Of(both[0], both[1])
	return a.printDiff(out, &d)
}

func (a *asking) printDiff(out io.Writer, d *changes.Diff) error {
	var err error
	if a.json {
		err = printJSON(out, d)
	} else {
		var text strings.Builder
		if err = d.Render(&text); err == nil {
			_, err = io.WriteString(out, printable.Text(text.String()))
		}
	}
	if err == nil && !d.Empty() {
		return exit(exitDiffers)
	}
	return err
}
