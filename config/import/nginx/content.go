package nginx

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// contentOf returns the routes of a location, for the path "/*".
func (im *importer) contentOf(s *server, l *location, all []*location) []*route {
	if l.closed == l.d {
		return closed([]*route{answer("200", l.d.at)}, l.d)
	}
	if d := l.scope.own("internal"); d != nil {
		return []*route{answer("404", d.at)}
	}
	p := im.rewritePhase(s, l.scope, l)
	for i, r := range p.parts {
		p.parts[i] = r
		if below, _ := strings.CutSuffix(r.path, "/*"); !strings.HasPrefix(below+"/", l.path) {
			im.Lose(r.from[0], "a rewrite for "+r.path, "it is not below its location")
			p.parts[i] = nil
		}
	}
	parts := slices.DeleteFunc(p.parts, func(r *route) bool { return r == nil })
	whole := im.tested(s, l, all, &p, p.inner)
	whole.from = append([]plan.Place{l.d.at}, whole.from...)
	im.responseFields(l.scope, whole)
	if d := l.scope.own("access_log"); d != nil && !hasVariables(d.arg(0)) {
		whole.set("access_log", logTarget(d), d.at)
	}
	routes := append([]*route{whole.on("/*")}, parts...)
	if l.closed != nil {
		routes = closed(routes, l.closed)
	}
	return routes
}

// tested returns the route of what a location contains, with the tests that its requests have to pass.
func (im *importer) tested(s *server, l *location, all []*location, p *phase, inner []rewriting) *route {
	whole := p.whole
	if whole == nil {
		whole = im.guarded(s, l, all, inner)
		p.keep(whole)
	}
	var tests []condition
	if d := l.scope.own("limit_except"); d != nil {
		tests = append(tests, im.exceptMethods(s, l, d, all, inner))
	}
	whole.tests = slices.Concat(tests, p.conditions, whole.tests)
	return whole
}

// guarded returns the route of what a location contains, after what its requests have to pass. Where edge does not have
// that, it stays closed.
func (im *importer) guarded(s *server, l *location, all []*location, inner []rewriting) *route {
	e := im.filters.entryOf(s, l.scope)
	if e.nobody != nil {
		for _, d := range l.scope.all("allow", "deny") {
			im.Note(d.at, d.text(), "everybody is refused")
		}
		r := answer("403", e.nobody.at)
		for _, name := range []string{"proxy_pass", "grpc_pass"} {
			if pass := l.scope.own(name); pass != nil {
				r.from, r.proxied = append(r.from, pass.at), true
			}
		}
		return r
	}
	r := im.content(s, l, all, inner)
	switch {
	case e.closed == nil:
		e.pass(r)
	case e.closed.unread:
		r.close(e.closed)
	default:
		r.from = append(r.from, e.from...)
		r.shut(e.closed.at, e.why)
	}
	return r
}

// dest returns where a route leads, as it stands in the result.
func (r *route) dest() string {
	for _, k := range r.keys {
		if k.name == "dest" {
			return k.value
		}
	}
	return ""
}

// scripts are directives that ask a server which does not speak HTTP.
var scripts = []string{"fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass", "content_by_lua_block",
	"content_by_lua_file", "js_content", "stub_status", "dav_methods", "mirror"}

// content returns the route to what makes the answers of a location.
func (im *importer) content(s *server, l *location, all []*location, inner []rewriting) *route {
	if d := l.scope.own("proxy_pass"); d != nil {
		return im.proxy(s, l, d, inner)
	}
	if d := l.scope.own("grpc_pass"); d != nil {
		return im.proxy(s, l, d, inner)
	}
	for _, name := range scripts {
		if d := l.scope.own(name); d != nil {
			im.Lose(d.at, d.text(), "backends speak HTTP; such requests are answered 503")
			return answer("503", d.at)
		}
	}
	return im.files(s, l, all, inner)
}

