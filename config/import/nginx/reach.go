package nginx

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/value"
)

// nginx looks for a location like this, and edge takes the longest path:
//
//	the longest prefix ─► the same among the locations inside it ─► expressions inside it, in their order
//	                          │ = takes the request               │ the first that matches takes the request
//	                          ▼                                   ▼
//	                      expressions beside it, unless it is ^~ ─► the prefix that was found last
//
// A location that the two would not choose alike is not carried. Where it refuses requests, the locations are closed
// that would take them instead.

// Regular expressions that are a text, or a text that paths begin with.
var (
	literalExpr = plan.Expr(`^\^(/(?:[A-Za-z0-9_/~%-]|\\[./-])*)` +
		`(\$|\(/\|\$\)|\(\$\|/\)|/?\.\*\$?|/?\(\.\*\)\$?|\(/\.\*\)\?\$?|)$`)
	wordsExpr = plan.Expr(`^\^(/(?:[A-Za-z0-9_/-]|\\[.-])*)\((?:\?:)?([A-Za-z0-9_|-]+)\)(/.*|\$|)$`)
)

// reach finds the locations of a server that are carried.
type reach struct {
	*plan.Plan
	server *server
	all    []*location // of the file
	list   []*location // carried
	asked  []*location // carried as conditions of routes of others
	hidden map[*location]bool
	lost   []lostLocation
}

// lostLocation is a location that is not carried and that refuses requests.
type lostLocation struct {
	*location
	dir string // all of its paths begin with it
}

// reachable returns the locations that take the requests that they take in nginx: regular expressions as the paths that
// they stand for, and without those to which no request comes. asked are those that routes of others ask for.
func (im *importer) reachable(s *server, all []*location) (list, asked []*location) {
	r := &reach{Plan: im.Plan, server: s, all: all, hidden: map[*location]bool{}}
	for _, l := range all {
		switch {
		case l.mark == "@":
			r.list = append(r.list, l)
		case l.parent != nil && r.inLost(l):
		case l.regular():
			r.expression(l)
		default:
			r.plain(l)
		}
	}
	for _, l := range r.lost {
		r.closeFor(l)
	}
	r.list = slices.DeleteFunc(r.list, func(l *location) bool { return r.hidden[l] })
	r.ask()
	s.lost = r.lost
	return r.list, r.asked
}

// inLost reports whether an expression around l is not carried.
func (r *reach) inLost(l *location) bool {
	for p := l.parent; p != nil; p = p.parent {
		if p.regular() && !slices.Contains(r.list, p) {
			loseBlock(r.Plan, l.d, "it is inside "+p.d.text()+", which is not carried")
			return true
		}
	}
	return false
}

// lose adds the findings about a location that is not carried.
func (r *reach) lose(l *location, dir, why string) {
	if refusesSome(l, r.all) {
		r.lost = append(r.lost, lostLocation{l, dir})
		why += "; the locations that would take its requests are closed: 403"
	} else {
		why += "; its requests go to the next location that takes them"
	}
	loseBlock(r.Plan, l.d, why)
}

// plain adds a location with a path.
func (r *reach) plain(l *location) {
	if before := r.shadow(l); before != nil {
		loseBlock(r.Plan, l.d, "no request comes to it: location "+before.path+" goes before the location around it")
		return
	}
	for _, path := range []string{prefixOf(sent(l.path)), exactly(sent(l.path))} {
		if _, wrong, _ := value.ParsePath(path); wrong != "" {
			dir := l.path[:strings.LastIndexByte("/"+strings.TrimRight(l.path, "/"), '/')]
			if at := strings.IndexAny(l.path, "*{}%\\ "); at >= 0 {
				dir = l.path[:at]
			}
			r.lose(l, dir[:strings.LastIndexByte(dir, '/')+1], wrong)
			return
		}
	}
	r.list = append(r.list, l)
}

// shadow returns a location that takes the requests which the path of l asks for, since it is longer than the location
// around l and stands beside that; nil: none does.
func (r *reach) shadow(l *location) *location {
	for p := l.parent; p != nil; p = p.parent {
		for _, o := range r.all {
			if o.prefix() && o != p && o.parent == p.parent && !p.regular() && len(o.path) > len(p.path) &&
				strings.HasPrefix(l.path, o.path) {
				return o
			}
		}
	}
	return nil
}

// expression adds a location with a regular expression.
func (r *reach) expression(l *location) {
	m := wordsExpr().FindStringSubmatch(l.path)
	if m == nil || l.d.child("location") != nil {
		if r.literal(l, l.path) {
			r.list = append(r.list, l)
		}
		return
	}
	for _, word := range strings.Split(m[2], "|") {
		one := *l
		if r.literal(&one, "^"+m[1]+word+m[3]) {
			r.list = append(r.list, &one)
		}
	}
}

// instead carries l as a condition, or else loses it, where it has no path that takes the same requests.
func (r *reach) instead(l *location, expr, why string) {
	if r.conditional(l, expr) {
		return
	}
	if !answersAlone(l) {
		why = "expressions are carried whose location has a return, a deny all or a proxy_pass, and no rewrite"
	}
	r.lose(l, beginning(expr, l.mark), why)
}

