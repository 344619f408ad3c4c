package haproxy

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// importer turns sections into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
	sections  []*section
	backends  map[string]*section
	sites     []*plan.Site
	upstreams map[string]bool // names
	listeners map[string]bool // names
	read      *plan.Reader
	global    *section // empty: there is none
	dir       string   // where relative paths of the file begin
}

// Import reads the file at path. The error says why it cannot be read; all else is among the findings of the plan.
func Import(path string, r *plan.Reader) (*plan.Plan, error) {
	p := &plan.Plan{Program: "HAProxy", File: filepath.Base(path), Path: `split(target, "?")[0]`}
	list, err := read(path, r, p)
	if err != nil {
		return nil, err
	}
	im := &importer{Plan: p, sections: list, backends: map[string]*section{}, listeners: map[string]bool{},
		upstreams: map[string]bool{"default": true}, // requests that no route takes go there
		read:      r, dir: filepath.Dir(path), global: &section{}}
	for _, s := range list {
		switch s.kind {
		case "backend", "listen":
			im.backends[s.name] = s
		case "global":
			im.global = s
		}
	}
	for _, s := range list {
		switch s.kind {
		case "global":
			im.keys(im.Block("[global]"), s, "user", "group", "pidfile", "nbthread", "hard-stop-after")
		case "defaults":
			im.errorPages(s, im.Block(""))
		case "frontend", "listen":
			if s.mode() == "http" {
				im.frontend(s)
			} else {
				im.relay(s)
			}
		}
	}
	im.headSizes(im.Block("[upstream_defaults]"), im.global, "limits.header_size", "limits.field_size")
	if len(im.sites) == 1 {
		im.sites[0].Listeners = nil
	}
	im.Write(im.sites)
	im.leftOver()
	return p, nil
}

// keys writes lines of a section that are keys of edge, by their names in the table of words.
func (im *importer) keys(b *plan.Block, s *section, names ...string) {
	for _, name := range names {
		parts := strings.Split(name, ".")
		parts = parts[:min(2, len(parts))]
		if l := s.find(parts...); l != nil {
			w, _ := words().Find(name)
			im.Put(b, w, l.word(len(parts)), l.at, l.text())
		}
	}
}

// headSizes writes what the global section says of heads, where that is more than edge takes by itself.
func (im *importer) headSizes(b *plan.Block, s *section, sizes ...string) {
	if l := s.find("tune.bufsize"); l != nil {
		if n, _ := plan.ParseSize(l.word(1), 1<<10); n > plan.FieldSize {
			for _, key := range sizes {
				b.Set(key, plan.HeadSize(n), l.at)
			}
		}
	}
	if l := s.find("tune.http.maxhdr"); l != nil {
		w, _ := words().Find("tune.http.maxhdr")
		im.Put(b, w, l.word(1), l.at, l.text())
	}
}

// errorPages writes the files of a section that hold answers to failures: a head, and the page.
func (im *importer) errorPages(s *section, b *plan.Block) {
	for _, l := range s.all("errorfile") {
		text, ok := im.file(l.word(2))
		head, page, _ := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n")
		key := "error_pages." + l.word(1)
		if l.used = ok && strings.Contains(head, "text/html") && l.word(1) >= "400" && !b.Has(key); l.used {
			b.Set(key, "{ body = "+plan.String(strings.TrimSpace(page))+" }", l.at)
		}
	}
}

func (im *importer) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(im.dir, name)
}

func (im *importer) file(name string) (text string, ok bool) {
	b, err := im.read.Read(im.path(name))
	return string(b), err == nil
}

// entries reads a file with values: one in each line, without those that begin with "#".
func (im *importer) entries(name string) (list []string, ok bool) {
	text, ok := im.file(name)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list, ok
}

// leftOver adds findings about what nothing has used.
func (im *importer) leftOver() {
	for _, s := range im.sections {
		for _, l := range append([]*line{s.head}, s.lines...) {
			w, found := words().Find(l.words[0] + "." + l.word(1))
			if !found {
				w, _ = words().Find(l.words[0])
			}
			switch {
			case l.used:
			case !slices.Contains([]string{"global", "defaults", "frontend", "backend", "listen"}, s.kind):
				im.Lose(l.at, l.text(), "edge has no section "+s.kind)
			case s.kind == "backend" && !s.head.used:
				im.Note(l.at, l.text(), "it is inside backend "+s.name+", to which nothing leads")
			case w.Says == "key":
				im.Note(l.at, l.text(), "no section reads it")
			case l != s.head:
				im.Tell(w, l.at, l.text())
			}
		}
	}
}
