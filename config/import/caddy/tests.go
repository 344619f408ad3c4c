package caddy

import (
	"fmt"
	"net/netip"
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
	text  string         // testPath: the pattern; testEnds: a condition; testHost: the host; testUnknown: why
	expr  *regexp.Regexp // testExpression: of the path
	list  []string       // testMethod; testEnds: the patterns
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
	testEnds // the path is like one of several patterns that begin with a star
	testExpression
	testHost
	testSecure // the request came by TLS
	testMethod
	testAtom
	testUnknown
)

// atom is a set of conditions of a route that hold together, on fields and parameters.
type atom struct{ list []condition }

// condition is a condition on a field or a parameter, or one in the language.
type condition struct {
	query       bool
	when        bool   // name is a text of the language
	name, value string // as a route has them; value "": it is there
}

// same reports whether two conditions are about the same field or parameter.
func (c condition) same(o condition) bool {
	return c.query == o.query && c.when == o.when && strings.EqualFold(c.name, o.name)
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
	a := im.atomOf([]condition{{query: query, name: name, value: value}})
	return &test{kind: testAtom, atom: a, at: d.at, what: d.text()}
}

// whenTest returns the test for a condition in the language.
func (im *importer) whenTest(text string, d *directive) *test {
	a := im.atomOf([]condition{{when: true, name: text}})
	return &test{kind: testAtom, atom: a, at: d.at, what: d.text()}
}

// whens returns the conditions in the language of a list.
func whens(list []*atom) (texts []string) {
	for _, a := range list {
		for _, c := range a.list {
			if c.when {
				texts = append(texts, c.name)
			}
		}
	}
	return texts
}

// privateRanges are what private_ranges stands for.
var privateRanges = []string{"192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "::1"}

// addresses reads remote_ip and client_ip.
func addresses(im *importer, d *directive, subject string) *test {
	var list []string
	for _, text := range d.args {
		if text == "private_ranges" {
			list = append(list, privateRanges...)
			continue
		}
		list = append(list, text)
	}
	for i, text := range list {
		if _, err := netip.ParseAddr(text); err == nil {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return unknown(d, "edge does not know these addresses")
		}
		list[i] = p.Masked().String()
	}
	if len(list) == 0 {
		return unknown(d, "edge does not know this form")
	}
	return im.whenTest(subject+" in {"+strings.Join(list, " ")+"}", d)
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
		if t.kind != testAtom || t.atom.list[0].when {
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
		return pathMatcher(im, d)
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
	case "remote_ip":
		return addresses(im, d, "peer.ip")
	case "client_ip":
		return addresses(im, d, "client.ip")
	case "file":
		return im.unknownBlock(d, "edge serves no files")
	case "expression", "":
		return im.unknownBlock(d, "routes have no expressions")
	}
	return im.unknownBlock(d, "edge has no such condition")
}

// pathMatcher reads path. Patterns that begin with a star are one condition.
func pathMatcher(im *importer, d *directive) *test {
	var ends, conditions []string
	for _, s := range d.args {
		if strings.HasPrefix(s, "*") && patternText(s) != "" {
			ends, conditions = append(ends, s), append(conditions, patternText(s))
		}
	}
	rest := *d
	rest.args = slices.DeleteFunc(slices.Clone(d.args), func(s string) bool { return slices.Contains(ends, s) })
	parts := im.each(&rest, func(s string) *test {
		return &test{kind: testPath, text: s, at: d.at, what: d.text()}
	})
	if len(ends) > 0 {
		text := strings.Join(conditions, " or ")
		if len(ends) > 1 {
			text = "(" + text + ")"
		}
		parts = append(parts, &test{kind: testEnds, text: text, list: ends, at: d.at, what: d.text()})
	}
	return anyOf(parts)
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
	case testEnds:
		if !w.rest {
			return slices.ContainsFunc(t.list, func(p string) bool { return globMatches(p, w.cur) })
		}
		return w.matchWhen(t, t.text)
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
