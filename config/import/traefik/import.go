package traefik

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/syntax"
)

// importer turns files into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
	read    *plan.Reader
	statics []*node // files with the static configuration, and flags
	docs    []*doc  // the dynamic configuration
	entries []*entry
	pools   *pools
	secure  []certificate

	filters *filterTable
}

// doc is a part of the dynamic configuration: a file, or the labels of a container.
type doc struct {
	root      *node
	provider  string // "file" or "docker"
	container string // the service of Compose that the labels stand at
	port      string // the port that it names, of labels without one
}

// resource is a router, a service, a middleware or a set of options.
type resource struct {
	*node
	doc *doc
}

// id is the name of a resource in findings and in the result.
func (r *resource) id() string { return r.name + "@" + r.doc.provider }

// Import reads the files at paths, and those that they name. The error is that of reading one of paths; all else is
// among the findings of the plan.
func Import(paths []string, r *plan.Reader) (*plan.Plan, error) {
	if len(paths) == 0 {
		return nil, errors.New("no file")
	}
	p := &plan.Plan{Program: "Traefik", File: filepath.Base(paths[0])}
	im := &importer{Plan: p, read: r}
	im.filters = &filterTable{p, r, map[string]*filter{}, map[string]bool{}}
	im.pools = &pools{p, im, map[string]*upstream{}, map[string]bool{"default": true}}
	for _, path := range paths {
		text, err := r.Read(path)
		if err != nil {
			return nil, err
		}
		root, problem := parse(path, text)
		if problem != nil {
			return nil, problem
		}
		im.add(root, path)
	}
	im.global()
	im.certificates()
	im.listeners()
	im.routes()
	im.leftOver()
	return im.Plan, nil
}

// add adds a file, and those that its providers name.
func (im *importer) add(root *node, path string) {
	if isCompose(root) {
		im.compose(root, path)
		return
	}
	im.statics = append(im.statics, root)
	im.docs = append(im.docs, &doc{root: root, provider: "file"})
	im.providers(root, path)
}

// providers reads the files that the static configuration names.
func (im *importer) providers(root *node, path string) {
	file := root.get("providers", "file")
	if n := file.get("filename"); n != nil {
		im.dynamic(n, path, n.text, func(name string) []string { return []string{name} })
	}
	if n := file.get("directory"); n != nil {
		im.dynamic(n, path, n.text, im.folder)
	}
	if n := file.get("watch"); n != nil {
		if n.text == "false" {
			im.Note(n.at, n.words(), "nothing to write: edge reloads when it is told, or with watch = true in [global]")
		} else {
			im.Block("[global]").Set("watch", "true", n.at)
		}
	}
}

// folder returns the files of a folder and of those below it.
func (im *importer) folder(dir string) (files []string) {
	for _, depth := range []string{"*", "*/*", "*/*/*"} {
		list, err := im.read.Glob(filepath.Join(dir, depth))
		if err != nil {
			return nil
		}
		for _, f := range list {
			switch filepath.Ext(f) {
			case ".yml", ".yaml", ".toml":
				files = append(files, f)
			}
		}
	}
	return files
}

// dynamic reads the files that n names: where it says, or beside the file at path.
func (im *importer) dynamic(n *node, path, name string, list func(string) []string) {
	dir := filepath.Dir(path)
	for _, at := range []string{name, filepath.Join(dir, name), filepath.Join(dir, filepath.Base(name))} {
		found := false
		for _, file := range list(at) {
			text, err := im.read.Read(file)
			if err != nil {
				continue
			}
			found = true
			root, problem := parse(file, text)
			if problem != nil {
				place := plan.Place{File: filepath.Base(file), Line: max(problem.Line, 1)}
				why := problem.Message
				if strings.Contains(string(text), "{{") {
					why = "templates are not run: import what they print. " + why
				}
				im.Lose(place, "the file", why)
				continue
			}
			im.docs = append(im.docs, &doc{root: root, provider: "file"})
		}
		if found {
			im.Note(n.at, n.words(), "nothing to write: what it names is read and becomes a part of the result")
			return
		}
	}
	im.Lose(n.at, n.words(), "no such file: name it after this one, edge import traefik FILE FILE")
}

