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
	routes []*route // for path "/*", to be moved to where the location is
}

// locations translates the locations of a server to routes.
func (im *importer) locations(s *server) (routes []*route) {
	all := im.collect(s, s.scope, "")
	if !slices.ContainsFunc(all, func(l *location) bool { return l.path == "/" && !l.exact && l.mark != "@" }) {
		d := &directive{name: "location", args: []string{"/"}, at: s.d.at}
		all = append(all, &location{d: d, scope: s.scope, path: "/"})
		if s.d.child("root") == nil && len(all) > 1 {
			im.Note(s.d.at, "paths that no location takes", "nginx looks for files there; edge answers 404")
		}
	}
	all = im.literals(all)
	for _, l := range all {
		if l.mark != "@" {
			l.routes = im.contentOf(s, l, all)
		}
	}
	for _, l := range all {
		if l.mark != "@" {
			routes = append(routes, im.place(l, all)...)
		}
	}
	return routes
}

// collect reads the locations inside a scope, at any depth.
func (im *importer) collect(s *server, at *scope, above string) (list []*location) {
	for _, d := range at.block.block {
		if d.name != "location" || !d.open {
			continue
		}
		d.used = true
		l := &location{d: d, scope: at.inner(d), path: d.arg(0)}
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
		plain := l.mark != "@" && !strings.HasPrefix(l.mark, "~")
		if !known {
			loseBlock(im, d, "edge does not know this form")
			continue
		}
		if plain && !strings.HasPrefix(l.path, above) {
			loseBlock(im, d, "it is not below the location around it")
			continue
		}
		inside := l.path
		if strings.HasPrefix(l.mark, "~") {
			inside = ""
		}
		list = append(list, l)
		list = append(list, im.collect(s, l.scope, inside)...)
	}
	return list
}

// Regular expressions that are a text, or a text that paths begin with.
var (
	literalExpr = plan.Expr(`^\^(/(?:[A-Za-z0-9_/~%-]|\\[./-])*)` +
		`(\$|\(/\|\$\)|\(\$\|/\)|/?\.\*\$?|/?\(\.\*\)\$?|\(/\.\*\)\?\$?|)$`)
	wordsExpr = plan.Expr(`^\^(/(?:[A-Za-z0-9_/-]|\\[.-])*)\((?:\?:)?([A-Za-z0-9_|-]+)\)(/.*|\$|)$`)
)

// literals replaces locations with regular expressions by those with paths that take the same requests, and finds a
// reason where there are none.
func (im *importer) literals(all []*location) (list []*location) {
	for _, l := range all {
		if !strings.HasPrefix(l.mark, "~") {
			list = append(list, l)
			continue
		}
		expr := l.path
		if m := wordsExpr.Regexp().FindStringSubmatch(expr); m != nil {
			words := strings.Split(m[2], "|")
			for _, word := range words {
				one := *l
				if im.literal(&one, "^"+m[1]+word+m[3], all, list) {
					list = append(list, &one)
				}
			}
			continue
		}
		if im.literal(l, expr, all, list) {
			list = append(list, l)
		}
	}
	return list
}

// literal gives l the path that its regular expression stands for, and reports whether there is one that takes the same
// requests here, where the longest path goes first and not the first expression.
func (im *importer) literal(l *location, expr string, all, before []*location) bool {
	m := literalExpr.Regexp().FindStringSubmatch(expr)
	lose := func(why string) bool {
		loseBlock(im, l.d, why+"; its requests go to the next location that takes them")
		return false
	}
	if m == nil {
		return lose("routes compare paths as they stand, without regular expressions")
	}
	l.path = strings.ReplaceAll(m[1], `\`, "")
	l.exact = m[2] == "$"
	if !l.exact && strings.HasPrefix(m[2], "/") && !strings.HasPrefix(m[2], "/?") {
		l.path = strings.TrimSuffix(l.path, "/") + "/"
	}
	for _, other := range all {
		if other.mark == "" && !l.exact && other.path != l.path && strings.HasPrefix(other.path, l.path) {
			return lose("location " + other.path + " is longer and would go before it here")
		}
	}
	for _, other := range before {
		if strings.HasPrefix(other.mark, "~") && strings.HasPrefix(l.path, other.path) {
			return lose("another expression goes before it there, and would not here")
		}
	}
	if l.mark == "~*" && strings.ToLower(l.path) != strings.ToUpper(l.path) {
		im.Lose(l.d.at, "other cases of "+l.d.text(), "paths are compared as they stand")
	}
	return true
}

// loseBlock adds a finding about a block, and one about each line in it.
func loseBlock(im *importer, d *directive, why string) {
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
	case !slash:
		im.Lose(l.d.at, l.d.text()+" for paths such as "+l.path+"x",
			"edge compares whole segments: "+prefixOf(path)+" takes "+l.path+" and all below it")
	case slices.ContainsFunc(all, func(o *location) bool { return o.path == short && o.mark != "@" }):
	case slices.ContainsFunc(l.routes, func(r *route) bool { return r.proxied }):
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
