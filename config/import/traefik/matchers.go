package traefik

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/route"
)

// conj is what one way to meet a rule asks: a test, tests that must not be met, and what edge cannot ask.
type conj struct {
	test
	nots    []test
	unknown []string
}

// conjMax is how many ways to meet it a rule may have.
const conjMax = 256

// meaning is what a rule means to edge.
type meaning struct {
	ways   []conj
	wide   []string // what the routes take, and the rule does not, or the other way round
	strict bool     // the router keeps requests away: nothing that it takes may be left to others
	failed string   // why the rule cannot be carried at all
}

// mean translates a rule. strict is true where its router keeps requests away.
func mean(e *expr, strict bool) meaning {
	m := &meaning{strict: strict}
	m.ways = m.of(e, false)
	if len(m.ways) > conjMax {
		m.ways, m.failed = nil, "it can be met in more than 256 ways"
	}
	slices.Sort(m.wide)
	m.wide = slices.Compact(m.wide)
	return *m
}

// of returns the ways to meet e, or not to meet it.
func (m *meaning) of(e *expr, not bool) []conj {
	switch e.op {
	case '!':
		return m.of(e.kids[0], !not)
	case 0:
		return m.call(e, not)
	}
	all := e.op == '&' != not
	var ways []conj
	for i, kid := range e.kids {
		more := m.of(kid, not)
		switch {
		case i == 0:
			ways = more
		case all:
			ways = product(ways, more)
		default:
			ways = append(ways, more...)
		}
		if len(ways) > conjMax {
			return ways[:conjMax+1]
		}
	}
	return ways
}

// product returns the ways to meet one of a and one of b.
func product(a, b []conj) (ways []conj) {
	for _, x := range a {
		for _, y := range b {
			both, ok := x.and(y.test)
			if !ok {
				continue
			}
			ways = append(ways, conj{both, slices.Concat(x.nots, y.nots), slices.Concat(x.unknown, y.unknown)})
			if len(ways) > conjMax {
				return ways
			}
		}
	}
	return ways
}

// call returns the ways to meet a matcher, or not to meet it.
func (m *meaning) call(e *expr, not bool) []conj {
	ways, ok := m.matcher(strings.ToLower(e.name), e.args)
	if text := inLanguage(strings.ToLower(e.name), e.args); !ok && text != "" {
		if not {
			text = negated(text)
		}
		return []conj{{test: test{conds: []cond{{'w', text, ""}}}}}
	}
	if !ok {
		text := e.name + "(`" + strings.Join(e.args, "`, `") + "`)"
		return []conj{{unknown: []string{text}}}
	}
	if !not {
		return ways
	}
	none := []conj{{}}
	for _, w := range ways {
		var part []conj
		if w.test.key() != (test{}).key() {
			part = append(part, w.test.missed()...)
		}
		for _, n := range w.nots {
			part = append(part, conj{test: n})
		}
		none = product(none, part)
	}
	return none
}

// missed returns the ways not to meet a test.
func (a test) missed() []conj {
	if whens, others := a.whens(); len(whens) == 1 && others == 0 && a.host == "" {
		return []conj{{test: test{conds: []cond{{'w', negated(whens[0]), ""}}}}} // it asks for the path too
	}
	return []conj{{nots: []test{a}}}
}

// matcher returns the ways to meet a matcher; ok is false where edge cannot ask for it.
func (m *meaning) matcher(name string, args []string) (ways []conj, ok bool) {
	if len(args) == 0 {
		return nil, false
	}
	switch name {
	case "host", "hostheader":
		return each(args, m.host)
	case "hostregexp":
		return each(args, m.hostRegexp)
	case "path":
		return each(args, m.path)
	case "pathprefix":
		return each(args, m.pathPrefix)
	case "pathregexp":
		if slices.ContainsFunc(args, withinSegment) {
			return nil, false
		}
		return each(args, m.pathRegexp)
	case "method":
		return each(args, method)
	case "header", "headers":
		return pairs('h', args, false)
	case "headerregexp", "headersregexp":
		return pairs('h', args, true)
	case "queryregexp":
		return pairs('q', args, len(args) > 1)
	case "query":
		if len(args) == 2 && !strings.Contains(args[0], "=") {
			return pairs('q', args, false)
		}
		return parameters(args)
	}
	return nil, false
}

// plainExpr matches expressions of characters that no escape of a path stands for.
var plainExpr = plan.Expr(`^[A-Za-z0-9_/^$()|?:*+.\[\]\\{},-]*$`)

