package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// otherWords are commands of other servers, with what to type here.
var otherWords = map[string]string{
	"start":         "edge run, or edge run -d in the background",
	"restart":       "edge stop && edge run -d; where a supervisor runs it, let that restart it",
	"quit":          "edge stop",
	"kill":          "edge stop --now",
	"reopen":        "edge -s reopen",
	"configtest":    "edge check",
	"lint":          "edge check",
	"config":        "edge check, with --json for programs",
	"purge":         "edge cache purge",
	"ps":            "edge status",
	"reverse-proxy": "edge proxy --from :8080 --to localhost:3000",
}

// oneArgument takes the one argument of a command. hint, which may be empty, says what it may be.
func oneArgument(noun, hint string, into *string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return usage{cmd, fmt.Errorf("%s takes one %s, got %d%s", cmd.CommandPath(), noun, len(args), hint)}
		}
		*into = args[0]
		return nil
	}
}

// noArguments refuses arguments that are neither a command nor a flag.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasParent() {
		return usage{cmd, fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])}
	}
	err := fmt.Errorf("unknown command %q", args[0])
	if words := otherWords[args[0]]; words != "" {
		err = fmt.Errorf("%w, type %s", err, words)
	} else if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w, did you mean %q?", err, near[0])
	} else if at, failed := os.Stat(args[0]); failed == nil && !at.IsDir() {
		err = fmt.Errorf("%w, type edge run %s", err, args[0])
	}
	return usage{nil, err}
}

// otherFlags are flags of other servers, with what to type here.
var otherFlags = map[string]string{
	"--config":    "-c FILE",
	"-f":          "-c FILE",
	"--reload":    "edge reload",
	"--stop":      "edge stop",
	"--log-level": "edge run --set log_level=debug",
}

// explainFlag adds what to type to an error about a flag of another server.
func explainFlag(err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	flag := "--" + unknown.GetSpecifiedName()
	if unknown.GetSpecifiedShortnames() != "" {
		flag = "-" + unknown.GetSpecifiedName()
	}
	if words := otherFlags[flag]; words != "" {
		return fmt.Errorf("%w, type %s", err, words)
	}
	return err
}
