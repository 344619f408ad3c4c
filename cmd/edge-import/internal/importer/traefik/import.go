package traefik

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// importer turns files into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
	read    *plan.Reader
	words   *plan.Words
	docs    []*node          // files, flags, and the labels of each container
	found   map[string]*node // services, middlewares and serversTransports, by their ids
	entries []*entry
	secure  []*node                 // certificates, the default one first
	ups     map[string]string       // names of upstreams, by the id of the service
	targets map[string]*plan.Target // by what they do

	path      string // of the first file
	ordered   []order
	hosts     []string // of routers with TLS
	resolvers []*node  // as tables tls name them
}

// Import reads the files at paths, and the files that they name. The error is about reading one of paths; all else is
// among the findings of the plan.
func Import(paths []string, r *plan.Reader) (*plan.Plan, error) {
	p := &plan.Plan{Program: "Traefik", Path: "url_decode(path)", File: filepath.Base(paths[0])}
	im := &importer{Plan: p, read: r, words: plan.ParseWords(words), found: map[string]*node{},
		ups:     map[string]string{},
		targets: map[string]*plan.Target{}, path: paths[0]}
	for _, path := range paths {
		root, err := im.load(path)
		switch {
		case err != nil:
			return nil, err
		case root.has("services"): // of Docker Compose
			im.compose(root, path)
		default:
			im.add(root, path)
		}
	}
	for _, o := range slices.Backward(im.resources()) {
		im.found[o.id()] = o // the first one counts
	}
	im.global()
	im.certificates()
	im.listeners()
	im.routes()
	im.leftOver()
	return im.Plan, nil
}

// add adds a file or flags, which may have both configurations, and the files that they name.
func (im *importer) add(root *node, path string) {
	im.docs = append(im.docs, root)
	file := root.get("providers", "file")
	im.dynamic(file.get("filename"), path, "")
	im.dynamic(file.get("directory"), path, "*", "*/*", "*/*/*")
	im.keys(file, im.Block("[global]"))
}

func (im *importer) load(path string) (*node, error) {
	text, err := im.read.Read(path)
	if err != nil {
		return nil, err
	}
	return parse(path, text)
}

// dynamic reads the files that n names, or those in the folder that it names whose paths match patterns: where n says,
// or beside the file at path.
func (im *importer) dynamic(n *node, path string, patterns ...string) {
	if n == nil {
		return
	}
	count := len(im.docs)
	for _, at := range near(n.text, path) {
		for _, pattern := range patterns {
			files, _ := im.read.Glob(filepath.Join(at, pattern))
			for _, file := range files {
				if ext := filepath.Ext(file); pattern != "" && ext != ".yml" && ext != ".yaml" && ext != ".toml" {
					continue
				}
				root, err := im.load(file)
				if err != nil {
					im.Lose(plan.Place{File: filepath.Base(file), Line: 1}, "the file", err.Error()+
						"; templates are not run: import what they print")
					root = newRoot("file")
				}
				im.docs = append(im.docs, root)
			}
		}
		if len(im.docs) > count {
			im.Note(n.at, n.words(), "nothing to write: what it names is read and becomes a part of the result")
			return
		}
	}
	im.Lose(n.at, n.words(), "no such file: name it after this one, edge import traefik FILE FILE")
}

// near returns where a file may be that the file at path names: where it says, or beside that.
func near(name, path string) []string {
	dir := filepath.Dir(path)
	return []string{name, filepath.Join(dir, name), filepath.Join(dir, filepath.Base(name))}
}

func (im *importer) first(names ...string) *node {
	for _, d := range im.docs {
		if n := d.get(names...); n != nil {
			return n
		}
	}
	return nil
}

// find returns the service or the like that the text of n names: "auth", "auth@file". nil where there is none.
func (im *importer) find(kind string, n *node) *node {
	if n == nil {
		return nil
	}
	name, protocol := n.text, "http."
	if !strings.Contains(name, "@") {
		name += "@" + n.from
	}
	if n.tcp() {
		protocol = "tcp."
	}
	return im.found[strings.ToLower(protocol+kind+"."+name)]
}

// all returns the members at a path of all documents, in the order of their names.
func (im *importer) all(path ...string) (list []*node) {
	for _, d := range im.docs {
		list = append(list, d.members(path...)...)
	}
	slices.SortStableFunc(list, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	return list
}

// resources are what others name.
func (im *importer) resources() (list []*node) {
	for _, kind := range []string{"services", "middlewares", "serverstransports"} {
		list = slices.Concat(list, im.all("http", kind), im.all("tcp", kind))
	}
	return list
}

// leftOver adds findings about what nothing has used, and about lines that are neither in the result nor in another
// finding.
func (im *importer) leftOver() {
	for _, r := range im.resources() {
		if !r.used {
			im.Note(r.at, r.path, "nothing that is carried leads there or reads it")
			r.use()
		}
	}
	told := im.Told()
	told[plan.Place{}] = true
	for _, d := range im.docs {
		d.walk(func(n *node) {
			switch {
			case n.branch() || n == d:
			case !n.used:
				im.unread(n)
			case !told[n.at] && strings.Contains(n.key, ".routers."):
				im.Note(n.at, n.path, "it has no route of its own: others answer its requests alike, or a part of it "+
					"is lost")
			case !told[n.at]:
				im.Note(n.at, n.path, "nothing to write")
			}
		})
	}
}
