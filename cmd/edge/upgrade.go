package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server/process"
	"github.com/edge-proxy/edge/server/process/pidfile"
)

func newUpgrade() *cobra.Command {
	var c control
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "upgrade [BIN]",
		Short: "Have the running process hand over to a new program, and wait until that serves",
		Long: "Have the running process hand over to the program BIN, or to the one it was started with as its file " +
			"is now, and wait until the new process serves. No connection is refused and no request is lost. When " +
			"the new program cannot serve, the old process goes on as if nothing had happened.\n\nThe process is " +
			"found by upgrade_sock of the configuration, which is looked for as edge run does it; without that key " +
			"by pid_file, and then it is told by SIGUSR2.\n\nExit codes: 0 the new process serves, 1 the old one " +
			"goes on.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage{cmd, fmt.Errorf("%s takes one program, got %q and %q", cmd.CommandPath(), args[0],
					args[1])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			bin := ""
			if len(args) > 0 {
				var err error
				if bin, err = filepath.Abs(args[0]); err != nil {
					return err
				}
			}
			return c.upgrade(cmd.OutOrStdout(), bin, asJSON)
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func upgradeFlag(f *pflag.FlagSet, upgrade *bool) {
	f.BoolVarP(upgrade, "upgrade", "u", false, "take over from the process that listens at upgrade_sock")
}

// upgrade asks the running process, and prints what it says.
func (c *control) upgrade(out io.Writer, bin string, asJSON bool) error {
	step := func(text string) { fmt.Fprintln(out, "edge:", text) }
	if asJSON {
		step = func(string) {}
	}
	pid, err := c.renew(bin, step)
	if asJSON {
		done := map[string]any{"upgraded": err == nil}
		if err != nil {
			done["reason"] = err.Error()
		} else {
			done["pid"] = pid
		}
		if failed := printJSON(out, done); failed != nil {
			return failed
		}
		if err != nil {
			return exit(exitError)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("not upgraded, the old process serves on: %w", err)
	}
	_, err = fmt.Fprintf(out, "edge: upgraded: process %d serves\n", pid)
	return err
}

var errBinNeedsSocket = errors.New("the configuration has no upgrade_sock, by which a program is named: put the new " +
	"one in the place of the old one, and type edge upgrade without it")

// renew upgrades by upgrade_sock, else by a signal.
func (c *control) renew(bin string, step func(text string)) (pid int, err error) {
	if c.pidFile != "" {
		return c.renewBySignal(config.Global{}, bin, step)
	}
	path, ignored := c.locate()
	if path == "" {
		return 0, errNoFile
	}
	from := c.sources
	from.textOnly = true
	cfg, report := from.load(path, ignored)
	if !report.OK() {
		return 0, fmt.Errorf("%s has errors: edge check %[1]s shows them", path)
	}
	if cfg.Global.UpgradeSock == "" {
		return c.renewBySignal(cfg.Global, bin, step)
	}
	return process.Upgrade(cfg.Global.FromWorkingDirectory(cfg.Global.UpgradeSock), bin, step)
}

const renewPause = 50 * time.Millisecond

// renewBySignal upgrades by SIGUSR2. Only the pid file tells that it is done.
func (c *control) renewBySignal(g config.Global, bin string, step func(text string)) (pid int, err error) {
	if bin != "" {
		return 0, errBinNeedsSocket
	}
	file := c.pidFile
	if file == "" {
		file = g.PIDFile
	}
	if file == "" {
		return 0, errors.New("the configuration has neither upgrade_sock nor pid_file, which lead to the process: " +
			"find it by pgrep -a edge, and use kill -USR2")
	}
	file = g.FromWorkingDirectory(file)
	old, err := pidfile.Find(file)
	if err != nil {
		return 0, err
	}
	if err := old.Signal(syscall.SIGUSR2); err != nil {
		return 0, err
	}
	step(fmt.Sprintf("process %d starts the new program", old.PID))
	limit := g.UpgradeTimeout + stopMargin
	for begun := time.Now(); time.Since(begun) < limit; time.Sleep(renewPause) {
		if now, err := pidfile.Find(file); err == nil && now.PID != old.PID {
			return now.PID, nil
		}
	}
	return 0, fmt.Errorf("process %d serves still after %v: its error log says why", old.PID, limit)
}
