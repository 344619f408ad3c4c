package haproxy

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/route"
)

// test is what an acl, or several acls that all hold, ask of a request. Empty lists ask nothing.
type test struct {
	hosts   []string
	paths   []string // as edge has them
	methods []string
	header  []plan.Field
	query   []plan.Field
	secure  int      // 1: over TLS, -1: not
	below   []string // paths that begin with these texts within a segment are taken there
	short   []string // paths that the patterns take here and the file does not
}

// and returns the test that both hold; ok is false where edge has none.
func (a test) and(b test) (c test, ok bool) {
	c = a
	if len(a.hosts) > 0 && len(b.hosts) > 0 || len(a.paths) > 0 && len(b.paths) > 0 ||
		len(a.methods) > 0 && len(b.methods) > 0 || a.secure*b.secure < 0 {
		return c, false
	}
	c.hosts = append(slices.Clone(a.hosts), b.hosts...)
	c.paths = append(slices.Clone(a.paths), b.paths...)
	c.methods = append(slices.Clone(a.methods), b.methods...)
	c.header = append(slices.Clone(a.header), b.header...)
	c.query = append(slices.Clone(a.query), b.query...)
	c.below = append(slices.Clone(a.below), b.below...)
	c.short = append(slices.Clone(a.short), b.short...)
	if b.secure != 0 {
		c.secure = b.secure
	}
	return c, true
}

// bothFields returns the conditions of both lists. It reports false where they name one field twice: edge has no such
// table.
func bothFields(a, b []plan.Field) (both []plan.Field, fits bool) {
	both = slices.Clone(a)
	for _, f := range b {
		i := slices.IndexFunc(a, func(o plan.Field) bool { return strings.EqualFold(o.Name, f.Name) })
		switch {
		case i < 0:
			both = append(both, f)
		case a[i].Value != f.Value:
			return nil, false
		}
	}
	return both, true
}

// parseTest reads a criterion and its values: "path_beg /api"; ok is false where edge does not know it.
func parseTest(words []string) (t test, ok bool) {
	if len(words) == 0 {
		return t, false
	}
	what, values := words[0], words[1:]
	match := ""
	fold := false
	for len(values) > 0 && strings.HasPrefix(values[0], "-") {
		switch values[0] {
		case "-i":
			fold = true
		case "-m":
			if len(values) > 1 {
				match, values = values[1], values[1:]
			}
		default:
			return t, false
		}
		values = values[1:]
	}
	name, argument := what, inner(what)
	if at := strings.IndexByte(what, '('); at >= 0 {
		name = what[:at]
	}
	name = strings.TrimPrefix(name, "req.")
	for _, suffix := range []string{"_beg", "_end", "_dom", "_reg", "_sub", "_dir", "_len"} {
		if head, found := strings.CutSuffix(name, suffix); found {
			name, match = head, suffix[1:]
		}
	}
	if strings.Contains(what, "),") && !strings.HasSuffix(what, ",lower") && !strings.HasSuffix(what, ",field(1,:)") {
		return t, false
	}
	switch {
	case what == "ssl_fc":
		t.secure = 1
		return t, len(values) == 0
	case (name == "hdr" || name == "fhdr") && strings.EqualFold(argument, "host"):
		return hostTest(match, values)
	case name == "path":
		return pathTest(match, fold, values)
	case name == "method" && match == "":
		t.methods = values
		return t, len(values) > 0
	case name == "hdr" || name == "fhdr":
		t.header, ok = fieldTest(argument, match, fold, values)
		return t, ok
	case name == "url_param" || name == "urlp":
		t.query, ok = fieldTest(argument, match, fold, values)
		return t, ok
	}
	return t, false
}

// hostTest reads values of hdr(host).
func hostTest(match string, values []string) (t test, ok bool) {
	for _, v := range values {
		v = strings.ToLower(v)
		if match == "end" && strings.HasPrefix(v, ".") {
			v = "*" + v
		} else if match != "" && match != "str" {
			return t, false
		}
		host, err := route.ParseHost(v)
		if err != nil {
			return t, false
		}
		if !slices.Contains(t.hosts, host) {
			t.hosts = append(t.hosts, host)
		}
	}
	return t, len(values) > 0
}

