package main

import (
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/server/process"
)

// control finds the process that serves a configuration, by its pid file.
type control struct {
	sources
	pidFile string // instead of that of the configuration
}

func (c *control) flags(cmd *cobra.Command) {
	c.sources.flags(cmd.Flags())
	cmd.Flags().StringVar(&c.pidFile, "pid-file", "", "the pid `file`, instead of that of the configuration")
}

const findsText = "The process is found by the pid_file of the configuration, which is looked for as edge run does it."

func newReload() *cobra.Command {
	var c control
	cmd := &cobra.Command{
		Use:   "reload [FILE]",
		Short: "Check the configuration and let the running process apply it",
		Long: "Check the configuration and let the running process apply it, by SIGHUP. With errors nothing is " +
			"sent, and the exit code is 1. What was applied is in the error log of the process.\n\n" + findsText,
		Args: c.argument,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.reload(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	c.flags(cmd)
	return cmd
}

func newStop() *cobra.Command {
	var c control
	var now bool
	cmd := &cobra.Command{
		Use:   "stop [FILE]",
		Short: "End the running process and wait until it has ended",
		Long: "End the running process by SIGTERM and wait until it has ended: requests may take grace_period. " +
			"--now cuts them, by SIGINT.\n\n" + findsText,
		Args: c.argument,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.stop(cmd.OutOrStdout(), now) },
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&now, "now", false, "cut requests that are in progress")
	return cmd
}

func newStatus() *cobra.Command {
	var c control
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [FILE]",
		Short: "Say whether it runs, as which process and since when",
		Long: "Say whether it runs, as which process and since when.\n\nExit codes: 0 it runs, 1 it does not, or " +
			"nobody can tell.\n\n" + findsText,
		Args: c.argument,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.status(cmd.OutOrStdout(), asJSON) },
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// find returns the running process and its configuration. The certificates of that are not looked at: a user that ends
// a process may have no right to read them.
func (c *control) find() (*process.Instance, *config.Config, error) {
	if c.pidFile != "" {
		cfg, _ := config.Parse("(no file)", nil)
		i, err := process.Find(c.pidFile)
		return i, cfg, err
	}
	path, ignored := c.locate()
	if path == "" {
		return nil, nil, errNoFile
	}
	from := c.sources
	from.textOnly = true
	cfg, report := from.load(path, ignored)
	if !report.OK() {
		return nil, nil, fmt.Errorf("%s has errors, so its pid_file is not known: edge check %[1]s shows them, "+
			"--pid-file names it", path)
	}
	i, err := c.instance(cfg, path)
	return i, cfg, err
}

// instance returns the running process of cfg, which was read from path: the one of --pid-file, if that was given.
func (c *control) instance(cfg *config.Config, path string) (*process.Instance, error) {
	if c.pidFile != "" {
		return process.Find(c.pidFile)
	}
	pidFile := cfg.Global.PIDFile
	if pidFile == "" {
		return nil, fmt.Errorf("%s has no pid_file, which names the process: for the next start add pid_file = "+
			"\"/run/edge.pid\"; for now find it by pgrep -a edge, and use kill -HUP, kill -TERM", path)
	}
	return process.Find(cfg.Global.FromWorkingDirectory(pidFile))
}

// reload checks the configuration and sends SIGHUP to the process that its pid_file names.
func (c *control) reload(out, problems io.Writer) error {
	path, ignored := c.locate()
	if path == "" {
		return errNoFile
	}
	cfg, report := c.load(path, ignored)
	if err := report.Render(problems); err != nil {
		return err
	}
	if !report.OK() {
		fmt.Fprintln(problems, "edge: the configuration has errors, so the process was told nothing")
		return exit(exitError)
	}
	i, err := c.instance(cfg, path)
	if err != nil {
		return err
	}
	if err := i.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "edge: process %d reads the configuration again; its error log says what it applied\n",
		i.PID)
	return err
}

const (
	stopMargin = 5 * time.Second // beyond grace_period, for logs and sockets
	stopPause  = 20 * time.Millisecond
)

// stop ends the process and waits.
func (c *control) stop(out io.Writer, now bool) error {
	i, cfg, err := c.find()
	if err != nil {
		return err
	}
	grace := cfg.Global.GracePeriod + cfg.Global.ShutdownTimeout
	sig, text := syscall.SIGTERM, fmt.Sprintf("lets requests end, within %v", grace)
	if now {
		sig, text, grace = syscall.SIGINT, "cuts what is in progress", 0
	}
	begun := time.Now()
	if err := i.Signal(sig); err != nil {
		return err
	}
	fmt.Fprintf(out, "edge: process %d %s\n", i.PID, text)
	for !i.Ended() {
		if time.Since(begun) > grace+stopMargin {
			return fmt.Errorf("process %d runs after %v still: edge stop --now cuts what is in progress, "+
				"kill -KILL %[1]d ends it without its last lines", i.PID, time.Since(begun).Round(time.Second))
		}
		time.Sleep(stopPause)
	}
	took := time.Since(begun).Round(100 * time.Millisecond)
	_, err = fmt.Fprintf(out, "edge: process %d has ended, after %v\n", i.PID, took)
	return err
}

// status prints whether the process runs.
func (c *control) status(out io.Writer, asJSON bool) error {
	i, _, err := c.find()
	if asJSON {
		found := map[string]any{"running": err == nil}
		if err != nil {
			found["reason"] = err.Error()
		} else {
			found["pid"], found["since"] = i.PID, i.Since.UTC().Format(time.RFC3339)
		}
		if failed := printJSON(out, found); failed != nil {
			return failed
		}
		if err != nil {
			return exit(exitError)
		}
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "edge: runs as process %d since %s (%v)\n", i.PID, i.Since.Format(time.DateTime),
		time.Since(i.Since).Round(time.Second))
	return err
}

// letterWords are the values of -s.
var letterWords = []string{"reload", "stop", "quit", "reopen", "test"}

// sendLetter does what -s asks for, with the words of nginx: there "stop" is fast and "quit" graceful.
func sendLetter(out, problems io.Writer, from sources, word string) error {
	c := control{sources: from}
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
