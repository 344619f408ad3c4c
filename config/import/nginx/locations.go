package nginx

import (
	"net/url"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// location is a location { }, or what nginx does where there is none.
type location struct {
	d      *directive
	scope  *scope
	mark   string // "", "=", "^~", "~", "~*", "@"
	path   string // as the file has it; of a regular expression the text that paths begin with
	exact  bool
	parent *location   // around it, or nil
	closed *directive  // a location that refuses requests which come here instead
	routes []*route    // for path "/*", to be moved to where the location is
	expr   *expression // that routes of others ask for; nil: none
	dir    string      // all paths that expr matches begin with it
	before []*location // with expressions, that take requests of this one

	whole   bool // an expression that takes whole segments
	partial bool // paths that begin with this one within a segment have routes of their own
}

// regular reports whether l was one with a regular expression, or is.
func (l *location) regular() bool { return strings.HasPrefix(l.mark, "~") }

// prefix reports whether l takes the paths that begin with a text, by itself.
func (l *location) prefix() bool { return l.mark == "" || l.mark == "^~" }

// locations translates the locations of a server to routes.
func (im *importer) locations(s *server) (routes []*route) {
	all := im.collect(s.scope, nil)
	if !slices.ContainsFunc(all, func(l *location) bool { return l.path == "/" && l.prefix() }) {
		d := &directive{name: "location", args: []string{"/"}, at: s.d.at}
		all = append(all, &location{d: d, scope: s.scope, path: "/"})
		if s.d.child("root") == nil && len(all) > 1 {
			im.Note(s.d.at, "paths that no location takes", "nginx looks for files there; edge answers 404")
		}
	}
	all, asked := im.reachable(s, all)
	for _, l := range slices.Concat(all, asked) {
		if l.mark == "@" {
			continue
		}
		l.routes = im.contentOf(s, l, all)
		for _, r := range l.routes {
			r.before = l.before
		}
	}
	parts := partials(s, all)
	taken := map[string]bool{} // paths
	for _, l := range all {
		if l.mark == "@" {
			continue
		}
		placed := im.place(l, all)
		for _, r := range placed {
			if taken[r.path] { // the routes of the location that was there first go before
				r.before = nil
			}
			r.without(parts)
			routes = append(routes, r.withExpressions()...)
		}
		for _, r := range placed {
			taken[r.path] = true
		}
	}
	for _, p := range parts {
		routes = append(routes, p.routesOf(parts)...)
	}
	return routes
}

// collect reads the locations inside a scope, at any depth.
func (im *importer) collect(at *scope, parent *location) (list []*location) {
	for _, d := range at.block.block {
		if d.name != "location" || !d.open {
			continue
		}
		d.used = true
		l := &location{d: d, scope: at.inner(d), path: d.arg(0), parent: parent}
		switch {
		case len(d.args) == 2:
			l.mark, l.path = d.args[0], d.args[1]
		case strings.HasPrefix(l.path, "@"):
			l.mark = "@"
		case strings.HasPrefix(l.path, "="):
			l.mark, l.path = "=", l.path[1:]
		case strings.HasPrefix(l.path, "^~"):
			l.mark, l.path = "^~", l.path[2:]
		case strings.HasPrefix(l.path, "~*"):
			l.mark, l.path = "~*", l.path[2:]
		case strings.HasPrefix(l.path, "~"):
			l.mark, l.path = "~", l.path[1:]
		}
		l.exact = l.mark == "="
		known := slices.Contains([]string{"", "=", "^~", "~", "~*", "@"}, l.mark) && len(d.args) > 0 && len(d.args) < 3
		if !known {
			loseBlock(im.Plan, d, "edge does not know this form")
			continue
		}
		if (l.prefix() || l.exact) && parent != nil && !parent.regular() && !strings.HasPrefix(l.path, parent.path) {
			loseBlock(im.Plan, d, "it is not below the location around it")
			continue
		}
		list = append(list, l)
		list = append(list, im.collect(l.scope, l)...)
	}
	return list
}

// loseBlock adds a finding about a block, and one about each line in it.
func loseBlock(im *plan.Plan, d *directive, why string) {
	d.used = true
	im.Lose(d.at, d.text(), why)
	for _, c := range d.block {
		loseBlock(im, c, "it is inside "+d.text()+", which is not carried")
	}
}

// prefixOf returns the pattern for all paths that begin with path, by segments.
func prefixOf(path string) string {
	if p := strings.TrimRight(path, "/"); p != "" {
		return p + "/*"
	}
	return "/*"
}

// exactly returns the pattern for one path.
func exactly(path string) string {
	if strings.HasSuffix(path, "/") || strings.HasSuffix(path, "*") {
		return "=" + path
	}
	return path
}

// sent returns a path of the file as requests have it: nginx compares decoded ones.
func sent(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return strings.ReplaceAll((&url.URL{Path: plain}).EscapedPath(), "%2A", "*")
	}
	return path
}

// place moves the routes of a location to where it is.
func (im *importer) place(l *location, all []*location) (routes []*route) {
	path := sent(l.path)
	for _, r := range l.routes {
		switch {
		case r.path != "/*": // a part of the location
			routes = append(routes, r)
		case l.exact:
			routes = append(routes, r.on(exactly(path)))
		case twin(all, l.path+"/") && !strings.HasSuffix(l.path, "/"):
			if slices.ContainsFunc(all, func(o *location) bool { return o.exact && o.path == l.path }) {
				continue // that one takes the path itself, and the twin what is below
			}
			routes = append(routes, r.on(exactly(path)))
		default:
			routes = append(routes, r.on(prefixOf(path)))
		}
	}
	if l.exact || l.path == "/" || len(routes) == 0 {
		return routes
	}
	short, slash := strings.CutSuffix(l.path, "/")
	switch {
	case !slash && (l.partial || l.whole):
	case !slash:
		im.Lose(l.d.at, l.d.text()+" for paths such as "+l.path+"x",
			"edge compares whole segments: "+prefixOf(path)+" takes "+l.path+" and all below it")
	case slices.ContainsFunc(all, func(o *location) bool { return o.path == short && o.mark != "@" }):
	case l.prefix() && slices.ContainsFunc(l.routes, func(r *route) bool { return r.proxied }):
		// nginx leads from /api to /api/ where that is proxied.
		r := &route{path: exactly(sent(short)), from: []plan.Place{l.d.at}}
		r.set("redirect", "{ to = "+plan.String(templateText(path))+", status = 301 }", l.d.at)
		routes = append(routes, r)
	default:
		for _, r := range around(l, all).routes {
			if r.path == "/*" {
				routes = append(routes, r.on(exactly(sent(short))))
			}
		}
	}
	return routes
}

// twin reports whether there is a location for all paths that begin with path.
func twin(all []*location, path string) bool {
	return slices.ContainsFunc(all, func(o *location) bool { return o.path == path && !o.exact && o.mark != "@" })
}

// around returns the location that takes the requests of l's path without the slash at its end.
func around(l *location, all []*location) *location {
	short := strings.TrimSuffix(l.path, "/")
	best := &location{}
	for _, o := range all {
		if o.mark == "@" || o.exact || o == l || !strings.HasPrefix(short, o.path) {
			continue
		}
		if best.d == nil || len(o.path) > len(best.path) {
			best = o
		}
	}
	return best
}

// templateText returns a path as a template has it.
func templateText(path string) string {
	return strings.NewReplacer("{", "%7B", "}", "%7D").Replace(path)
}
