package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/program"
)

// folders and names are where a configuration is looked for when none is given.
var (
	folders = []string{".", "/etc/edge"}
	names   = []string{"edge.toml", "edge.yaml", "edge.yml", "edge.json"}
)

const placesText = "edge.toml, .yaml, .yml, .json in ./ and /etc/edge/"

// sources are the flags and the argument that say where the configuration comes from.
type sources struct {
	conf string
	set  []string

	daemon  bool
	watch   bool
	upgrade bool // take over from the process that listens at upgrade_sock

	tables   *language.Tables // the environment of the process; nil: the configuration is only checked
	textOnly bool             // certificates are not opened
	places   bool             // the configuration knows where its values stand
	partial  bool             // also of files with errors: what names the process
}

func (s *sources) flags(f *pflag.FlagSet) {
	confFlag(f, &s.conf)
	f.StringArrayVar(&s.set, "set", nil, "`key=value` that beats the file, as in --set http.listen=:8081; repeatable")
}

func confFlag(f *pflag.FlagSet, conf *string) {
	f.StringVarP(conf, "conf", "c", "", "configuration `file`; without it the first of "+placesText)
}

func daemonFlag(f *pflag.FlagSet, daemon *bool) {
	f.BoolVarP(daemon, "daemon", "d", false, "serve in the background; return when it serves")
}

// argument takes the file as the one argument of a command, which goes without -c then.
func (s *sources) argument(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case len(args) > 1:
		return usage{cmd, fmt.Errorf("%s takes one file, got %q and %q", cmd.CommandPath(), args[0], args[1])}
	case s.conf != "":
		return usage{cmd, fmt.Errorf("the configuration is given twice: -c %s and %s", s.conf, args[0])}
	}
	s.conf = args[0]
	return nil
}

// locate returns the configuration file to use, "" when there is none, and the files beside it that have names to look
// for too.
func (s *sources) locate() (path string, ignored []string) {
	if s.conf != "" {
		return s.conf, nil
	}
	for _, folder := range folders {
		var found []string
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(folder, name)); !errors.Is(err, fs.ErrNotExist) {
				found = append(found, filepath.Join(folder, name))
			}
		}
		if len(found) > 0 {
			return found[0], found[1:]
		}
	}
	return "", nil
}

// program returns the options of the program that serves or checks the configuration.
func (s *sources) program() program.Options {
	o := program.Options{Set: s.set, Daemon: s.daemon, Watch: s.watch, Upgrade: s.upgrade}
	if o.Conf, o.Ignored = s.locate(); o.Conf != "" {
		o.Check = []string{"check", "--json", "-c", o.Conf}
		for _, set := range s.set {
			o.Check = append(o.Check, "--set", set)
		}
	}
	return o
}

// newProgram returns the program of o; without a file it answers with the hello page.
func (s *sources) newProgram(o program.Options) *program.Program {
	p := program.New(o)
	if o.Conf == "" {
		p.Config("allow = [\"no-listener\"]")
	}
	return p
}

// load reads the file at path and what the command line sets, and warns of the ignored ones. Without a file it is the
// configuration of the hello page.
func (s *sources) load(path string, ignored []string) (*config.Config, *config.Report) {
	o := config.Options{Set: s.set, Ignored: ignored, TextOnly: s.textOnly, Places: s.places, Tables: s.tables,
		Partial: s.partial}
	if path == "" {
		return o.Parse("(no file)", []byte("allow = [\"no-listener\"]"))
	}
	return o.Load(path)
}
