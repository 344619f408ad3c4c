package nginx

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config/value"
)

// location is a location { }, or what nginx does where there is none.
type location struct {
	d     *directive
	scope *scope
	mark  string // "", "=", "^~", "~", "~*", "@"
	path  string // as the file has it
	inner []*location
	cond  *plan.Cond // of its requests, by itself
}

func (l *location) regular() bool { return strings.HasPrefix(l.mark, "~") }

// form matches the arguments of a location, with a line end between them: its mark and its path.
var form = plan.Expr(`(?s)^(\^~|=|~\*|~|@|)\n?([^\n]*)$`)

// collect reads the locations directly inside a scope, and those in them. Those with a name are among named.
func (im *importer) collect(at *scope, named map[string]*location) (list []*location) {
	for _, d := range at.block.block {
		m := form().FindStringSubmatch(strings.Join(d.args, "\n"))
		if d.name != "location" || m == nil {
			continue
		}
		d.used = true
		l := &location{d: d, scope: at.inner(d), mark: m[1], path: m[2]}
		if l.mark == "@" {
			named["@"+l.path] = l
			continue
		}
		l.cond = pathCond(l)
		l.inner = im.collect(l.scope, named)
		list = append(list, l)
	}
	return list
}

// beginningExpr matches expressions of paths in a folder.
var beginningExpr = plan.Expr(`^\^(/(?:[A-Za-z0-9_-]+/)*)(?:[^*?{|][^|]*)?$`)

func pathCond(l *location) *plan.Cond {
	if l.regular() {
		c := plan.Unknown
		if d := l.scope.find("merge_slashes"); d == nil || d.arg(0) == "on" {
			c = pathMatches(l.path, l.mark == "~*")
		}
		// What all paths begin with that it matches: the others do not come here.
		if m := beginningExpr().FindStringSubmatch(l.path); c == plan.Unknown && m != nil && l.mark == "~" {
			c = plan.All(pathCond(&location{path: m[1]}), plan.Unknown)
		}
		return c
	}
	path, operator := sent(l.path), "starts_with"
	if l.mark == "=" {
		operator = "=="
	}
	same := plan.Compare(comparedPath, operator, decoded(l.path))
	p := plan.Path{Pattern: path, Text: same.String(), Same: same.String(), Within: true}
	switch {
	case same == plan.Unknown:
		return plan.Unknown
	case l.mark == "=":
	case path == "/" || path == "":
		return plan.Always
	case strings.HasSuffix(path, "/"):
		p.Pattern, p.Below = path+"*", true
	default:
		p.Pattern, p.Within, p.Loss = path+"/*", false, "paths such as "+path+"x"
	}
	if _, wrong, _ := value.ParsePath(strings.TrimSuffix(p.Pattern, "/*")); wrong != "" || strings.Contains(path, "*") {
		return same
	}
	return p.Cond()
}

// decoded returns a path of the file as nginx compares it.
func decoded(path string) string {
	plain, _ := url.PathUnescape(path)
	return cmp.Or(plain, path)
}

// sent returns a path of the file as requests have it.
func sent(path string) string {
	return strings.ReplaceAll((&url.URL{Path: decoded(path)}).EscapedPath(), "%2A", "*")
}

// place is a location in the order of a server, with the condition of its requests.
type place struct {
	*location
	when     *plan.Cond
	redirect bool // of the path without the slash at its end
}

// order is the locations of a server in the order in which nginx chooses one:
//
//	the longest prefix ─► the same among the locations inside it ─► expressions inside it, in their order
//	                          │ = takes the request               │ the first that matches takes the request
//	                          ▼                                   ▼
//	                      expressions beside it, unless it is ^~ ─► the prefix that was found last
type order struct{ exact, regular, prefix []place }

// orderOf returns the order of locations beside each other. around are conditions of the requests for which nginx
// looks among them.
func orderOf(list []*location, around ...*plan.Cond) (o order) {
	prefixes := slices.DeleteFunc(slices.Clone(list), func(l *location) bool { return l.regular() || l.mark == "=" })
	slices.SortStableFunc(prefixes, func(a, b *location) int { return cmp.Compare(len(b.path), len(a.path)) })
	var kept []*plan.Cond // from regular expressions
	var exact []place     // inside of prefixes
	for i, l := range prefixes {
		own, open := []*plan.Cond{l.cond}, []*plan.Cond{l.cond}
		var longer []*location
		for _, o := range prefixes[:i] {
			if !strings.HasPrefix(o.path, l.path) {
				continue
			}
			if longer, own = append(longer, o), append(own, plan.Not(o.cond)); o.mark == "" {
				open = append(open, plan.Not(o.cond))
			}
		}
		if l.mark == "^~" {
			kept = append(kept, plan.Not(plan.All(open...)))
		}
		inside := orderOf(l.inner, slices.Concat(around, own)...)
		for _, p := range inside.exact {
			if !slices.ContainsFunc(longer, func(o *location) bool { return strings.HasPrefix(p.path, o.path) }) {
				exact = append(exact, p)
			}
		}
		o.regular = append(o.regular, inside.regular...)
		o.prefix = append(append(o.prefix, inside.prefix...), place{l, l.cond, false})
	}
	for _, l := range list {
		short, slash := strings.CutSuffix(l.path, "/")
		if slash && short != "" && l.mark != "=" && !l.regular() &&
			(l.d.child("proxy_pass") != nil || l.d.child("grpc_pass") != nil) &&
			!slices.ContainsFunc(list, func(o *location) bool { return !o.regular() && o.path == short }) {
			o.exact = append(o.exact, place{l, plan.PathIs(sent(short)), l.scope.find("internal") == nil})
		}
		switch {
		case l.mark == "=":
			o.exact = append(o.exact, place{l, l.cond, false})
		case l.regular():
			when := plan.All(slices.Concat(kept, around, []*plan.Cond{l.cond})...)
			inside := orderOf(l.inner, when)
			for _, p := range slices.Concat(inside.exact, inside.prefix) {
				o.regular = append(o.regular, place{p.location, plan.All(when, p.when), p.redirect})
			}
			o.regular = append(append(o.regular, inside.regular...), place{l, when, false})
		}
	}
	o.exact = append(o.exact, exact...)
	return o
}
