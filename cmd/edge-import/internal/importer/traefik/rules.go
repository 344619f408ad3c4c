package traefik

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/route"
)

const ruleMax = 16 << 10

// expr is a rule: a call of a matcher, or others that are combined.
type expr struct {
	op   token.Token // LAND, LOR, NOT, or ILLEGAL for a call
	kids []*expr
	name string // of a call, in lower case: "host"
	args []string
}

// parseRule reads a rule such as Host(`a.test`) && !PathPrefix(`/api`). Traefik reads rules as expressions of Go.
func parseRule(text string) (*expr, error) {
	tree, err := parser.ParseExpr(text[:min(len(text), ruleMax)])
	if err != nil {
		return nil, fmt.Errorf("the rule is wrong: %w", err)
	}
	if e := exprOf(tree); e != nil && len(text) <= ruleMax {
		return e, nil
	}
	return nil, errors.New("the rule is no combination of matchers, or too long")
}

// exprOf returns an expression of Go as a rule; nil: it is none. Names with || between them become one matcher.
func exprOf(tree ast.Expr) *expr {
	e := &expr{}
	switch t := tree.(type) {
	case *ast.ParenExpr:
		return exprOf(t.X)
	case *ast.UnaryExpr:
		e.op, e.kids = t.Op, []*expr{exprOf(t.X)}
	case *ast.BinaryExpr:
		x, y := exprOf(t.X), exprOf(t.Y)
		if e.op, e.kids = t.Op, []*expr{x, y}; t.Op == token.LOR && x.named() && y.named() && x.name == y.name {
			return &expr{name: x.name, args: append(x.args, y.args...)}
		}
	case *ast.CallExpr:
		name, _ := t.Fun.(*ast.Ident)
		if name == nil {
			return nil
		}
		e.name = strings.Replace(strings.ToLower(name.Name), "hostheader", "host", 1)
		for _, arg := range t.Args {
			text, _ := arg.(*ast.BasicLit)
			if text == nil || text.Kind != token.STRING {
				return nil
			}
			s, _ := strconv.Unquote(text.Value) // the parser has read it already
			e.args = append(e.args, s)
		}
	}
	known := slices.Contains([]token.Token{token.LAND, token.LOR, token.NOT}, e.op) || e.name != ""
	if !known || slices.Contains(e.kids, nil) {
		return nil
	}
	return e
}

// named reports whether e asks for names alone.
func (e *expr) named() bool { return e != nil && (e.name == "host" || e.name == "hostsni") }

// cond returns what a rule asks.
func (e *expr) cond() *plan.Cond {
	var list []*plan.Cond
	for _, k := range e.kids {
		list = append(list, k.cond())
	}
	one := map[string]func(string) *plan.Cond{"hostregexp": hostRegexp, "path": pathIs, "pathprefix": pathPrefix,
		"pathregexp": pathRegexp, "method": methodIs, "hostsniregexp": nameRegexp, "alpn": offers}[e.name]
	for _, a := range e.args {
		if strings.Contains(a, "${") || e.name == "query" && isTemplate(a) {
			return plan.Unknown
		} else if one != nil {
			list = append(list, one(a))
		}
	}
	switch {
	case e.op == token.NOT:
		return plan.Not(list[0])
	case e.op == token.LAND:
		return plan.All(list...)
	case len(list) > 0:
		return plan.Any(list...)
	case len(e.args) == 0:
		return plan.Unknown
	}
	name, matching := strings.CutSuffix(e.name, "regexp")
	switch addresses := ranges(e.args); {
	case name == "host":
		return hostIs(e.args, plan.HostIs)
	case name == "hostsni":
		return hostIs(e.args, plan.ServerName)
	case name == "clientip" && addresses != nil:
		return plan.Test("peer.ip in {" + strings.Join(addresses, " ") + "}")
	case name == "query" && !matching && strings.Contains(e.args[0], "="): // of Traefik 2
		for _, a := range e.args {
			key, value, _ := strings.Cut(a, "=")
			list = append(list, pairs("query", []string{key, value}, false))
		}
		return plan.All(list...)
	case name == "header" || name == "headers" || name == "query":
		return pairs(strings.TrimSuffix(name, "s"), e.args, matching)
	}
	return plan.Unknown
}

func methodIs(name string) *plan.Cond { return plan.Compare("method", "==", strings.ToUpper(name)) }

// offers asks for a protocol in a handshake.
func offers(protocol string) *plan.Cond { return plan.Compare("tls.alpn", "==", protocol) }

// hostIs asks for one of some hosts by a condition on names, is.
func hostIs(args []string, is func(names ...string) *plan.Cond) *plan.Cond {
	var names []string
	for _, a := range args {
		host, err := route.ParseHost(a)
		switch {
		case a == "*":
			return plan.Always
		case err != nil:
			return plan.Unknown
		}
		names = append(names, host)
	}
	return is(names...)
}

// subdomains matches expressions for all names below one.
var subdomains = plan.Expr(`^\^?(?:\.\+|\(\.\+\)|\(\?:\.\+\))\\\.((?:[A-Za-z0-9-]+\\\.)*[A-Za-z0-9-]+)\$$`)

func hostRegexp(text string) *plan.Cond { return hostMatches("host", text, plan.HostIs) }

func nameRegexp(text string) *plan.Cond { return hostMatches("tls.sni", text, plan.ServerName) }

