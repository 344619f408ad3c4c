package nginx

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// A location with a regular expression becomes routes whose when asks for it, one for each location that its requests
// would go to without it. They have the path of that location, so that both programs come to the same choice:
//
//	location /a/ { A }                 /a/*  when = 'path ~ "/\.git"'  B
//	location ~ /\.git { B }    ──►     /a/*                            A
//
// An expression of PCRE looks at the bytes of a path that is decoded, one of the language at the text of a path in
// normal form. These are carried:
//
//	/\.git                path ~ "/\.git"                         no match begins or ends within an escape
//	\.php$                url_decode(path) ~ "\.php\n?$"          $ takes a line end that the path has at its end
//	(~*) \.(jpg|png)$     lower(url_decode(path)) ~ "\.(jpg|png)\n?$"   letters of ASCII alone are in any case there
//
// What has a piece of any length, such as .*, is compared with the path whose slashes are merged too, as nginx sees it.
// Two such pieces beside each other are not carried: they may share the bytes of one character.

// expressionsMax is how many expressions of one server are carried as conditions: each makes a route for each location.
const expressionsMax = 16

// decodedMax is the length of a head up to which url_decode has all of a path.
const decodedMax = 64 << 10

// mergedPath is a path as nginx compares it.
const mergedPath = `re_replace(url_decode(path), "/+", "/")`

// expression is a regular expression as the language has it.
type expression struct{ subject, text string }

// holds returns the condition that e matches, or that it does not.
func (e *expression) holds(matches bool) string {
	if matches {
		return e.subject + ` ~ "` + e.text + `"`
	}
	return e.subject + ` !~ "` + e.text + `"`
}

// inClass matches what classes of characters have in them.
const inClass = `[0-9]-[0-9]|[a-z]-[a-z]|[A-Z]-[A-Z]|[A-Za-z0-9_.~]|\\[.d]`

// Pieces of regular expressions that mean the same in both, one after the other.
var (
	piece = plan.Expr(`^(?:(\^)|(\$)|(\((?:\?:)?)|(\))|(\|)|((?:\.|\[\^/?(?:` + inClass + `)*/?-?\])[*+]\??)|` +
		`((?:[A-Za-z0-9_~/,;:=@!&#%<> -]|\\[!-/:-@^_{|}~\[\]]|\\[dw]|\[(?:` + inClass + `)+-?\]))|` +
		`([*+?]\??|\{\d+(?:,\d*)?\}\??))`)
	// simpleExpr matches expressions of characters that no escape stands for, whose first one is in no escape.
	simpleExpr = plan.Expr(`^(?:\^/?|/|\\\.)(?:[A-Za-z0-9_~/-]|\\[./_~-]|\((?:\?:)?|\)|\|)*$`)
)

// expressionOf returns the expression of a location as the language has it; ok is false where it may mean something
// else there.
func expressionOf(text, mark string) (e expression, ok bool) {
	if strings.ContainsAny(text, "\"'`") || strings.Contains(text, `\"`) || strings.Contains(text, `\'`) {
		return e, false
	}
	var b strings.Builder
	var quantified bool // a group is repeated
	wide, any, depth := false, false, 0
	for rest := text; rest != ""; {
		m := piece().FindStringSubmatch(rest)
		if m == nil {
			return e, false
		}
		after := rest[len(m[0]):]
		written := m[0]
		switch {
		case m[2] != "":
			if end := strings.TrimLeft(after, ")"); end != "" && (depth > 0 || end[0] != '|') {
				return e, false
			}
			written = `\n?$`
		case m[3] != "":
			depth++
		case m[4] != "":
			depth--
			quantified = quantified || after != "" && strings.IndexByte("*+?{", after[0]) >= 0
		case m[6] != "":
			if wide {
				return e, false
			}
			wide, any = true, true
		case m[7] != "":
			optional := after != "" && strings.IndexByte("*?{", after[0]) >= 0
			wide = wide && (depth > 0 || optional)
		}
		b.WriteString(written)
		rest = after
	}
	if any && quantified {
		return e, false
	}
	e = expression{"url_decode(path)", b.String()}
	switch {
	case any:
		e.subject = mergedPath
	case simpleExpr().MatchString(text) && !topLevelOr(text):
		e.subject = "path"
	}
	if mark == "~*" {
		e = expression{"lower(" + e.subject + ")", strings.ToLower(e.text)}
	}
	_, err := regexp.Compile(e.text)
	return e, err == nil
}

// topLevelOr reports whether an expression has alternatives outside of groups, or a group at its begin.
func topLevelOr(text string) bool {
	depth := 0
	for i, c := range text {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			return true
		}
		if c == '(' && strings.Trim(text[:i], "^") == "" {
			return true
		}
	}
	return false
}

// takenByRoutes reports whether a route may have all of these expressions in its condition.
func takenByRoutes(list []*location, last *expression) bool {
	when := last.holds(true)
	for _, l := range list {
		when += " and " + l.expr.holds(false)
	}
	text := "[http]\nlisten = \":80\"\n[[routes]]\ndest = \"status:403\"\nwhen = " + plan.Literal(when) + "\n"
	return plan.TextOnly([]byte(text)).OK()
}