// files returns the route of a location that serves files. edge serves none: the answer is 404, or that of the last
// resort that try_files names.
func (im *importer) files(s *server, l *location, all []*location, inner []rewriting) *route {
	if d := l.scope.own("try_files"); d != nil && len(d.args) > 1 {
		last := d.args[len(d.args)-1]
		for _, o := range all {
			if o.mark == "@" && o.path == last {
				im.Lose(d.at, d.text(), "edge serves no files: all requests go to location "+last)
				named := *l
				named.scope = o.scope
				r := im.named(s, &named, inner)
				r.from, r.proxied = append(r.from, d.at, o.d.at), false
				return r
			}
		}
		if status, found := strings.CutPrefix(last, "="); found {
			im.Lose(d.at, d.text(), "edge serves no files: all such requests are answered "+status)
			if n, err := strconv.Atoi(status); err == nil && n >= 200 && n < 600 {
				return answer(status, d.at)
			}
		}
		im.Lose(d.at, d.text(), "edge serves no files: such requests are answered 404")
	}
	for _, name := range []string{"root", "alias", "index", "autoindex"} {
		if d := l.scope.get(name); d != nil {
			im.Lose(d.at, d.text(), "edge serves no files: such requests are answered 404")
		}
	}
	if l.d.name == "location" && len(inner) > 0 {
		im.Lose(inner[0].at, "rewrite", "nothing of the location goes to a backend")
	}
	return answer("404", l.d.at)
}

// named returns the route of a location with a name for requests that have come through another one. It has tests and
// guards of its own.
func (im *importer) named(s *server, l *location, inner []rewriting) *route {
	p := im.rewritePhase(s, l.scope, l)
	for _, r := range p.parts {
		im.Lose(r.from[0], "a rewrite for "+r.path, "it is inside a location with a name")
	}
	l.scope.own("internal")
	return im.tested(s, l, nil, &p, append(slices.Clone(inner), p.inner...))
}

// responseFields writes the fields of answers.
func (im *importer) responseFields(at *scope, r *route) {
	var fields []plan.Field
	var places []plan.Place
	add := func(name, value string, d *directive) {
		if slices.ContainsFunc(fields, func(f plan.Field) bool { return strings.EqualFold(f.Name, name) }) {
			im.Lose(d.at, d.text(), "one field of a name can be set")
			return
		}
		fields = append(fields, plan.Field{Name: name, Value: value})
		places = append(places, d.at)
	}
	for _, d := range at.all("add_header") {
		value, unknown := translate(expand(d.arg(1), at.constants), factNames())
		switch {
		case unknown != "":
			im.Lose(d.at, d.text(), "fields of answers have no "+unknown)
		case strings.EqualFold(d.arg(0), "Content-Type"):
			im.Note(d.at, d.text(), "edge says the type of its own answers itself")
		case value == "":
		default:
			if d.arg(2) != "always" {
				im.Note(d.at, d.text(), "edge sets it in every answer, nginx in 2xx and 3xx alone")
			}
			add(d.arg(0), value, d)
		}
	}
	for _, d := range at.all("proxy_hide_header") {
		add(d.arg(0), "", d)
	}
	if len(fields) > 0 {
		r.set("headers.response", plan.Table(fields), places[0])
		r.from = append(r.from, places[1:]...)
	}
}

// errorPages writes the pages of error_page that are files.
func (im *importer) errorPages(s *server, l *location, r *route) {
	var fields []plan.Field
	var at plan.Place
	for _, d := range l.scope.all("error_page") {
		file := ""
		uri := d.arg(len(d.args) - 1)
		eachLocation(s.d, func(loc *directive) {
			if slices.Contains(loc.args, uri) || slices.Contains(loc.args, "="+uri) {
				inside := s.scope.inner(loc)
				if root, _, ok := inside.value("root"); ok && !hasVariables(root) {
					file = filepath.Join(root, uri)
				}
			}
		})
		if root, _, ok := s.scope.value("root"); file == "" && ok && !hasVariables(root) {
			file = filepath.Join(root, uri)
		}
		named := len(d.args) > 2 && strings.HasPrefix(d.args[len(d.args)-2], "=")
		if file == "" || named || !strings.HasPrefix(uri, "/") {
			im.Lose(d.at, d.text(), "error pages are files with names that stand there")
			continue
		}
		for _, code := range d.args[:len(d.args)-1] {
			fields = append(fields, plan.Field{Name: code, Value: file})
		}
		at = d.at
		r.from = append(r.from, d.at)
	}
	if len(fields) > 0 {
		r.set("error_pages", plan.Table(fields), at)
	}
	if d := l.scope.get("proxy_intercept_errors"); d != nil && d.arg(0) == "on" {
		r.set("intercept_errors", "true", d.at)
	}
}