// literal gives l the path that its regular expression stands for, and reports whether there is one that takes the same
// requests here, where the longest path goes first and not the first expression.
func (r *reach) literal(l *location, expr string) bool {
	dir := beginning(expr, l.mark)
	m := literalExpr().FindStringSubmatch(expr)
	if m == nil {
		r.instead(l, expr, "no condition of a route means the same as this expression, for all paths")
		return false
	}
	if l.mark == "~*" && strings.ToLower(m[1]) != strings.ToUpper(m[1]) && r.conditional(l, expr) {
		return false
	}
	l.path = strings.ReplaceAll(m[1], `\`, "")
	l.exact = m[2] == "$"
	l.whole = slices.Contains([]string{"(/|$)", "($|/)", "(/.*)?$"}, m[2])
	if !l.exact && strings.HasPrefix(m[2], "/") && !strings.HasPrefix(m[2], "/?") {
		l.path = strings.TrimSuffix(l.path, "/") + "/"
	}
	if l.parent != nil && !strings.HasPrefix(l.path, l.parent.path) || r.shadow(l) != nil {
		r.instead(l, expr, "it takes requests of the location around it alone")
		return false
	}
	if why := r.before(l); why != "" {
		r.instead(l, expr, why)
		return false
	}
	if l.mark == "~*" && strings.ToLower(l.path) != strings.ToUpper(l.path) {
		why := "paths are compared as they stand"
		if refusesSome(l, r.all) {
			r.lost = append(r.lost, lostLocation{l, dir})
			why += "; the locations that would take them are closed: 403"
		}
		r.Lose(l.d.at, "other cases of "+l.d.text(), why)
	}
	return true
}

// before says why l, an expression with a path, would take other requests than it takes in nginx, or "". It hides the
// location with the same path after which nginx finds l.
func (r *reach) before(l *location) (why string) {
	var guarded *location
	for _, o := range r.all {
		switch {
		case o.exact && o.mark == "=" && l.exact && o.path == l.path:
			return "location = " + o.path + " goes before it"
		case !o.prefix():
		case o.parent == l.parent && strings.HasPrefix(l.path, o.path) &&
			(guarded == nil || len(o.path) > len(guarded.path)):
			guarded = o
		case !l.exact && o.path != l.path && strings.HasPrefix(o.path, l.path) && r.comesTo(o, l):
			return "location " + o.path + " is longer and would go before it here"
		}
	}
	if guarded != nil && guarded.mark == "^~" {
		return "location ^~ " + guarded.path + " goes before it there"
	}
	for _, o := range r.list {
		switch {
		case !o.regular():
		case o.exact && (!l.exact || o.path != l.path) && !strings.HasPrefix(o.path, l.path):
		case !o.exact && strings.HasPrefix(l.path, o.path), l.exact && o.path == l.path:
			return "another expression goes before it there, and would not here"
		case o.parent != l.parent && strings.HasPrefix(o.path, l.path):
			return "another expression would go before it here"
		}
	}
	for _, o := range r.all {
		if o.prefix() && !l.exact && o.path == l.path && r.comesTo(o, l) {
			r.hidden[o] = true
			r.Note(o.d.at, o.d.text(), "no request comes to it: "+l.d.text()+" goes before it")
		}
	}
	return ""
}

// comesTo reports whether requests that l takes, an expression, come to o where l is not there.
func (r *reach) comesTo(o, l *location) bool {
	if o.mark == "@" || o.mark == "=" {
		return false
	}
	if o.d == l.d || o == l.parent {
		return o.d != l.d
	}
	beside := o
	for beside != nil && beside.parent != l.parent {
		beside = beside.parent
	}
	switch {
	case beside == nil:
		return o.regular() // one around l's: it is looked at after l
	case beside == o && o.regular():
		return slices.IndexFunc(r.all, func(x *location) bool { return x.d == o.d }) >
			slices.IndexFunc(r.all, func(x *location) bool { return x.d == l.d })
	case o.regular():
		return beside.regular()
	}
	return beside.mark != "^~"
}

// closeFor closes the locations that would take the requests of one that is not carried.
func (r *reach) closeFor(l lostLocation) {
	shorter := false
	for _, o := range r.list {
		switch {
		case o.closed != nil:
		case l.regular() && !r.comesTo(o, l.location), !l.regular() && (o.mark == "@" || o.exact):
		case o.path == l.dir, l.regular() && strings.HasPrefix(o.path, l.dir):
			o.closed = l.d
		case strings.HasPrefix(l.dir, o.path) && !o.exact:
			shorter = true
		}
	}
	for _, o := range r.asked {
		takes := !l.regular() && l.mark != "" || l.regular() && r.comesTo(o, l.location)
		if o.closed == nil && takes && meet(o.dir, l.dir) {
			o.closed = l.d
		}
	}
	there := func(o *location) bool { return o.path == l.dir && !o.exact && o.mark != "@" }
	if shorter && !slices.ContainsFunc(r.list, there) {
		r.list = append(r.list, &location{d: l.d, scope: l.scope, path: l.dir, parent: l.parent, closed: l.d})
	}
}

// beginning returns the folder in which all paths are that a regular expression matches.
func beginning(expr, mark string) string {
	text := beginningText(expr, mark)
	return text[:strings.LastIndexByte(text, '/')+1]
}

// beginningText returns what all paths begin with that a regular expression matches.
func beginningText(expr, mark string) string {
	rest, found := strings.CutPrefix(expr, "^")
	if !found || !strings.HasPrefix(rest, "/") || strings.Contains(rest, "|") && !strings.Contains(rest, "(") {
		return "/"
	}
	depth := 0
	for _, c := range rest {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth <= 0:
			return "/"
		}
	}
	end := 0
	for end < len(rest) {
		c := rest[end]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if c != '/' && c != '-' && c != '_' && (c < '0' || c > '9') && (!letter || mark == "~*") {
			break
		}
		end++
	}
	if end < len(rest) && strings.IndexByte("?*{", rest[end]) >= 0 {
		end--
	}
	return rest[:max(end, 1)]
}
