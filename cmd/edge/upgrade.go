package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/internal/base/pidfile"
	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process"
	"github.com/edge-proxy/edge/internal/server/admin"
)

func newUpgrade() *cobra.Command {
	var a asking
	var ask admin.Upgrade
	var key string
	cmd := &cobra.Command{
		Use:   "upgrade [BIN]",
		Short: "Have the running process hand over to a new program, and wait until that serves",
		Long: "Have the running process hand over to the program BIN, or to the one it was started with as its file " +
			"is now, and wait until the new process serves. No connection is refused and no request is lost. When " +
			"the new program cannot serve, the old process goes on as if nothing had happened.\n\nThe process is " +
			"asked by upgrade_sock of the configuration, which is looked for as edge run does it; without that key, " +
			"and with --admin, over its admin surface; where there is none, it is found by pid_file and told by " +
			"SIGUSR2.\n\nExit codes: 0 the new process serves, 1 the old one goes on.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage{cmd, fmt.Errorf("%s takes one program, got %q and %q", cmd.CommandPath(), args[0],
					args[1])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			// A script whose variable for the key is empty must not start an unsigned program.
			if cmd.Flags().Changed("verify") && (key == "" || len(args) == 0) {
				return usage{cmd, errors.New("--verify needs a key, and the program, BIN")}
			}
			if len(args) > 0 {
				var err error
				if ask.Binary, err = filepath.Abs(args[0]); err != nil {
					return err
				}
			}
			return a.upgrade(cmd.OutOrStdout(), &ask, key)
		},
	}
	a.flags(cmd)
	cmd.Flags().BoolVar(&ask.Now, "now", false, "where processes of two earlier upgrades drain, end the older one")
	cmd.Flags().BoolVar(&ask.Force, "force", false, "take the files where they differ from the configuration that "+
		"runs, as after a rollback")
	cmd.Flags().StringVar(&key, "verify", "", "refuse BIN unless BIN.minisig is its signature by this public key of "+
		"minisign, or by the key in this file")
	return cmd
}

func upgradeFlag(f *pflag.FlagSet, upgrade *bool) {
	f.BoolVarP(upgrade, "upgrade", "u", false, "take over from the process that listens at upgrade_sock")
}

// upgrade asks the running process, and prints what it says. Where key is not "", the program has to be signed by it.
func (a *asking) upgrade(out io.Writer, ask *admin.Upgrade, key string) error {
	step := func(text string) { fmt.Fprintln(out, "edge:", text) }
	if a.json {
		step = func(string) {}
	}
	pid, err := a.renewSigned(ask, key, step)
	if a.json {
		done := map[string]any{"upgraded": err == nil}
		if err != nil {
			done["reason"] = err.Error()
		} else {
			done["pid"] = pid
		}
		if failed := printJSON(out, done); failed != nil || err == nil {
			return failed
		}
		return exit(exitError)
	}
	if err != nil {
		return fmt.Errorf("not upgraded, the old process serves on: %w", err)
	}
	_, err = fmt.Fprintf(out, "edge: upgraded: process %d serves\n", pid)
	return err
}

// renewSigned is renew with a program that key has signed; with any program where key is "".
func (a *asking) renewSigned(ask *admin.Upgrade, key string, step func(string)) (pid int, err error) {
	if key != "" {
		if err := verify(ask.Binary, key, step); err != nil {
			return 0, err
		}
	}
	return a.renew(ask, step)
}

var errNeedsAnswer = errors.New("the configuration has no upgrade_sock, and there is no admin surface: a signal " +
	"names no program and ends no process. Put the new program in the place of the old one, and type edge upgrade")

// renew upgrades by upgrade_sock, else over the admin surface, else by a signal.
func (a *asking) renew(ask *admin.Upgrade, step func(text string)) (pid int, err error) {
	if a.elsewhere() {
		client, err := a.client()
		if err != nil {
			return 0, err
		}
		return renewBy(client, ask, step)
	}
	if a.pidFile != "" {
		return a.renewBySignal(config.Global{}, ask, step)
	}
	path, ignored := a.locate()
	if path == "" {
		return 0, errNoFile
	}
	from := a.sources
	from.textOnly = true
	cfg, report := from.load(path, ignored)
	if !report.OK() {
		return 0, fmt.Errorf("%s has errors: edge check %[1]s shows them", path)
	}
	if socket := cfg.Global.UpgradeSock; socket != "" {
		return process.Upgrade(cfg.Global.FromWorkingDirectory(socket), ask, step)
	}
	client, err := a.clientFor(path, cfg, true)
	if err == nil {
		pid, err = renewBy(client, ask, step)
	}
	if isUnknown(err) {
		return a.renewBySignal(cfg.Global, ask, step)
	}
	return pid, err
}

// renewBy upgrades the process of client. It prints the steps at the end, because the answer comes in one piece.
func renewBy(client *admin.Client, ask *admin.Upgrade, step func(text string)) (pid int, err error) {
	step("asking at " + client.Address() + ", which takes as long as the new process needs")
	var done admin.Upgraded
	if err := client.Patient().Do(context.Background(), "POST", "/v1/upgrade", ask, &done); err != nil {
		return 0, err
	}
	for _, text := range done.Steps {
		step(printable.Word(text))
	}
	if !done.Upgraded {
		return 0, errors.New(done.Reason)
	}
	return done.PID, nil
}

const renewPause = 50 * time.Millisecond

// renewBySignal upgrades by SIGUSR2. Only the pid file tells that it is done.
func (a *asking) renewBySignal(g config.Global, ask *admin.Upgrade, step func(text string)) (pid int, err error) {
	if *ask != (admin.Upgrade{}) {
		return 0, errNeedsAnswer
	}
	file := cmp.Or(a.pidFile, g.PIDFile)
	if file == "" {
		return 0, errors.New("the configuration has neither upgrade_sock nor pid_file nor [admin], which lead to the " +
			"process: find it by pgrep -a edge, and use kill -USR2")
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
