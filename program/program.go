package program

import (
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/syntax"
	_ "github.com/edge-proxy/edge/internal/filter/builtin" // the types of filters that edge has
	_ "github.com/edge-proxy/edge/internal/filter/static"  // and its type of destinations
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/process"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/proxy"
)

// Options are what a Program is begun with: Flags has them from the command line. The zero value is good.
type Options struct {
	// Conf is the file of the configuration; "": what Config was given is all of it, and there is no reload.
	Conf string
	// Daemon goes to the background, as daemon = true does; Run returns when that process serves.
	Daemon bool
	// Upgrade takes over from the process that listens at upgrade_sock.
	Upgrade bool
	// Test makes Run do what Check does.
	Test bool
	// Watch reloads when a file changes, as watch = true does, and prints what that changes.
	Watch bool
	// Stats logs all counters at the end.
	Stats bool
	// Set holds "key=value" entries, which go before the file.
	Set []string
	// Ignored are files that Conf was chosen from and that are not read: a warning each.
	Ignored []string
	// Version is the one of the program, for its log; "": the version of its main module, as the go command knows it.
	Version string
	// Check are arguments with which this program checks its configuration and ends: an upgrade asks a new program in
	// that way before it starts it. None: it cannot be asked.
	Check []string
	// Log is given the lines of the error log too, as far as it is Enabled for them. Event loops write to it: it must
	// not wait. nil: not called.
	Log slog.Handler
	// Server has Lookup, Registries and StateDir for programs; its other fields are for the command of edge.
	Server server.Options
	// Started is called when s serves what cfg says. nil: not called.
	Started func(s *Server, cfg *Config)
}

// Program is a server of one's own: a configuration, with what the program adds to it.
// It belongs to the goroutine that runs it.
type Program struct {
	options Options
	texts   []config.Under    // of Config and Add, which lie under the file
	given   map[string]string // where the program has given something, by its kind and its name
	err     error             // the first mistake in what it was given

	background []process.Background

	leads   []string       // destinations that it has a Transport to
	serving chan struct{}  // closed when the program serves
	server  *server.Server // from then on
}

// New makes a Program.
func New(o Options) *Program {
	if o.Version == "" {
		o.Version = build.Version()
	}
	o.Server.Filters, o.Server.Destinations = own(o.Server.Filters), own(o.Server.Destinations)
	o.Server.Services, o.Server.Sources = own(o.Server.Services), own(o.Server.Sources)
	return &Program{options: o, given: make(map[string]string), serving: make(chan struct{})}
}

// own returns a copy of m that can be written.
func own[V any](m map[string]V) map[string]V {
	if m = maps.Clone(m); m == nil {
		m = make(map[string]V)
	}
	return m
}

// Config gives the program a configuration in TOML, which lies under the file of Options.Conf. A key of the file goes
// before the key with the same meaning here, tables with one name become one, and entries of lists, such as [[routes]],
// stand after the entries of the file. Call it once. Messages name this text "(program)".
func (p *Program) Config(text string) {
	p.note("the configuration", "", text != "")
	p.texts = append(p.texts, config.Under{Name: "(program)", Text: text})
}

// Filter adds a filter that a configuration may name in "filters". name becomes the name of the filter.
func (p *Program) Filter(name string, f *proxy.Filter) {
	p.note("the filter", name, f != nil)
	p.options.Server.Filters[name] = f
}

// Destination adds a destination that a configuration may name as "dest", and proxy.Named finds. It is the same one
// over all reloads.
func (p *Program) Destination(name string, d proxy.Destination) {
	p.note("the destination", name, d != nil)
	p.options.Server.Destinations[name] = d
}

// Source adds a kind of sources of backends, which discover of an upstream names by its scheme: discover = "NAME:…".
func (p *Program) Source(scheme string, open discovery.Maker) {
	p.note("the source", scheme, open != nil)
	p.options.Server.Sources[scheme] = open
}

// note remembers where something is given, and the first mistake. It returns the place.
func (p *Program) note(kind, name string, present bool) (where string) {
	where = "elsewhere"
	if _, file, line, ok := runtime.Caller(2); ok {
		where = fmt.Sprintf("%s:%d", filepath.Base(file), line)
	}
	what := kind
	if kind != "the configuration" {
		what = fmt.Sprintf("%s %q", kind, name)
	}
	before, twice := p.given[what]
	p.given[what] = where
	switch {
	case p.err != nil:
	case twice:
		p.err = fmt.Errorf("%s is given twice, at %s and at %s", what, before, where)
	case !present || what != kind && name == "":
		p.err = fmt.Errorf("%s that %s gives has no name, or is nothing", what, where)
	}
	return where
}

// reading returns how the configuration is read.
func (p *Program) reading() config.Options {
	o, s := &p.options, &p.options.Server
	r := config.Options{
		Set: slices.Clone(o.Set), Under: p.texts, Ignored: o.Ignored,
		Filters: slices.Sorted(maps.Keys(s.Filters)), Destinations: slices.Sorted(maps.Keys(s.Destinations)),
		Services: slices.Sorted(maps.Keys(s.Services)), Leads: p.leads,
		Sources: slices.Sorted(maps.Keys(s.Sources)), Registries: slices.Sorted(maps.Keys(s.Registries)),
	}
	if o.Daemon {
		r.Set = append(r.Set, "daemon=true")
	}
	if o.Watch {
		r.Set = append(r.Set, "watch=true")
	}
	return r
}

// noFile stands in messages for a file that there is not.
const noFile = "(no file)"

// load reads the file at path, or what the program has alone.
func (p *Program) load(reading config.Options, path string) (cfg *config.Config, rep *config.Report) {
	if path == "" {
		cfg, rep = reading.Parse(noFile, nil)
	} else {
		cfg, rep = reading.Load(path)
	}
	for _, name := range p.leads {
		if rep.OK() && cfg.Upstream(name) == nil && cfg.Find(plugin.Destinations, name) == nil {
			rep.Errorf(syntax.Span{}, fmt.Sprintf("add [upstreams.%s]", name),
				"the program sends requests to %q, which is no upstream and no destination", name)
		}
	}
	return cfg, rep
}
