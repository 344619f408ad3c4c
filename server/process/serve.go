package process

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

// Serve serves what the configuration at path says until a signal ends it, as "edge run" does: with its reloads, logs,
// certificates and rights. It is for programs that have something to add, such as filters. The error says what is wrong
// with the configuration, line by line, or is that of Run.
func Serve(path string, o server.Options) error {
	reading := config.Options{Filters: slices.Sorted(maps.Keys(o.Filters))}
	signals := NewSignals() // Run obeys a SIGHUP that comes while the files are read
	load := func() (*config.Config, *config.Report) { return reading.Load(path) }
	cfg, report := load()
	if !report.OK() {
		var text strings.Builder
		_ = report.Render(&text)
		return errors.New(strings.TrimRight(text.String(), "\n"))
	}
	return Run(cfg, Options{Server: o, Load: load, Signals: signals, File: path})
}
