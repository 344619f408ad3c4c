package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/cmd/edge/trust"
	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/program"
)

// stderr is where edge prints for people. A pipe that is not read keeps edge neither from serving nor from ending.
var stderr = observe.NewBounded(os.Stderr, 2*time.Second)

// Exit codes; the doc of the package explains them.
const (
	exitError = 1
	exitUsage = 2
)

// exit is an exit code, for an error that was printed already.
type exit = program.Code

// usage is an error of the command line.
type usage struct {
	command *cobra.Command // nil: edge itself
	error
}

// help returns the command line that shows what is right.
func (u usage) help() string {
	if u.command == nil {
		return "edge --help lists commands and flags"
	}
	return u.command.CommandPath() + " --help lists its flags"
}

func main() {
	admin.ProfileMemory(false) // until pprof of [admin] asks for it
	os.Exit(conclude(newRoot().Execute()))
}

// conclude prints what the process ends with, unless that was printed already, and returns its exit code.
func conclude(err error) int {
	if wrong := (usage{}); errors.As(err, &wrong) {
		fmt.Fprintf(stderr, "edge: %s\n%s\n", printable.Text(err.Error()), wrong.help())
		return exitUsage
	}
	return program.Conclude(stderr, "edge", err)
}

// rootFlags are the flags that edge has without a command.
type rootFlags struct {
	conf, signal                         string
	test, daemon, upgrade, version, oldV bool
	supervise                            bool
}

func newRoot() *cobra.Command {
	var given rootFlags
	root := &cobra.Command{
		Use:           "edge",
		Short:         "An HTTP reverse proxy",
		Long:          "An HTTP reverse proxy. Without a command it is \"edge run\".",
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return given.run(cmd) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage{cmd, explainFlag(err)} })
	root.SuggestionsMinimumDistance = 2
	f := root.Flags()
	confFlag(f, &given.conf)
	daemonFlag(f, &given.daemon)
	superviseFlag(f, &given.supervise)
	upgradeFlag(f, &given.upgrade)
	f.BoolVarP(&given.test, "test", "t", false, "check the configuration and exit, like \"edge check\"")
	f.BoolVarP(&given.version, "version", "V", false, "print the version")
	f.BoolVarP(&given.oldV, "v", "v", false, "")
	f.StringVarP(&given.signal, "signal", "s", "",
		"tell the running process this `word`, as nginx does: "+strings.Join(letterWords, ", "))
	_ = f.MarkHidden("v")
	root.AddCommand(newRun(), newCheck(), newExplain(), newLang(), newDiff(), newReload(), newRollback(), newUpgrade(),
		newStop(), newStatus(), newProxy(), newServe(), newDemo(), newImport(), newFmt(), newSchema(),
		newHashPassword(), trust.New(),
		newBench(), newDoctor(), newBuild(), newModules(), newVersion())
	root.AddCommand(adminCommands()...)
	complete(root)
	return root
}

func (f *rootFlags) run(cmd *cobra.Command) error {
	from := sources{conf: f.conf, daemon: f.daemon, upgrade: f.upgrade}
	switch {
	case f.version || f.oldV:
		return printVersion(cmd.OutOrStdout(), false)
	case f.test || f.signal == "test":
		return check(cmd.OutOrStdout(), cmd.ErrOrStderr(), checkOptions{sources: from})
	case f.signal != "":
		return sendLetter(cmd.OutOrStdout(), cmd.ErrOrStderr(), from, f.signal)
	}
	if f.supervise {
		return supervised(from)
	}
	return runConfig(from, false)
}
