package plan

import (
	"cmp"
	slashpath "path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Cond is what a program asks of a request, as a tree of tests. Immutable.
//
//	if is_api !{ src 10.0.0.0/8 } or { path /x }
//
//	any ── all ── test is_api
//	 │      └──── not ── test src
//	 └─── path /x
//
// A test that edge cannot make is Unknown. What is written of a tree depends on its use: see sense.
type Cond struct {
	kind  kind
	kids  []*Cond
	near  string         // in the language
	exact string         // what means the same as there; "": there is nothing
	sure  string         // what holds nowhere else than there, where exact is ""
	names []string       // of hosts or listeners
	expr  *regexp.Regexp // that a test compares the path with; nil: none
	less  bool           // near may not hold where exact does
	of    *Path          // of a path
}

type kind uint8

const (
	test kind = iota
	unknown
	all
	any
	not
	hosts
	path
	listeners
)

// sense is how what is written may differ from what was read.
type sense uint8

const (
	usual  sense = iota // other spellings of a path or a host count as the same; what is unknown does not hold
	unlike              // usual, inside of a not
	wide                // it holds wherever the condition may hold: for what refuses requests
	narrow              // it holds nowhere else than the condition does: wide, inside of a not
	exact               // it means the same
)

// inverse is the sense of what stands inside of a not.
var inverse = [...]sense{usual: unlike, unlike: usual, wide: narrow, narrow: wide, exact: exact}

// All requests meet Always, and none meets Never.
var (
	Always = &Cond{kind: all}
	Never  = &Cond{kind: any}
)

// Unknown is a condition that edge cannot ask.
var Unknown = &Cond{kind: unknown}

// Test is a condition of the language that means what the program asks.
func Test(text string) *Cond { return &Cond{near: text, exact: text} }

// Beside is a condition of the language that takes other spellings of a path or a host for the same. same is the
// condition as the program asks it: in some cases it alone holds, in some the other one.
func Beside(near, same string) *Cond { return &Cond{near: near, exact: same, less: true} }

// Between is a condition of the language that may hold in more cases than the program's, and in fewer. sure holds in
// no others. Where the program's holds, one of them does.
func Between(near, sure string) *Cond { return &Cond{near: near, sure: sure, less: true} }

// Roughly is a condition of the language that is the program's for most requests. Where anything is refused it counts
// as unknown.
func Roughly(near string) *Cond { return &Cond{near: near, less: true} }

// Compare is the condition that a value compares with a text as an operator of the language says.
func Compare(value, operator, text string) *Cond {
	if quoted, ok := Quote(text); ok {
		return Test(value + " " + operator + " " + quoted)
	}
	return Unknown
}

// PathMatches is a test of the path by a regular expression that Go reads as the program does.
func PathMatches(re *regexp.Regexp) *Cond { return Matches("path", "path", re.String(), re) }

// Matches is a test of a value of the language by a regular expression. It holds for a path without escapes where re
// matches that. same is the value that the program compares.
func Matches(value, same, text string, re *regexp.Regexp) *Cond {
	c, sure := Compare(value, "~", text), Compare(same, "~", text)
	if c != Unknown {
		c.expr, c.exact, c.less = re, sure.exact, value != same
	}
	return c
}

// HostIs asks for one of some hosts, with "*.example.com" for all below one.
func HostIs(names ...string) *Cond { return HostNearly("", names...) }

// HostNearly is HostIs where other spellings of a host count too. same is a condition of the language that means what
// the program asks.
func HostNearly(same string, names ...string) *Cond {
	c := &Cond{kind: hosts, names: names, exact: same}
	if same == "" {
		c.exact, _ = among("host", names)
	}
	return c
}

// CameBy asks for one of some listeners, by their names.
func CameBy(names ...string) *Cond { return &Cond{kind: listeners, names: names} }

// Path is a test of a path that a pattern of routes has, at least nearly. The zero values of all but Pattern ask for it
// as routes do.
type Path struct {
	Pattern string // "/a": that path; "/a/*": that one and all below it, by segments
	Below   bool   // not that one
	Text    string // what rules ask instead of the pattern; other spellings of a path count as the same
	Same    string // what means the same as there, if that is not Text
	Loss    string // requests for which Text holds and the pattern does not, for a finding
	Within  bool   // the pattern takes no requests for which Same does not hold: a route does for what refuses nobody
}

// Cond returns the condition.
func (p Path) Cond() *Cond {
	c := &Cond{kind: path, near: cmp.Or(p.Text, p.text()), of: &p}
	// Of a path in normal form all spellings are among those that near holds for, if that compares the path itself.
	c.less = p.Same != "" && (p.Within || strings.HasSuffix(p.Pattern, "*") || p.Pattern != slashpath.Clean(p.Pattern))
	c.exact = cmp.Or(p.Same, c.near)
	if c.near == "" {
		return Unknown
	}
	return c
}

// text is the condition that the pattern asks; "": no text of the language has it.
func (p *Path) text() string {
	above, prefix := strings.CutSuffix(p.Pattern, "/*")
	at, ok := Quote(above)
	switch {
	case !ok:
		return ""
	case !prefix:
		return "path == " + at
	case above == "":
		return yes
	}
	under, _ := Quote(above + "/")
	if p.Below {
		return "path starts_with " + under
	}
	return "path == " + at + " or path starts_with " + under
}

// PathIs asks for a path, or with "/a/*" for that one and all below it, as routes do.
func PathIs(pattern string) *Cond { return Path{Pattern: pattern}.Cond() }

// Not holds where c does not.
func Not(c *Cond) *Cond {
	switch {
	case c.kind == not:
		return c.kids[0]
	case c == Always:
		return Never
	case c == Never:
		return Always
	}
	return &Cond{kind: not, kids: []*Cond{c}}
}

// All holds where all of some conditions do.
func All(list ...*Cond) *Cond { return join(all, list) }

// Any holds where one of some conditions does.
func Any(list ...*Cond) *Cond { return join(any, list) }

func join(k kind, list []*Cond) *Cond {
	c := &Cond{kind: k}
	for _, kid := range list {
		if kid.kind == k {
			c.kids = append(c.kids, kid.kids...)
		} else if !slices.Contains(c.kids, kid) {
			c.kids = append(c.kids, kid)
		}
	}
	switch {
	case len(c.kids) == 1:
		return c.kids[0]
	case len(c.kids) == 0 && k == all:
		return Always
	case len(c.kids) == 0:
		return Never
	}
	return c
}

// Known reports whether edge can ask all of c.
func (c *Cond) Known() bool {
	return c.kind != unknown && !slices.ContainsFunc(c.kids, func(k *Cond) bool { return !k.Known() })
}

// String returns c in the language, as it is nearly.
func (c *Cond) String() string {
	text, _ := c.text(usual)
	return text
}

// What conditions are that hold always and never.
const (
	yes = "true"
	no  = "false"
)

// text returns c in the language, and what its outermost word is. In the sense exact it may not be known: "".
func (c *Cond) text(s sense) (text string, of kind) {
	switch c.kind {
	case unknown:
		return [...]string{usual: no, unlike: yes, wide: yes, narrow: no, exact: ""}[s], test
	case listeners:
		return among("listener", c.names)
	case test, path, hosts:
		return c.testText(s)
	case not:
		switch text, _ := c.kids[0].text(inverse[s]); text {
		case "":
			return "", test
		case yes:
			return no, test
		case no:
			return yes, test
		default:
			return "not (" + text + ")", not
		}
	}
	return c.listText(s)
}

// testText is text for one test.
func (c *Cond) testText(s sense) (text string, of kind) {
	text = c.near
	if c.kind == hosts {
		text, _ = among("host", c.names)
	}
	switch {
	case s == usual || s == unlike || text == c.exact:
	case s == exact:
		text = c.exact
	case s == narrow:
		text = cmp.Or(c.exact, c.sure, no)
	case c.less && c.exact+c.sure == "":
		text = yes
	case c.less:
		text += " or " + cmp.Or(c.exact, c.sure)
	}
	if strings.Contains(text, " or ") {
		of = any
	}
	return text, of
}

// listText is text for all and any.
func (c *Cond) listText(s sense) (text string, of kind) {
	neutral, other, word := yes, no, " and "
	if c.kind == any {
		neutral, other, word = no, yes, " or "
	}
	var parts []string
	for _, k := range c.kids {
		part, inner := k.text(s)
		switch {
		case part == "":
			return "", test
		case part == neutral:
			continue
		case part == other:
			return other, test
		case c.kind == all && inner == any && len(c.kids) > 1:
			part = "(" + part + ")"
		}
		if !slices.Contains(parts, part) {
			parts, of = append(parts, part), inner
		}
	}
	switch len(parts) {
	case 0:
		return neutral, test
	case 1:
		return parts[0], of
	}
	return strings.Join(parts, word), c.kind
}

// among is the condition that a name is one of a list.
func among(name string, list []string) (text string, of kind) {
	var same, parts []string
	for _, n := range list {
		if below, found := strings.CutPrefix(n, "*"); found {
			parts = append(parts, name+` ends_with "`+below+`"`)
		} else {
			same = append(same, `"`+n+`"`)
		}
	}
	switch len(same) {
	case 0:
	case 1:
		parts = append(parts, name+" == "+same[0])
	default:
		parts = append(parts, name+" in {"+strings.Join(same, " ")+"}")
	}
	if len(parts) == 1 {
		return parts[0], test
	}
	return strings.Join(parts, " or "), any
}

// Quote returns a text of the language; ok is false for a text that the language cannot have.
func Quote(s string) (quoted string, ok bool) {
	if control().MatchString(s) || !utf8.ValidString(s) {
		return "", false
	}
	for _, quote := range []string{`"`, "`", "'"} {
		if !strings.Contains(s, quote) && (quote == "`" || !strings.HasSuffix(s, `\`)) {
			return quote + s + quote, true
		}
	}
	return "", false
}
