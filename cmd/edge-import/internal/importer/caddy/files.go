package caddy

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// folder is what some directives say about the files that file_server answers with.
type folder struct {
	root string   // "": it is not known
	try  []string // of try_files; nil: the path alone
	from []plan.Place
}

// folderOf is root and try_files, which file_server asks later.
func (f *flow) folderOf(d *directive, c *plan.Cond) bool {
	paths, lost := plan.Try("{path}", d.args)
	unknown := strings.Contains(d.arg(0), "{")
	if d.name == "try_files" {
		unknown = refuse(f.rest, paths)
	}
	switch {
	case c != plan.Always || !serves(f.rest) || unknown:
		f.word("site", d, nil)
		if d.name == "root" {
			f.files.root = ""
		}
		return false
	case d.name == "root":
		f.files.root = d.arg(0)
	default:
		f.Note(d.at, d.text, "edge looks for files in requests for file_server alone, and takes a folder for its index")
		if f.files.try = paths; lost != nil {
			f.Lose(d.at, d.text, "edge does not look for "+strings.Join(lost, " ")+": 404 in its place")
		}
	}
	f.files.from = append(slices.Clip(f.files.from), d.at)
	return false
}

// looksFirst reports whether d sends on the requests for which there is no file, and file_server answers all others.
func (f *flow) looksFirst(d *directive) bool {
	server := slices.IndexFunc(f.rest, func(o *directive) bool { return o.name == "file_server" })
	if d.name != "reverse_proxy" || d.when == nil || len(d.when.lines) != 1 || f.files.try != nil || server < 0 {
		return false
	}
	m, plain := d.when.lines[0], f.rest[server]
	words := slices.Clone(m.args)
	for _, l := range m.block {
		words = append(append(words, l.name), l.args...)
	}
	file := m.name == "not" && len(words) == 1 && words[0] == "file"
	if !file || plain.when != nil || len(plain.args)+len(plain.block) > 0 || !strings.HasPrefix(f.files.root, "/") ||
		strings.Contains(f.files.root, "{") {
		return false
	}
	m.used, plain.used = true, true
	m.lines()
	return true
}

// filesBefore leads the branch that d has made to the files of the site, with what d leads to as their fallback.
func (f *flow) filesBefore(d *directive) {
	t := f.out.Branches[len(f.out.Branches)-1].To
	if t.Routed || t.End.Name != "dest" {
		return
	}
	f.Note(d.at, d.text, "folders with a file of index answer by that file, all other folders by the fallback")
	at := append([]plan.Place{d.at}, f.files.from...)
	t.End = f.Files(f.files.root, settings{{Name: "fallback", Value: t.End.Value, At: d.at}}, at...)
	t.From, t.Routed = append(t.From, f.files.from...), true
}

// serves reports whether some directives answer with files.
func serves(list []*directive) bool {
	return slices.ContainsFunc(list, func(d *directive) bool { return d.name == "file_server" || serves(d.program) })
}

// refuse reports whether some directives may answer requests for one of some paths, which try_files puts in place of
// another one: Caddy asks their matchers afterwards.
func refuse(list []*directive, paths []string) bool {
	meets := func(pattern string) bool {
		begin, end, star := strings.Cut(strings.TrimSuffix(pattern, "*"), "*")
		star = star || strings.HasSuffix(pattern, "*")
		return slices.ContainsFunc(paths, func(p string) bool {
			p = strings.Replace(p, "{path}", "/x", 1)
			return p != "/x" && strings.HasPrefix(p, begin) && (star || p == begin) && strings.Contains(p, end)
		})
	}
	may := func(l *directive) bool {
		return slices.Contains([]string{"path_regexp", "expression", "not", "file"}, l.name) ||
			l.name == "path" && slices.ContainsFunc(l.args, meets)
	}
	return slices.ContainsFunc(list, func(d *directive) bool {
		ends := d.do == nil || slices.Contains([]string{"basic_auth", "basicauth", "forward_auth", "respond", "error",
			"abort"}, d.name)
		return refuse(d.program, paths) || ends && d.when != nil && slices.ContainsFunc(d.when.lines, may)
	})
}

// fileServer is file_server.
func (f *flow) fileServer(d *directive, c *plan.Cond) bool {
	root, try := f.files.root, f.files.try
	var keys settings
	if d.arg(0) == "browse" {
		keys.set("listing", "true", d.at)
	}
	for _, l := range d.lines() {
		switch l.name {
		case "root":
			root = l.arg(0)
		case "browse":
			keys.set("listing", "true", l.at)
		case "index":
			keys.set("index", plan.List(plan.Index(l.args)...), l.at)
		default:
			f.word("file_server", l, nil)
		}
	}
	if !strings.HasPrefix(root, "/") || strings.Contains(root, "{") {
		f.word("site", d, nil)
		return f.ends(d, c, plan.Fail(404))
	}
	if len(try) > 0 && !slices.Equal(try, []string{"{path}"}) {
		keys.set("try", plan.List(try...), d.at)
	}
	f.Note(d.at, d.text, "edge answers other methods 405, and a folder without its slash 301, Caddy 404 and 308 too")
	from := append(d.places(), f.files.from...)
	f.open, f.from = false, append(slices.Clip(f.from), f.files.from...)
	return f.ends(d, c, f.Files(root, keys, from...), f.site.failing...)
}

// encode is encode: a filter for all that is not an answer of edge itself.
func (f *flow) encode(d *directive, c *plan.Cond) bool {
	var keys settings
	names := d.args
	for _, l := range d.lines() {
		switch l.name {
		case "gzip", "zstd", "br":
			names = append(names, l.name)
		default:
			f.word("encode", l, keys.set)
		}
	}
	ours := plan.Encodings(names)
	if len(ours) == 0 && len(names) > 0 {
		f.lose(d, "edge compresses with zstd and gzip")
		return false
	}
	if names = ours; len(names) > 0 && !slices.Equal(names, []string{"zstd", "gzip"}) {
		keys.set("encodings", plan.List(names...), d.at)
	}
	f.open = f.open && c == plan.Always // routes ask for the path that rules make
	own := flow{importer: f.importer, pre: f.limits}
	own.put(d, c, plan.Encode(f.Compress(keys, d.places()...)))
	f.limits = own.pre
	return false
}