// inLanguage returns what conditions of routes do not ask, in the language; "": nor does that.
func inLanguage(name string, args []string) string {
	subject := ""
	switch name {
	case "clientip":
		if list, why := ranges(args); why == "" && len(list) > 0 {
			return "peer.ip in {" + strings.Join(list, " ") + "}"
		}
		return ""
	case "hostregexp":
		subject = "host"
	case "pathregexp":
		subject = "url_decode(path)"
	default:
		return ""
	}
	var parts []string
	for _, a := range args {
		if isTemplate(a) {
			any := "[^/]+"
			if subject == "host" {
				any = "[^.]+"
			}
			a = fromTemplate(a, any)
		}
		if _, err := regexp.Compile(a); err != nil || strings.ContainsAny(a, "\"`\n") || len(a) > valueMax ||
			strings.HasSuffix(a, `\`) {
			return ""
		}
		if subject == "url_decode(path)" && plainExpr().MatchString(a) && !strings.Contains(a, "[^") {
			parts = append(parts, `path ~ "`+a+`"`)
			continue
		}
		parts = append(parts, subject+` ~ "`+a+`"`)
	}
	if len(parts) > 1 {
		return "(" + strings.Join(parts, " or ") + ")"
	}
	return strings.Join(parts, "")
}

// each joins the ways to meet each of several arguments.
func each(args []string, one func(string) ([]conj, bool)) (ways []conj, ok bool) {
	for _, a := range args {
		more, ok := one(a)
		if !ok {
			return nil, false
		}
		ways = append(ways, more...)
	}
	return ways, true
}

func method(name string) ([]conj, bool) {
	name = strings.ToUpper(name)
	return []conj{{test: test{conds: []cond{{'m', name, ""}}}}}, message.ValidName(name)
}

// pairs returns the way to meet names and their values, all of them.
func pairs(kind byte, args []string, expression bool) ([]conj, bool) {
	var t test
	ok := true
	for i := 0; i < len(args) && ok; i += 2 {
		name, value := args[i], ""
		if kind == 'h' {
			name = strings.ToLower(name)
		}
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch _, err := regexp.Compile(value); {
		case kind == 'h' && (name == "host" || !message.ValidName(name)), name == "", len(value) > valueMax,
			expression && err != nil:
			return nil, false
		case expression:
			value = "~" + value
		case value == "":
			value = "~^$"
		case strings.HasPrefix(value, "~"):
			value = "~^" + regexp.QuoteMeta(value) + "$"
		}
		t, ok = t.and(test{conds: []cond{{kind, name, value}}})
	}
	return []conj{{test: t}}, ok
}

// valueMax is how long a value or an expression may be.
const valueMax = 512

// parameters returns the way to meet "name=value" or "name", all of them.
func parameters(args []string) ([]conj, bool) {
	var list []string
	for _, a := range args {
		name, value, found := strings.Cut(a, "=")
		if strings.ContainsAny(a, "{}") || found && value == "" {
			return nil, false
		}
		list = append(list, name, value)
	}
	return pairs('q', list, false)
}

// host returns the way to meet a host.
func (m *meaning) host(name string) ([]conj, bool) {
	if name == "*" {
		return []conj{{}}, true
	}
	host, err := route.ParseHost(name)
	if err != nil {
		return nil, false
	}
	if strings.HasPrefix(host, "*.") {
		m.wide = append(m.wide, "hosts with several labels before "+host[1:]+" are taken too")
	}
	return []conj{{test: test{host: host}}}, true
}

// templates are the variables of the rules of Traefik 2: {name:expression} and {name}.
var templates = plan.Expr(`\{[A-Za-z0-9_]*:?([^{}]*(?:\{[0-9,]+\}[^{}]*)*)\}`)

// fromTemplate returns a text with variables as an expression.
func fromTemplate(text, any string) string {
	var b strings.Builder
	at := 0
	for _, g := range templates().FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(regexp.QuoteMeta(text[at:g[0]]))
		if expression := text[g[2]:g[3]]; expression != "" {
			b.WriteString("(?:" + expression + ")")
		} else {
			b.WriteString(any)
		}
		at = g[1]
	}
	return "^" + b.String() + regexp.QuoteMeta(text[at:]) + "$"
}

// isTemplate reports whether an argument has variables of Traefik 2.
func isTemplate(s string) bool {
	g := templates().FindStringIndex(s)
	return g != nil && !strings.ContainsAny(s[:g[0]], `^\[(`)
}

// labels are expressions for a label or more that begin names of hosts. Those after the first take less than edge does.
var labels = plan.Expr(`^(?:\(\?:|\()?(\.\+|\.\*|\[\^\.\]\+|\[a-zA-Z0-9-\]\+|\[a-z0-9-\]\+|\[a-z0-9\]\+|` +
	`\[a-z\]\+|\[a-zA-Z0-9\]\+|\[a-zA-Z\]\+|\\w\+|\[\\w-\]\+)\)?\\\.(.+)$`)

// hostRegexp returns the ways to meet an expression for hosts.
func (m *meaning) hostRegexp(text string) ([]conj, bool) {
	if isTemplate(text) || !strings.ContainsAny(text, `^$\[(+*?`) && strings.Contains(text, ".") {
		text = fromTemplate(text, "[^.]+")
	}
	switch strings.Trim(text, "^$()?:") {
	case ".+", ".*":
		return []conj{{}}, true
	}
	if texts, whole, ok := literals(text); ok && whole {
		return each(texts, m.host)
	}
	inner, begins := strings.CutPrefix(text, "^")
	inner, ends := strings.CutSuffix(inner, "$")
	if g := labels().FindStringSubmatch(inner); g != nil && ends && (begins || strings.HasPrefix(g[1], ".")) {
		texts, whole, ok := literals("^" + g[2] + "$")
		if ok && whole {
			if g[1] != ".+" {
				m.wide = append(m.wide, "all hosts below those of "+text+" are taken, whatever they begin with")
			}
			return each(texts, func(s string) ([]conj, bool) {
				host, err := route.ParseHost("*." + s)
				return []conj{{test: test{host: host}}}, err == nil && !strings.Contains(s, "*")
			})
		}
	}
	return nil, false
}

// validPath reports whether a path can be one of a route.
func validPath(p string) bool {
	if !strings.HasPrefix(p, "/") || strings.Contains(p, "*") {
		return false
	}
	_, err := route.ParsePath("=" + p)
	return err == nil
}

// path returns the way to meet a path.
func (m *meaning) path(p string) ([]conj, bool) {
	if isTemplate(p) {
		return m.pathRegexp(fromTemplate(p, "[^/]+"))
	}
	return []conj{{test: test{path: "=" + p}}}, validPath(p)
}

// below returns the way to meet a path and all below it, by segments.
func below(p string) test {
	if p = strings.TrimRight(p, "/"); p != "" {
		p += "/*"
	}
	return test{path: p}
}

// plainPath matches paths that are the same in all spellings.
var plainPath = plan.Expr(`^/[A-Za-z0-9_/.~-]*$`)

// pathPrefix returns the ways to meet a text that paths begin with.
func (m *meaning) pathPrefix(p string) ([]conj, bool) {
	if isTemplate(p) {
		return m.pathRegexp(strings.TrimSuffix(fromTemplate(p, "[^/]+"), "$"))
	}
	short := strings.TrimRight(p, "/")
	if !validPath(p) || strings.HasSuffix(short+"/", "//") || len(p)-len(short) > 1 {
		return nil, false
	}
	w := conj{test: below(p)}
	switch {
	case short == "":
	case short != p:
		w.nots = []test{{path: "=" + short}}
	case m.strict && plainPath().MatchString(p):
		around := below(p[:strings.LastIndexByte(p, '/')+1])
		within := conj{test: test{path: around.path, conds: []cond{{'w', `path starts_with "` + p + `"`, ""}}}}
		return []conj{w, within}, true
	default:
		m.wide = append(m.wide, fmt.Sprintf("paths such as %sx, which PathPrefix takes, are not taken: edge compares "+
			"whole segments", p))
	}
	return []conj{w}, true
}

// withinSegment reports whether an expression is the beginning of a path that ends within a segment.
func withinSegment(text string) bool {
	if isTemplate(text) || strings.HasSuffix(text, "(/|$)") || strings.HasSuffix(text, "(/.*)?$") {
		return false
	}
	texts, whole, ok := literals(text)
	return ok && !whole && slices.ContainsFunc(texts, func(p string) bool { return !strings.HasSuffix(p, "/") })
}

// pathRegexp returns the ways to meet an expression that is one of a few texts, or their beginning.
func (m *meaning) pathRegexp(text string) ([]conj, bool) {
	if rest, found := strings.CutSuffix(text, "(/|$)"); found || strings.HasSuffix(text, "(/.*)?$") {
		texts, whole, ok := literals(strings.TrimSuffix(rest, "(/.*)?$") + "$")
		if !ok || !whole {
			return nil, false
		}
		return each(texts, func(p string) ([]conj, bool) { return []conj{{test: below(p)}}, validPath(p) })
	}
	texts, whole, ok := literals(text)
	switch {
	case !ok:
		return nil, false
	case whole:
		return each(texts, func(p string) ([]conj, bool) { return []conj{{test: test{path: "=" + p}}}, validPath(p) })
	}
	return each(texts, m.pathPrefix)
}
