package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/server/admin"
)

func newRollback() *cobra.Command {
	var a asking
	var list bool
	var ask admin.Rollback
	cmd := &cobra.Command{
		Use:   "rollback [N]",
		Short: "Apply an earlier configuration again",
		Long: "Apply an earlier configuration again, from the texts that the process has kept: version N, or the " +
			"last one before that in force. The files stay as they are, and the next reload applies them.\n\n" +
			"Exit codes: 0 it was applied, 1 nothing has changed.\n\n" + asksText,
		Example: "  edge rollback --list\n  edge rollback\n  edge rollback 12",
		Args: func(cmd *cobra.Command, args []string) (err error) {
			switch {
			case len(args) > 1 || list && len(args) > 0:
				return usage{cmd, fmt.Errorf("%s takes one version", cmd.CommandPath())}
			case len(args) == 0:
				return nil
			}
			if ask.Version, err = strconv.Atoi(args[0]); err != nil || ask.Version < 1 {
				return usage{cmd, fmt.Errorf("%s takes the number of a version, got %q: --list shows them",
					cmd.CommandPath(), args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return a.versions(cmd.OutOrStdout())
			}
			return a.rollback(cmd.OutOrStdout(), cmd.ErrOrStderr(), &ask)
		},
	}
	a.flags(cmd)
	cmd.Flags().BoolVar(&list, "list", false, "list the versions that are kept")
	return cmd
}

func (a *asking) versions(out io.Writer) error {
	return tell(a, out, "GET", "/v1/versions", nil, func(w io.Writer, list *admin.List[admin.Version]) {
		fmt.Fprintln(w, "VERSION\tAPPLIED\tBY\tFILES\tBYTES")
		for _, v := range list.Items {
			number := strconv.Itoa(v.Version)
			if v.InForce {
				number += " *"
			}
			printable.Printf(w, "%s\t%s\t%s\t%d\t%d\n", number, v.Applied.Local().Format(time.DateTime), v.Cause,
				len(v.Files), v.Bytes)
		}
	})
}

// rollback asks the process to apply an earlier configuration.
func (a *asking) rollback(out, problems io.Writer, ask *admin.Rollback) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	done, err := a.reloadBy(c, "/v1/rollback", ask, out, problems)
	if err == nil && done.Differs && !a.json {
		fmt.Fprintln(problems, "edge: the files on the disk differ: the next reload applies them")
	}
	return err
}