// pathTest reads values of path and path_beg.
func pathTest(match string, fold bool, values []string) (t test, ok bool) {
	for _, v := range values {
		if !strings.HasPrefix(v, "/") || fold && strings.ToLower(v) != strings.ToUpper(v) && match != "beg" {
			return t, false
		}
		switch match {
		case "", "str":
			t.paths = append(t.paths, "="+v)
		case "beg":
			below := strings.TrimRight(v, "/")
			t.paths = append(t.paths, below+"/*")
			if below == v {
				t.below = append(t.below, v)
			} else if below != "" {
				t.short = append(t.short, below)
			}
		default:
			return t, false
		}
	}
	return t, len(values) > 0
}

// fieldTest reads values of hdr(name) and url_param(name).
func fieldTest(name, match string, fold bool, values []string) (list []plan.Field, ok bool) {
	switch {
	case name == "":
		return nil, false
	case match == "found":
		return []plan.Field{{Name: name}}, true
	case len(values) != 1 || values[0] == "" || strings.HasPrefix(values[0], "~"):
		return nil, false
	}
	value := values[0]
	switch match {
	case "", "str":
	case "reg":
		value = "~" + value
	default:
		return nil, false
	}
	if fold && match != "reg" {
		return nil, false
	}
	return []plan.Field{{Name: name, Value: value}}, true
}

// condition returns the tests of which one has to hold for "if a !b or { path /x }"; ok is false where edge has none.
func (f *front) condition(words []string) (list []test, ok bool) {
	current := test{}
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "or" || word == "||" {
			list = append(list, current)
			current = test{}
			continue
		}
		not := strings.HasPrefix(word, "!")
		word = strings.TrimPrefix(word, "!")
		if word == "" && i+1 < len(words) {
			i++
			word = words[i]
		}
		var next test
		switch {
		case word == "{":
			end := slices.Index(words[i:], "}")
			if end < 0 {
				return nil, false
			}
			if next, ok = parseTest(words[i+1 : i+end]); !ok {
				return nil, false
			}
			i += end
		case len(f.acls[word]) == 1:
			next = f.acls[word][0]
		default:
			return nil, false
		}
		if not {
			if next.secure == 0 {
				return nil, false
			}
			next.secure = -next.secure
		}
		if current, ok = current.and(next); !ok {
			return nil, false
		}
	}
	return append(list, current), true
}

// loseACLs adds the findings about acl lines.
func (f *front) loseACLs(list []*line) {
	for _, l := range list {
		f.im.Lose(l.at, l.text(), "edge does not know this condition")
	}
}

// readACLs reads the acl lines of a section, and returns those that routes do not have. Several lines of one name are
// one acl, where their values are of one kind.
func (f *front) readACLs(s *section) (lost []*line) {
	bad := map[string]bool{}
	for _, l := range s.all("acl") {
		name := l.word(1)
		t, ok := parseTest(l.rest(2))
		old := f.acls[name]
		switch {
		case !ok:
			bad[name] = true
		case len(old) == 0:
			f.acls[name] = []test{t}
		case len(old[0].hosts) > 0 && len(t.hosts) > 0:
			old[0].hosts = append(slices.Clone(old[0].hosts), t.hosts...)
		case len(old[0].paths) > 0 && len(t.paths) > 0:
			old[0].paths = append(slices.Clone(old[0].paths), t.paths...)
			old[0].below = append(slices.Clone(old[0].below), t.below...)
			old[0].short = append(slices.Clone(old[0].short), t.short...)
		default:
			bad[name] = true
		}
		if ok {
			l.used = true
			f.from[name] = append(f.from[name], l.at)
		} else {
			l.used = true
			lost = append(lost, l)
		}
	}
	for name := range bad {
		delete(f.acls, name)
	}
	return lost
}

// fromACLs returns the lines of the acls that a condition names.
func (f *front) fromACLs(words []string) (list []plan.Place) {
	for _, w := range words {
		list = append(list, f.from[strings.TrimPrefix(w, "!")]...)
	}
	return list
}
