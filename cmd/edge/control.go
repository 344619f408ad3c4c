package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/pidfile"
	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// control finds the process that serves a configuration, by its pid file.
type control struct {
	sources
	pidFile string // instead of the configuration's
}

func (c *control) flags(cmd *cobra.Command) {
	c.sources.flags(cmd.Flags())
	cmd.Flags().StringVar(&c.pidFile, "pid-file", "", "the pid `file`, instead of the configuration's")
}

const findsText = asksText + " Where there is no admin surface the process is found by the pid_file of the " +
	"configuration."

func newReload() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "reload [FILE]",
		Short: "Check the configuration and let the running process apply it",
		Long: "Check the configuration and let the running process apply it. With errors nothing changes, and the " +
			"exit code is 1. Without an admin surface it is done by SIGHUP: what was applied is in the error log of " +
			"the process then.\n\n" + findsText,
		Args: a.argument,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.reload(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	a.flags(cmd)
	return cmd
}

func newStop() *cobra.Command {
	var a asking
	var now bool
	cmd := &cobra.Command{
		Use:   "stop [FILE]",
		Short: "End the running process and wait until it has ended",
		Long: "End the running process and wait until it has ended: requests may take grace_period, --now cuts them. " +
			"It is done by SIGTERM or SIGINT where the pid_file names the process, else over the admin surface.\n\n" +
			findsText,
		Args: a.argument,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.stop(cmd.OutOrStdout(), now) },
	}
	a.flags(cmd)
	cmd.Flags().BoolVar(&now, "now", false, "cut requests that are in progress")
	return cmd
}

func newStatus() *cobra.Command {
	var a asking
	var live bool
	cmd := &cobra.Command{
		Use:   "status [FILE]",
		Short: "Say whether it runs, since when and how it does",
		Long: "Say whether it runs, since when and how it does. Without an admin surface it is known that it " +
			"runs.\n\nExit codes: 0 it runs, 1 it does not, or nobody can tell. --live prints nothing, for checks " +
			"of containers.\n\n" + findsText,
		Args: a.argument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if live {
				return a.live()
			}
			return a.status(cmd.OutOrStdout())
		},
	}
	a.flags(cmd)
	cmd.Flags().BoolVar(&live, "live", false, "tell by the exit code alone")
	return cmd
}

var errNoPIDFile = errors.New("no pid_file")

// find returns the running process and its configuration; of a file with errors it is what could be read. Certificates
// are not looked at: a user that ends a process may have no right to read them.
func (c *control) find() (*pidfile.Instance, *config.Config, error) {
	if c.pidFile != "" {
		cfg, _ := config.Parse("(no file)", nil)
		i, err := pidfile.Find(c.pidFile)
		return i, cfg, err
	}
	path, ignored := c.locate()
	if path == "" {
		return nil, nil, errNoFile
	}
	from := c.sources
	from.textOnly, from.partial = true, true
	cfg, report := from.load(path, ignored)
	if !report.OK() && cfg.Global.PIDFile == "" {
		return nil, nil, fmt.Errorf("%s has errors, so its pid_file is not known: edge check %[1]s shows them, "+
			"--pid-file names it", path)
	}
	i, err := c.instance(cfg, path)
	return i, cfg, err
}

// instance returns the running process of cfg, which was read from path: the one of --pid-file, if that was given.
func (c *control) instance(cfg *config.Config, path string) (*pidfile.Instance, error) {
	if c.pidFile != "" {
		return pidfile.Find(c.pidFile)
	}
	pidFile := cfg.Global.PIDFile
	if pidFile == "" {
		return nil, fmt.Errorf("%s has %w, which names the process: for the next start add pid_file = "+
			"\"/run/edge.pid\"; for now find it by pgrep -a edge, and use kill -HUP, kill -TERM", path, errNoPIDFile)
	}
	whole, err := filepath.Abs(cfg.Global.FromWorkingDirectory(pidFile)) // messages say where it was looked for
	if err != nil {
		return nil, err
	}
	return pidfile.Find(whole)
}

// reload checks the configuration, unless the process may be on another machine, and asks the process to apply it.
func (a *asking) reload(out, problems io.Writer) error {
	if a.elsewhere() {
		client, err := a.client()
		if err == nil {
			_, err = a.reloadBy(client, "/v1/reload", nil, out, problems)
		}
		return err
	}
	path, ignored := a.locate()
	if path == "" {
		return errNoFile
	}
	cfg, report := a.load(path, ignored)
	if a.json && !report.OK() {
		return a.printReloaded(out, problems, &admin.Reloaded{Findings: problemsOf(report)})
	}
	if err := report.Render(problems); err != nil {
		return err
	}
	if !report.OK() {
		fmt.Fprintln(problems, "edge: the configuration has errors, so the process was told nothing")
		return exit(exitError)
	}
	client, err := a.clientFor(path, cfg, true)
	if err == nil {
		_, err = a.reloadBy(client, "/v1/reload", nil, out, problems)
	}
	if !isUnknown(err) {
		return err
	}
	i, err := a.instance(cfg, path)
	if err != nil {
		return err
	}
	if err := i.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	if a.json {
		return printJSON(out, map[string]any{"pid": i.PID, "signal": "SIGHUP"})
	}
	_, err = fmt.Fprintf(out, "edge: process %d reads the configuration again; its error log says what it applied\n",
		i.PID)
	return err
}

// problemsOf returns what was found in a configuration, errors first.
func problemsOf(r *config.Report) []config.Problem {
	return slices.Concat(r.Errors, r.Warnings, r.Notes)
}