// hostMatches asks for a name by an expression, or for all names below one by a condition on these, is.
func hostMatches(value, text string, is func(names ...string) *plan.Cond) *plan.Cond {
	if isTemplate(text) {
		text = fromTemplate(text, "[^.]+")
	}
	if any := strings.Trim(text, "^$()?:"); any == ".+" || any == ".*" {
		return plan.Always
	}
	if g := subdomains().FindStringSubmatch(text); g != nil {
		return is("*." + strings.ToLower(strings.ReplaceAll(g[1], `\`, "")))
	}
	return expression(value, text)
}

func expression(value, text string) *plan.Cond {
	if _, err := regexp.Compile(text); err != nil || len(text) > valueMax {
		return plan.Unknown
	}
	return plan.Compare(value, "~", text)
}

// valueMax is how long an expression may be.
const valueMax = 512

// templates are the variables of the rules of Traefik 2: {name:expression} and {name}.
var templates = plan.Expr(`\{[A-Za-z0-9_]*:?([^{}]*(?:\{[0-9,]+\}[^{}]*)*)\}`)

// fromTemplate returns a text with variables as an expression.
func fromTemplate(text, any string) string {
	re, found := "^", templates().FindAllStringSubmatch(text, -1)
	for i, part := range templates().Split(text, -1) {
		if re += regexp.QuoteMeta(part); i < len(found) {
			re += "(?:" + cmp.Or(found[i][1], any) + ")"
		}
	}
	return re + "$"
}

// isTemplate reports whether an argument has variables of Traefik 2.
func isTemplate(s string) bool {
	g := templates().FindStringIndex(s)
	return g != nil && !strings.ContainsAny(s[:g[0]], `^\[(`)
}

var (
	// plainPath matches paths that are the same in all spellings.
	plainPath = plan.Expr(`^/(?:[A-Za-z0-9_.~-]+/?)*$`)
	// plainExpr matches expressions of characters that no escape of a path stands for.
	plainExpr = plan.Expr(`^[A-Za-z0-9_/^$()|?:*+.\[\]\\{},-]*$`)
)

func validPath(p string) bool {
	_, err := route.ParsePath("=" + p)
	return err == nil && plainPath().MatchString(p)
}

func pathIs(p string) *plan.Cond {
	switch {
	case isTemplate(p):
		return pathRegexp(fromTemplate(p, "[^/]+"))
	case validPath(p):
		return plan.PathIs(p)
	}
	return plan.Compare("url_decode(path)", "==", p)
}

func pathPrefix(p string) *plan.Cond {
	switch {
	case isTemplate(p):
		return pathRegexp(strings.TrimSuffix(fromTemplate(p, "[^/]+"), "$"))
	case p == "/":
		return plan.Always
	case !validPath(p):
		return plan.Compare("url_decode(path)", "starts_with", p)
	case strings.HasSuffix(p, "/"):
		return plan.Path{Pattern: p + "*", Below: true}.Cond()
	}
	return plan.Path{Pattern: p + "/*", Text: `path starts_with "` + p + `"`, Loss: "paths such as " + p + "x"}.Cond()
}

func pathRegexp(text string) *plan.Cond {
	re, err := regexp.Compile(text)
	if err == nil && len(text) <= valueMax && plainExpr().MatchString(text) && !strings.Contains(text, "[^") {
		return plan.PathMatches(re)
	}
	return expression("url_decode(path)", text)
}

// pairs asks for names and their values, all of them.
func pairs(of string, args []string, matching bool) *plan.Cond {
	var list []*plan.Cond
	for pair := range slices.Chunk(args, 2) {
		pair = append(pair, "")
		name := of + "." + pair[0]
		if !plainName().MatchString(pair[0]) || strings.EqualFold(name, "header.host") {
			return plan.Unknown
		}
		one, empty := plan.Compare(name, "==", pair[1]), pair[1] == ""
		if matching {
			one = expression(name, pair[1])
			re, err := regexp.Compile(pair[1])
			empty = err == nil && re.MatchString("")
		}
		if list = append(list, one); empty {
			list = append(list, plan.Test("has("+name+")"))
		}
	}
	return plan.All(list...)
}

// plainName matches names that stand after a dot.
var plainName = plan.Expr(`^[A-Za-z][A-Za-z0-9_-]*$`)

// below reports whether all paths of a rule begin with a text.
func (e *expr) below(text string) bool {
	within := func(k *expr) bool { return k.below(text) }
	switch {
	case e.op == token.LAND:
		return slices.ContainsFunc(e.kids, within)
	case e.op == token.LOR:
		return within(e.kids[0]) && within(e.kids[1])
	case e.name != "path" && e.name != "pathprefix":
		return false
	}
	return len(e.args) > 0 && !slices.ContainsFunc(e.args, func(arg string) bool {
		return isTemplate(arg) || !strings.HasPrefix(arg, text)
	})
}

// hosts returns the names of a rule, those that clients ask for in handshakes too.
func (e *expr) hosts() (list []string) {
	if e.named() {
		names := strings.Split(strings.ToLower(strings.Join(e.args, " ")), " ")
		return slices.DeleteFunc(names, func(name string) bool { return name == "*" })
	}
	for _, k := range e.kids {
		list = append(list, k.hosts()...)
	}
	return list
}
