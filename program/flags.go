package program

import (
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/base/printable"
)

// Flags returns the options that the command line names, by letters that edge, nginx and Pingora share:
//
//	-c, --conf FILE   the configuration, over the text of the program
//	-d, --daemon      serve in the background; return when it serves
//	-t, --test        check the configuration and exit
//	-u, --upgrade     take over from the process that listens at upgrade_sock
//	-h, --help        print all flags, and exit
//	-V, --version     print the version, and exit
//
// Flags that the program has defined by package flag are read as well. A mistake ends the process with exit code 2.
func Flags() Options {
	o, err := parse(os.Args[1:], flag.CommandLine)
	switch {
	case err == nil:
		return o
	case err == errAnswered:
		os.Exit(0)
	}
	fmt.Fprintf(stderr, "%s: %s\n%[1]s --help lists its flags\n", name(), printable.Text(err.Error()))
	os.Exit(exitUsage)
	return o
}

// errAnswered says that the command line asked for something that was printed.
var errAnswered = Code(0)

// parse is Flags for args, with flags of the program in own.
func parse(args []string, own *flag.FlagSet) (o Options, err error) {
	var help, version bool
	f := pflag.NewFlagSet(name(), pflag.ContinueOnError)
	f.StringVarP(&o.Conf, "conf", "c", "", "configuration `file`, over the one of the program")
	f.BoolVarP(&o.Daemon, "daemon", "d", false, "serve in the background; return when it serves")
	f.BoolVarP(&o.Test, "test", "t", false, "check the configuration and exit")
	f.BoolVarP(&o.Upgrade, "upgrade", "u", false, "take over from the process that listens at upgrade_sock")
	f.BoolVarP(&help, "help", "h", false, "print this")
	f.BoolVarP(&version, "version", "V", false, "print the version")
	f.AddGoFlagSet(own)
	f.Usage = func() {}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case help:
		fmt.Printf("Usage: %s [flags]\n\n%s", name(), f.FlagUsages())
		return o, errAnswered
	case version:
		fmt.Println(name(), build.Version())
		return o, errAnswered
	case f.NArg() > 0:
		return o, fmt.Errorf("there are no arguments but flags, got %q: a configuration is -c %[1]s", f.Arg(0))
	}
	o.Check = append(slices.Clone(args), "--test") // which goes before --daemon and --upgrade
	return o, nil
}
