package nginx

import (
	"path/filepath"
	"slices"

	"github.com/edge-proxy/edge/config/import/plan"
)

// importer turns the tree of a file into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
	http      *scope
	groups    map[string]*group // upstream { }, by name
	names     map[string]bool   // of upstreams of the result
	made      map[string]string // names of upstreams of the result, by what they are
	servers   []*server
	listeners []*listener
	upgrade   map[string]bool // variables that map makes of Upgrade

	filters *filterTable
}

// Import reads the file at path and those that it includes. The error is that of reading the first file; all else is
// among the findings of the plan.
func Import(path string, read *plan.Reader) (*plan.Plan, error) {
	p := &plan.Plan{Program: "nginx", File: filepath.Base(path)}
	parse := &parser{read: read, plan: p, dir: filepath.Dir(path)}
	tree, err := parse.file(path, 0)
	if err != nil {
		return nil, err
	}
	im := &importer{
		Plan: p, groups: map[string]*group{}, names: map[string]bool{}, made: map[string]string{},
		upgrade: map[string]bool{},
		filters: &filterTable{plan: p, zones: map[string]*zone{}, made: map[string]*filter{},
			names: map[string]bool{}, read: read, dir: filepath.Dir(path)},
	}
	im.main(tree)
	im.leftOver(tree, "")
	return p, nil
}

// main translates the file: what stands outside of all blocks, then http.
func (im *importer) main(tree []*directive) {
	root := &directive{name: "main", block: tree}
	outer := (*scope)(nil).inner(root)
	if slices.ContainsFunc(tree, func(d *directive) bool { return d.name == "server" || d.name == "location" }) &&
		root.child("http") == nil {
		im.http = outer // a file of conf.d or sites-enabled, which http includes
		im.contents(root)
		return
	}
	im.process(outer)
	for _, d := range tree {
		if d.name == "http" && d.open {
			d.used = true
			im.http = outer.inner(d)
			im.contents(d)
		}
	}
}

// contents translates what is inside http { }.
func (im *importer) contents(http *directive) {
	for _, d := range http.block {
		switch {
		case d.name == "upstream" && d.open:
			im.addGroup(d)
		case d.name == "map" && d.open:
			im.addMap(d)
		case d.name == "server" && d.open:
			d.used = true
			im.servers = append(im.servers, im.newServer(d))
		}
	}
	im.filters.addZones(im.http, http)
	im.logs()
	im.listen()
	for _, s := range im.servers {
		im.compile(s)
	}
	for _, l := range im.listeners {
		im.addListener(l)
	}
}

// addMap takes the one use of map that has a counterpart: the Connection field of WebSockets.
func (im *importer) addMap(d *directive) {
	if d.arg(0) != "$http_upgrade" {
		return
	}
	d.used = true
	for _, c := range d.block {
		c.used = true
		im.Note(c.at, c.text(), "a line of that map")
	}
	im.upgrade[nameOf(d.arg(1))] = true
	im.Note(d.at, d.text(), "nothing to write: edge passes WebSockets on")
}

// logLevels returns the levels of error_log.
func logLevels() map[string]string {
	return map[string]string{
		"debug": "debug", "info": "info", "notice": "info", "warn": "warn", "error": "error", "crit": "error",
		"alert": "error", "emerg": "error",
	}
}

// process translates the directives about the process.
func (im *importer) process(s *scope) {
	b := im.Block("[global]")
	if n, at, ok := s.value("worker_processes"); ok {
		if n == "auto" {
			im.Note(at, "worker_processes auto", "nothing to write: one thread for each core is the default")
		} else {
			b.Set("worker_threads", n, at)
		}
	}
	if d := s.get("user"); d != nil {
		b.Set("user", plan.String(d.arg(0)), d.at)
		if len(d.args) > 1 {
			b.Set("group", plan.String(d.arg(1)), d.at)
		}
	}
	if file, at, ok := s.value("pid"); ok {
		b.Set("pid_file", plan.String(file), at)
	}
	if d := s.get("error_log"); d != nil {
		if d.arg(0) != "stderr" {
			b.Set("error_log", plan.String(d.arg(0)), d.at)
		}
		if level := logLevels()[d.arg(1)]; level != "" {
			b.Set("log_level", plan.String(level), d.at)
		}
	}
	if d := s.get("worker_shutdown_timeout"); d != nil {
		if t, ok := parseTime(d.arg(0)); ok {
			b.Set("grace_period", plan.Duration(t), d.at)
		}
	}
}

// logs translates access_log of http.
func (im *importer) logs() {
	b := im.Block("[log]")
	list := im.http.all("access_log")
	if list == nil {
		return
	}
	var files []string
	for _, d := range list {
		switch path := d.arg(0); {
		case path == "off":
		case path == "/dev/stdout":
			files = append(files, "stdout")
		case hasVariables(path) || len(path) > 7 && path[:7] == "syslog:":
			im.Lose(d.at, d.text(), "logs go to files, stdout and stderr")
			continue
		default:
			files = append(files, path)
		}
		b.Set("output", plan.List(files...), d.at)
	}
	format := list[0].arg(1)
	for _, d := range im.http.block.block {
		if d.name == "log_format" && d.arg(0) == format {
			im.Lose(d.at, "log_format "+format, "formats are json, common and combined; this one is combined now")
			d.used = true
		}
	}
	if list[0].arg(0) != "off" {
		b.Set("format", `"combined"`, list[0].at)
	}
}