// static returns the first member of that name in the static configuration.
func (im *importer) static(names ...string) *node {
	for _, s := range im.statics {
		if n := s.get(names...); n != nil {
			return n
		}
	}
	return nil
}

// find returns the resource that a name leads to, from a document: "auth", "auth@file". nil where there is none.
func (im *importer) find(kind, name string, from *doc) *resource {
	name, provider, given := strings.Cut(name, "@")
	if !given {
		provider = from.provider
	}
	for _, d := range im.docs {
		if d.provider != provider || name == "" {
			continue
		}
		if n := d.root.get("http", kind, name); n != nil {
			return &resource{n, d}
		}
	}
	return nil
}

// all returns the resources of a kind, in the order of their names.
func (im *importer) all(kind string) (list []*resource) {
	for _, d := range im.docs {
		for _, n := range d.root.members("http", kind) {
			list = append(list, &resource{n, d})
		}
	}
	slices.SortStableFunc(list, func(a, b *resource) int { return strings.Compare(a.name, b.name) })
	return list
}

// lose marks n and all below it as used, with a loss for n and a note for each further line.
func (im *importer) lose(n *node, why string) { im.tell(n, why, true) }

// note is lose where nothing is lost.
func (im *importer) note(n *node, why string) { im.tell(n, why, false) }

func (im *importer) tell(n *node, why string, lost bool) {
	if n == nil {
		return
	}
	if lost {
		im.Lose(n.at, n.words(), why)
	} else {
		im.Note(n.at, n.words(), why)
	}
	n.walk(func(c *node) {
		if !c.used && c != n && c.at != n.at && !c.branch() {
			im.Note(c.at, c.path, "it is inside "+n.path) // its text may be a password
		}
		c.used = true
	})
}

// leftOver adds findings about what nothing has used.
func (im *importer) leftOver() {
	var roots []*node
	roots = append(roots, im.statics...)
	for _, d := range im.docs {
		if !slices.Contains(roots, d.root) {
			roots = append(roots, d.root)
		}
	}
	for _, root := range roots {
		im.rest(root, "")
	}
	named := map[plan.Place]bool{}
	for _, at := range im.Carried() {
		named[at] = true
	}
	for _, f := range im.Findings() {
		named[f.Place] = true
	}
	open := map[plan.Place]bool{} // lines of guards that let everybody in
	for _, root := range roots {
		root.walk(func(n *node) {
			if everybody(n) {
				n.walk(func(c *node) { open[c.at] = true })
			}
			if n.at.Line == 0 || n.branch() || named[n.at] {
				return
			}
			why := "nothing to write"
			path := strings.ToLower(n.path)
			if isGuard(path) && !open[n.at] {
				im.Lose(n.at, n.path, noGuard)
				return
			}
			if strings.HasPrefix(path, "http.") && !strings.HasPrefix(path, "http.mid") {
				why = "it has no route of its own: others answer its requests alike, or a part of it is lost"
			}
			im.Note(n.at, n.path, why)
		})
	}
}

// isGuard reports whether a path, in lower case, is inside a middleware that keeps requests away.
func isGuard(path string) bool {
	rest, found := strings.CutPrefix(path, "http.middlewares.")
	return found && slices.ContainsFunc(strings.Split(rest, ".")[1:], func(kind string) bool {
		return slices.Contains(guards, kind)
	})
}

// rest adds findings about what nothing has used of n.
func (im *importer) rest(n *node, above string) {
	for _, c := range n.list {
		path := above
		if n.kind == syntax.KindTable {
			path = join(above, strings.ToLower(c.name))
		}
		why, lost, known := whyOf(path, !slices.ContainsFunc(c.list, read))
		switch {
		case c.used && !c.branch(), !unused(c):
		case known:
			im.tell(c, why, lost)
		case c.branch():
			im.rest(c, path)
		default:
			im.tell(c, "edge does not know it", true)
		}
	}
}

// read reports whether something has read n or something below it.
func read(n *node) bool {
	if !n.branch() {
		return n.used
	}
	return slices.ContainsFunc(n.list, read)
}

// unused reports whether there is something, n or below it, that nothing has read.
func unused(n *node) bool {
	if !n.branch() {
		return !n.used
	}
	return slices.ContainsFunc(n.list, unused)
}