// reloadBy asks the process of client to apply a configuration by an operation, and prints what that has done.
func (a *asking) reloadBy(client *admin.Client, path string, ask any, out, problems io.Writer) (
	done admin.Reloaded, err error) {
	if err = client.Patient().Do(context.Background(), "POST", path, ask, &done); err == nil {
		err = a.printReloaded(out, problems, &done)
	}
	return done, err
}

func (a *asking) printReloaded(out, problems io.Writer, done *admin.Reloaded) error {
	if a.json {
		if err := printJSON(out, done); err != nil {
			return err
		}
	}
	switch {
	case !done.Applied:
		if !a.json {
			printFindings(problems, done.Findings)
			why := printable.Text(cmp.Or(done.Error, "the configuration has errors"))
			fmt.Fprintln(problems, "edge: nothing has changed:", why)
			for _, line := range done.Try {
				fmt.Fprintln(problems, "     ", printable.Text(line))
			}
		}
		return exit(exitError)
	case a.json:
		return nil
	}
	fmt.Fprintf(out, "edge: the configuration was applied, version %d\n", done.Version)
	for _, part := range []struct {
		mark string
		list []string
	}{{"+", done.Added}, {"-", done.Removed}, {"~", done.Changed}, {"after a restart:", done.Restart}} {
		for _, item := range part.list {
			printable.Printf(out, "  %s %s\n", part.mark, item)
		}
	}
	return nil
}

// isUnknown reports whether an error says that there is no admin surface that answers.
func isUnknown(err error) bool {
	return errors.Is(err, errNoSurface) || errors.Is(err, admin.ErrNoAnswer)
}

const (
	stopMargin = 5 * time.Second // beyond grace_period, for logs and sockets
	stopPause  = 20 * time.Millisecond
)

func (a *asking) stop(out io.Writer, now bool) error {
	var i *pidfile.Instance
	var cfg *config.Config
	err := errNoSurface
	if !a.elsewhere() {
		i, cfg, err = a.find()
	}
	if err != nil {
		client, unknown := a.client()
		if unknown == nil {
			unknown = a.stopBy(client, out, now)
		}
		if isUnknown(unknown) && !a.elsewhere() {
			return err // about the pid file
		}
		return unknown
	}
	grace := cfg.Global.GracePeriod + cfg.Global.ShutdownTimeout
	sig, text := syscall.SIGTERM, fmt.Sprintf("lets requests end, within %v", grace)
	if now {
		sig, text, grace = syscall.SIGINT, "cuts what is in progress", 0
	}
	if err := i.Signal(sig); err != nil {
		return err
	}
	return a.awaitEnd(out, i.PID, text, grace, i.Ended)
}

// stopBy ends the process of client and waits until it answers no more.
func (a *asking) stopBy(client *admin.Client, out io.Writer, now bool) error {
	var s admin.Stopping
	if err := client.Do(context.Background(), "POST", "/v1/stop", &admin.Stop{Now: now}, &s); err != nil {
		return err
	}
	text := fmt.Sprintf("lets requests end, within %v", time.Duration(s.Grace))
	if now {
		text = "cuts what is in progress"
	}
	return a.awaitEnd(out, s.PID, text, time.Duration(s.Grace), func() bool {
		var st admin.Status
		if err := client.Do(context.Background(), "GET", "/v1/status", nil, &st); err != nil {
			return isGone(err)
		}
		return st.PID != s.PID
	})
}

// isGone reports whether an error of a client that was served before says that its process has ended: no process
// serves, or another process that does not know the client. A busy process breaks connections off as well.
func isGone(err error) bool {
	var refused *admin.Refused
	if errors.As(err, &refused) {
		return refused.Status < http.StatusInternalServerError
	}
	return errors.Is(err, admin.ErrNoAnswer)
}

// awaitEnd waits until a process has ended that was told to.
func (a *asking) awaitEnd(out io.Writer, pid int, text string, grace time.Duration, ended func() bool) error {
	begun := time.Now()
	if !a.json {
		fmt.Fprintf(out, "edge: process %d %s\n", pid, text)
	}
	for !ended() {
		if time.Since(begun) > grace+stopMargin {
			return fmt.Errorf("process %d runs after %v still: edge stop --now cuts what is in progress, "+
				"kill -KILL %[1]d ends it without its last lines", pid, time.Since(begun).Round(time.Second))
		}
		time.Sleep(stopPause)
	}
	took := time.Since(begun).Round(100 * time.Millisecond)
	if a.json {
		return printJSON(out, map[string]any{"pid": pid, "ended": true, "seconds": took.Seconds()})
	}
	_, err := fmt.Fprintf(out, "edge: process %d has ended, after %v\n", pid, took)
	return err
}

var letterWords = []string{"reload", "stop", "quit", "reopen", "test"}

// sendLetter does what -s asks for, with the words of nginx: there "stop" is fast and "quit" graceful.
func sendLetter(out, problems io.Writer, from sources, word string) error {
	c := asking{control: control{sources: from}}
	switch word {
	case "reload":
		return c.reload(out, problems)
	case "stop":
		return c.stop(out, true)
	case "quit":
		return c.stop(out, false)
	case "reopen":
		i, _, err := c.find()
		if err != nil {
			return err
		}
		return i.Signal(syscall.SIGUSR1)
	}
	return usage{nil, fmt.Errorf("-s takes %s, not %q", syntax.OneOf(letterWords), word)}
}
