package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/observe"
)

// version is set by the linker.
var version = "dev"

// stderr is where edge prints for people. A pipe that is not read keeps edge neither from serving nor from ending.
var stderr = observe.NewBounded(os.Stderr, 2*time.Second)

// Exit codes; the doc of the package explains them.
const (
	exitError    = 1
	exitWarnings = 2
	exitUsage    = 2
)

// exit is an exit code, for an error that was printed already.
type exit int

// Error is for the interface: run prints nothing for an exit.
func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usage is an error of the command line.
type usage struct{ error }

func main() { os.Exit(run()) }

func run() int {
	err := newRoot().Execute()
	var code exit
	var wrong usage
	var daemon *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &daemon) && daemon.Exited():
		return daemon.ExitCode() // the daemon has printed why
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "edge: %v\nedge --help lists commands and flags\n", err)
		return exitUsage
	}
	fmt.Fprintln(stderr, "edge:", err)
	return exitError
}

func newRoot() *cobra.Command {
	var conf string
	var test, daemon, showVersion bool
	root := &cobra.Command{
		Use:           "edge",
		Short:         "An HTTP reverse proxy",
		Long:          "An HTTP reverse proxy. Without a command it is \"edge run\".",
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case showVersion:
				return printVersion(cmd.OutOrStdout(), false)
			case test:
				return check(cmd.OutOrStdout(), cmd.ErrOrStderr(), checkOptions{sources: sources{conf: conf}})
			}
			return runConfig(sources{conf: conf, daemon: daemon})
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	f := root.Flags()
	confFlag(f, &conf)
	daemonFlag(f, &daemon)
	f.BoolVarP(&test, "test", "t", false, "check the configuration and exit, like \"edge check\"")
	f.BoolVarP(&showVersion, "version", "V", false, "print the version")
	root.AddCommand(newRun(), newCheck(), newProxy(), newDemo(), newVersion())
	return root
}

// noArguments refuses arguments that are neither a command nor a flag.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasParent() {
		return usage{fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])}
	}
	err := fmt.Errorf("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w, did you mean %q?", err, near[0])
	}
	return usage{err}
}
