package program

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/process"
	"github.com/edge-proxy/edge/internal/server"
)

// Run serves until a signal ends it: the whole life of the process, as "edge run" has it, with daemon, reload, upgrade
// and drain. It returns nil then, and in a parent whose daemon serves. Once per process. The error, for Exit, says why
// the program could not start, or what it could not finish: a *ConfigError, a Code where all was said, or another one.
func (p *Program) Run() error {
	if p.options.Test {
		return p.Check(CheckOptions{})
	}
	if p.err != nil {
		return p.err
	}
	signals := process.NewSignals() // process.Run obeys a SIGHUP that comes while the files are read
	reading := p.reading()
	files := &config.Files{}
	reading.Written, reading.Tables, reading.Record = true, language.NewTables(), files
	cfg, report := p.load(reading, p.options.Conf)
	if !report.OK() {
		return &ConfigError{report}
	}
	if !process.Detached() {
		_ = report.Render(stderr) // a warning that cannot be printed does not keep the program from serving
	}
	o := process.Options{Server: p.options.Server, Version: p.options.Version, Upgrade: p.options.Upgrade,
		Log: p.options.Log, Check: p.options.Check, Stats: p.options.Stats, Signals: signals, Background: p.background}
	o.Started = func(s *server.Server) {
		p.server = s
		close(p.serving)
		if p.options.Started != nil {
			p.options.Started(s, cfg)
		}
	}
	if p.options.Conf == "" {
		return process.Run(cfg, o)
	}
	var err error
	if reading.Dir, o.File, err = reloadFrom(cfg, p.options.Conf); err != nil {
		return err
	}
	o.Files = files
	o.Load = func(r process.Reading) (*config.Config, *config.Report) {
		again, path := reading, o.File
		again.Kept, again.Record, again.Sent = r.Kept, r.Record, r.Sent
		if r.Kept != nil {
			path = r.Kept.Main
		}
		again.Ignored = nil
		return p.load(again, path)
	}
	if p.options.Watch {
		o.Watched = printWatched
	}
	return process.Run(cfg, o)
}

// reloadFrom returns where a reload finds the files that cfg was read from, by path: file stands for path, and dir is
// config.Options.Dir. Both are absolute where cfg names a working directory, because the process goes there.
func reloadFrom(cfg *config.Config, path string) (dir, file string, err error) {
	if cfg.Global.WorkingDirectory == "" {
		return "", path, nil
	}
	if dir, err = os.Getwd(); err != nil {
		return "", "", err
	}
	file, err = filepath.Abs(path)
	return dir, file, err
}

func printWatched(report *config.Report, diff *server.Diff, err error) {
	_ = report.Render(stderr)
	if err != nil {
		fmt.Fprintln(stderr, name()+": the files have changed, and nothing else:", err)
		return
	}
	fmt.Fprintln(stderr, name()+": the files have changed:")
	_ = diff.Render(stderr)
}