// conditional makes l, a location with this regular expression, one that routes ask for by a condition. It reports
// whether that takes the same requests.
func (r *reach) conditional(l *location, expr string) bool {
	// One inside a location goes before those outside for requests of that location alone.
	outside := func(o *location) bool { return o.regular() && !o.inside(l.parent) }
	if r.server.rewritten || len(r.asked) == expressionsMax || !answersAlone(l) ||
		l.parent != nil && slices.ContainsFunc(r.all, outside) {
		return false
	}
	e, ok := expressionOf(expr, l.mark)
	if !ok || !takenByRoutes(r.asked, &e) {
		return false
	}
	if e.subject != "path" && r.longHeads() || strings.Contains(e.subject, mergedPath) && r.keepsSlashes() {
		return false
	}
	l.path, l.exact, l.expr, l.dir = "/", false, &e, beginningText(expr, l.mark)
	r.asked = append(r.asked, l)
	return true
}

// inside reports whether l is inside another location, at any depth.
func (l *location) inside(outer *location) bool {
	for p := l.parent; p != nil; p = p.parent {
		if p == outer {
			return true
		}
	}
	return false
}

// longHeads reports whether heads may be so long that a computed path is cut off.
func (r *reach) longHeads() bool {
	d := r.server.scope.get("large_client_header_buffers")
	if d == nil {
		return false
	}
	number, known := parseSize(d.arg(0))
	size, valid := parseSize(d.arg(1))
	return !known || !valid || number > decodedMax || size > decodedMax || number*size > decodedMax
}

// keepsSlashes reports whether nginx compares paths with several slashes beside each other.
func (r *reach) keepsSlashes() bool {
	for at := r.server.scope; at != nil; at = at.outer {
		if d := at.block.child("merge_slashes"); d != nil {
			return d.arg(0) != "on"
		}
	}
	return false
}

// answersAlone reports whether a location answers or sends on all of its requests by itself.
func answersAlone(l *location) bool {
	answers := false
	for _, d := range l.d.block {
		switch d.name {
		case "proxy_pass":
			target, known := parseTarget(expand(d.arg(0), l.scope.constants))
			if known && target.hasURI {
				return false
			}
			answers = true
		case "return", "grpc_pass":
			answers = true
		case "rewrite", "location", "try_files":
			return false
		case "if":
			if d.child("rewrite") != nil || d.child("proxy_pass") != nil {
				return false
			}
		}
	}
	found, rules := guardsOf(l.scope)
	return answers || found == nil && verdictOf(rules) == nobody
}

// ask has the locations that would take the requests of those in r.asked ask for them first.
func (r *reach) ask() {
	depth := func(l *location) (n int) {
		for p := l.parent; p != nil; p = p.parent {
			n++
		}
		return n
	}
	// Expressions inside the longest prefix go before those beside it.
	slices.SortStableFunc(r.asked, func(a, b *location) int { return cmp.Compare(depth(b), depth(a)) })
	for _, o := range r.list {
		if o.closed == o.d { // it stands for one that is not carried, and for all that would go before that
			continue
		}
		for _, l := range r.asked {
			// All paths of l may begin with one that another location keeps from expressions.
			kept := slices.ContainsFunc(r.list, func(k *location) bool {
				return k.mark == "^~" && k.parent == l.parent && len(o.path) <= len(k.path) &&
					strings.HasPrefix(l.dir, k.path)
			})
			if !kept && r.comesTo(o, l) && meet(o.path, l.dir) {
				o.before = append(o.before, l)
			}
		}
	}
}

// meet reports whether a path may be below both of two beginnings of paths.
func meet(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// mayMatch reports whether e may match a path that the pattern of a route takes.
func (e *expression) mayMatch(pattern string) bool {
	path, err := url.PathUnescape(strings.TrimPrefix(pattern, "="))
	if err != nil || strings.HasSuffix(pattern, "/*") {
		return true
	}
	if strings.HasPrefix(e.subject, "lower(") {
		path = strings.ToLower(path)
	}
	re, err := regexp.Compile(e.text)
	return err != nil || re.MatchString(path)
}

// withExpressions returns r and, before it, the routes for its requests that expressions take.
func (r *route) withExpressions() (routes []*route) {
	r.before = slices.DeleteFunc(slices.Clone(r.before), func(l *location) bool { return !l.expr.mayMatch(r.path) })
	and := func(conditions ...string) string {
		return strings.Join(slices.DeleteFunc(conditions, func(c string) bool { return c == "" }), " and ")
	}
	others := and(r.unless...)
	for _, l := range r.before {
		for _, own := range l.routes {
			c := own.on(r.path)
			c.when = and(r.when, l.expr.holds(true), others)
			routes = append(routes, c)
		}
		others = and(others, l.expr.holds(false))
	}
	if r.when != "" {
		r.when = and(r.when, others)
	}
	r.others = others
	return append(routes, r)
}
