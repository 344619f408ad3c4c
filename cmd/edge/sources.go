package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/server/process"
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
	dir  string // where the process was started, when it has left that folder; else ""

	tables  *language.Tables // the environment of the process; nil: the configuration is only checked
	reading process.Reading  // texts in place of the disk, and where to keep what is read

	daemon   bool
	watch    bool
	upgrade  bool // take over from the process that listens at upgrade_sock
	textOnly bool // certificates are not opened
	places   bool // the configuration knows where its values stand
	written  bool // the configuration keeps what the files say
	partial  bool // also of files with errors: what names the process
	filters  bool // filters are made once, to see whether they can be
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

// load reads the file at path and what the command line sets, and warns of the ignored ones. Without a file it is the
// configuration of the hello page.
func (s *sources) load(path string, ignored []string) (*config.Config, *config.Report) {
	o := config.Options{Set: s.set, Dir: s.dir, Ignored: ignored, TextOnly: s.textOnly, Places: s.places,
		Tables: s.tables, MakeFilters: s.filters,
		Written: s.written, Partial: s.partial, Kept: s.reading.Kept, Record: s.reading.Record, Sent: s.reading.Sent}
	if s.daemon {
		o.Set = append(slices.Clip(o.Set), "daemon=true")
	}
	if s.watch {
		o.Set = append(slices.Clip(o.Set), "watch=true")
	}
	if path == "" {
		return o.Parse("(no file)", []byte("allow = [\"no-listener\"]"))
	}
	return o.Load(path)
}
