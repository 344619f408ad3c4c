package caddy

import (
	"fmt"
	"net/textproto"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// test is a matcher: what a request has to be like. Immutable after it was read.
type test struct {
	kind  testKind
	parts []*test
	text  string         // testPath: the pattern; testHost: the host; testUnknown: why it is not known
	expr  *regexp.Regexp // testExpression: of the path
	list  []string       // testMethod
	atom  *atom          // testAtom
	at    plan.Place
	what  string // as a finding names it
	lines []plan.Place
}

// testKind is what a test looks at.
type testKind int

const (
	testAll testKind = iota // all parts hold
	testAny                 // one of the parts holds
	testNot                 // the part does not hold
	testPath
	testExpression
	testHost
	testSecure // the request came by TLS
	testMethod
	testAtom
	testUnknown
)

// atom is a set of conditions of a route that hold together, on fields and parameters.
type atom struct{ list []condition }

// condition is a condition on a field or a parameter.
type condition struct {
	query       bool
	name, value string // as a route has them; value "": it is there
}

// same reports whether two conditions are about the same field or parameter.
func (c condition) same(o condition) bool {
	return c.query == o.query && strings.EqualFold(c.name, o.name)
}

// exact reports whether one value alone fulfils the condition.
func (c condition) exact() bool { return c.value != "" && !strings.HasPrefix(c.value, "~") }

// relation is how two atoms stand to each other.
type relation int

const (
	apart    relation = iota // both may hold
	opposite                 // not both hold
	tangled                  // a route cannot ask for both
)

// to returns how a stands to another atom.
func (a *atom) to(b *atom) relation {
	found := apart
	for _, c := range a.list {
		for _, o := range b.list {
			switch {
			case !c.same(o) || c == o:
			case c.exact() && o.exact():
				return opposite
			default:
				found = tangled
			}
		}
	}
	return found
}

// within reports whether all conditions of a are in a list.
func (a *atom) within(list []condition) bool {
	return !slices.ContainsFunc(a.list, func(c condition) bool { return !slices.Contains(list, c) })
}

// atomOf returns the atom for conditions. There is one for each set of conditions.
func (im *importer) atomOf(list []condition) *atom {
	id := fmt.Sprintf("%#v", list)
	if im.atoms[id] == nil {
		im.atoms[id] = &atom{list}
	}
	return im.atoms[id]
}

// atomTest returns the test for a condition.
func (im *importer) atomTest(query bool, name, value string, d *directive) *test {
	if !query {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	return &test{kind: testAtom, atom: im.atomOf([]condition{{query, name, value}}), at: d.at, what: d.text()}
}

// unknown returns a test that edge has no condition for.
func unknown(d *directive, why string) *test {
	return &test{kind: testUnknown, text: why, at: d.at, what: d.text()}
}

// anyOf returns a test that holds where one of the parts does.
func anyOf(parts []*test) *test {
	if len(parts) == 1 {
		return parts[0]
	}
	return &test{kind: testAny, parts: parts}
}

// matcherSet reads the lines of a named matcher. All of them have to hold; those of the same name are read as one.
func (im *importer) matcherSet(lines []*directive) *test {
	all := &test{kind: testAll}
	merged := map[string]*test{}
	for _, d := range lines {
		d.used = true
		t := im.matcher(d)
		switch d.name {
		case "path", "host", "method", "protocol": // values of several lines are one list
			if first := merged[d.name]; first != nil {
				first.parts = append(first.parts, t)
				continue
			}
			t = &test{kind: testAny, parts: []*test{t}}
			merged[d.name] = t
		}
		all.parts = append(all.parts, t)
	}
	return im.mergeValues(all)
}

// mergeValues merges header and query lines. Lines with the same name become one test that one of their values passes.
// The names that have a single line become one test, since all of them have to hold.
func (im *importer) mergeValues(all *test) *test {
	byName := map[string]*test{}
	var parts, together []*test
	for _, t := range all.parts {
		if t.kind == testAll && len(t.parts) == 1 && len(t.parts[0].parts) == 1 {
			t = t.parts[0].parts[0]
		}
		if t.kind != testAtom {
			parts = append(parts, t)
			continue
		}
		id := fmt.Sprint(t.atom.list[0].query, t.atom.list[0].name)
		if first := byName[id]; first != nil {
			first.parts = append(first.parts, t)
			continue
		}
		byName[id] = &test{kind: testAny, parts: []*test{t}}
		together = append(together, byName[id])
	}
	var single []condition
	for _, t := range together {
		if len(t.parts) > 1 {
			parts = append(parts, t)
			continue
		}
		single = append(single, t.parts[0].atom.list...)
		all.at, all.what = t.parts[0].at, t.parts[0].what
	}
	if len(single) > 0 {
		parts = append(parts, &test{kind: testAtom, atom: im.atomOf(single), at: all.at, what: all.what})
	}
	all.parts = parts
	return all
}

// matcher reads one line of a matcher.
func (im *importer) matcher(d *directive) *test {
	d.used = true
	switch d.name {
	case "path":
		return anyOf(im.each(d, func(s string) *test {
			return &test{kind: testPath, text: s, at: d.at, what: d.text()}
		}))
	case "host":
		return anyOf(im.each(d, func(s string) *test {
			return &test{kind: testHost, text: strings.ToLower(s), at: d.at, what: d.text()}
		}))
	case "method":
		list := make([]string, len(d.args))
		for i, m := range d.args {
			list[i] = strings.ToUpper(m)
		}
		return &test{kind: testMethod, list: list, at: d.at, what: d.text()}
	case "header":
		return im.headerMatcher(d)
	case "header_regexp":
		args := d.args
		if len(args) == 3 {
			args = args[1:]
		}
		if len(args) != 2 {
			return unknown(d, "edge does not know this form")
		}
		if _, err := regexp.Compile(args[1]); err != nil {
			return unknown(d, "this is no regular expression")
		}
		return im.atomTest(false, args[0], "~"+args[1], d)
	case "query":
		return im.queryMatcher(d)
	case "path_regexp":
		expr, err := regexp.Compile(d.arg(len(d.args) - 1))
		if err != nil || len(d.args) == 0 {
			return unknown(d, "this is no regular expression")
		}
		return &test{kind: testExpression, expr: expr, at: d.at, what: d.text()}
	case "protocol":
		switch d.arg(0) {
		case "https":
			return &test{kind: testSecure}
		case "http":
			return &test{kind: testNot, parts: []*test{{kind: testSecure}}}
		case "grpc":
			return im.atomTest(false, "Content-Type", "~^application/grpc", d)
		}
		return unknown(d, "routes do not look at the version of HTTP")
	case "not":
		return im.notMatcher(d)
	case "remote_ip", "client_ip":
		return unknown(d, "not available in this version: routes do not look at addresses of clients")
	case "file":
		return im.unknownBlock(d, "edge serves no files")
	case "expression", "":
		return im.unknownBlock(d, "routes have no expressions")
	}
	return im.unknownBlock(d, "edge has no such condition")
}

// unknownBlock is unknown for a matcher that may have braces.
func (im *importer) unknownBlock(d *directive, why string) *test {
	for _, c := range d.block {
		im.lose(c, "it is inside "+d.text()+", which is not carried")
	}
	return unknown(d, why)
}

// each returns a test for each argument.
func (im *importer) each(d *directive, f func(string) *test) (list []*test) {
	for _, s := range d.args {
		t := f(s)
		if strings.ContainsAny(s, "{%") {
			t = unknown(d, noVariables)
		}
		list = append(list, t)
	}
	return list
}

const noVariables = "conditions have no variables, and compare decoded paths"

// notMatcher reads not, with a matcher after it or several in braces.
func (im *importer) notMatcher(d *directive) *test {
	inner := d.block
	if len(d.args) > 0 {
		one := &directive{name: d.args[0], args: d.args[1:], block: d.block, open: d.open, at: d.at}
		inner = []*directive{one}
	}
	return &test{kind: testNot, parts: []*test{im.matcherSet(inner)}}
}

// headerMatcher reads header: a field, !field, or a field with a value that may have stars at its ends.
func (im *importer) headerMatcher(d *directive) *test {
	name := d.arg(0)
	absent, negative := strings.CutPrefix(name, "!")
	switch {
	case name == "" || len(d.args) > 2:
		return unknown(d, "edge does not know this form")
	case negative:
		return &test{kind: testNot, parts: []*test{im.atomTest(false, absent, "", d)}}
	case strings.Contains(d.arg(1), "{"):
		return unknown(d, "conditions have no variables")
	case strings.EqualFold(name, "Host"):
		return &test{kind: testHost, text: strings.ToLower(d.arg(1)), at: d.at, what: d.text()}
	case len(d.args) == 1 || d.arg(1) == "*":
		return im.atomTest(false, name, "", d)
	}
	return im.atomTest(false, name, starred(d.arg(1)), d)
}

// starred returns the value of a condition for one that may have stars at its ends.
func starred(s string) string {
	text, end := strings.CutSuffix(s, "*")
	text, begin := strings.CutPrefix(text, "*")
	quoted := regexp.QuoteMeta(text)
	switch {
	case begin && end:
		return "~" + quoted
	case end:
		return "~^" + quoted
	case begin:
		return "~" + quoted + "$"
	case strings.HasPrefix(s, "~") || s == "":
		return "~^" + quoted + "$"
	}
	return s
}

// queryMatcher reads query: name=value, of which those of one name are alternatives.
func (im *importer) queryMatcher(d *directive) *test {
	all := &test{kind: testAll}
	byName := map[string]*test{}
	for _, arg := range d.args {
		name, value, found := strings.Cut(arg, "=")
		switch {
		case name == "" || !found || strings.Contains(arg, "{"):
			return unknown(d, "edge does not know this form")
		case value == "*":
			value = ""
		case value == "" || strings.HasPrefix(value, "~"):
			value = "~^" + regexp.QuoteMeta(value) + "$"
		}
		t := im.atomTest(true, name, value, d)
		if first := byName[name]; first != nil {
			first.parts = append(first.parts, t)
			continue
		}
		byName[name] = &test{kind: testAny, parts: []*test{t}}
		all.parts = append(all.parts, byName[name])
	}
	return all
}

// holds reports whether a test holds for the requests that w stands for.
func (t *test) holds(w *walk) bool {
	switch t.kind {
	case testAll:
		return !slices.ContainsFunc(t.parts, func(p *test) bool { return !p.holds(w) })
	case testAny:
		return slices.ContainsFunc(t.parts, func(p *test) bool { return p.holds(w) })
	case testNot:
		return !t.parts[0].holds(w)
	case testPath:
		return w.matchPath(t)
	case testExpression:
		return w.matchExpression(t)
	case testHost:
		return w.matchHost(t)
	case testSecure:
		return w.on.tls
	case testMethod:
		return w.matchMethod(t)
	case testAtom:
		return w.matchAtom(t)
	}
	return w.assume(t)
}

// globMatches reports whether a pattern of Caddy takes a path that is known. Paths are compared in any case there.
func globMatches(pattern, name string) bool {
	pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	stars := strings.Count(pattern, "*")
	before, begin := strings.CutSuffix(pattern, "*")
	after, end := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == "*":
		return true
	case stars == 2 && begin && end:
		return strings.Contains(name, strings.Trim(pattern, "*"))
	case stars == 1 && begin:
		return strings.HasPrefix(name, before)
	case stars == 1 && end:
		return strings.HasSuffix(name, after)
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
