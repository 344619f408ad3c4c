package process

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/server"
)

// Serve serves what the configuration at path says until a signal ends it, as "edge run" does: with its reloads, logs,
// certificates and rights. It is for programs that have something to add, such as filters. The error says what is wrong
// with the configuration, line by line, or is that of Run. Warnings are written to stderr.
func Serve(path string, o server.Options) error {
	reading := config.Options{
		Filters: slices.Sorted(maps.Keys(o.Filters)), Sources: slices.Sorted(maps.Keys(o.Sources)),
		Registries: slices.Sorted(maps.Keys(o.Registries)), Written: true, Tables: language.NewTables(),
	}
	signals := NewSignals() // Run obeys a SIGHUP that comes while the files are read
	files := &config.Files{}
	reading.Record = files
	cfg, report := reading.Load(path)
	if !report.OK() {
		var text strings.Builder
		_ = report.Render(&text)
		return errors.New(strings.TrimRight(text.String(), "\n"))
	}
	if !Detached() {
		_ = report.Render(os.Stderr) // a warning that cannot be printed does not keep the program from serving
	}
	var err error
	if reading.Dir, path, err = ReloadFrom(cfg, path); err != nil {
		return err
	}
	load := func(r Reading) (*config.Config, *config.Report) {
		again := reading
		again.Kept, again.Record, again.Sent = r.Kept, r.Record, r.Sent
		if r.Kept != nil {
			return again.Load(r.Kept.Main)
		}
		return again.Load(path)
	}
	return Run(cfg, Options{Server: o, Load: load, Files: files, Signals: signals, File: path})
}

// ReloadFrom returns where a reload finds the files that cfg was read from, by path: file stands for path, and dir is
// config.Options.Dir. Both are absolute where cfg names a working directory, because the process goes there.
func ReloadFrom(cfg *config.Config, path string) (dir, file string, err error) {
	if cfg.Global.WorkingDirectory == "" {
		return "", path, nil
	}
	if dir, err = os.Getwd(); err != nil {
		return "", "", err
	}
	file, err = filepath.Abs(path)
	return dir, file, err
}
