package traefik

import (
	"slices"
	"strings"
)

// test is what a rule, or a part of one, asks of a request. Empty parts ask nothing.
type test struct {
	host  string // "a.test", or "*.a.test" for all below
	path  string // "=/a" that path alone, "/a/*" and all below it; never "/*"
	conds []cond // sorted; each once
}

// cond is a condition on a method, a field or a parameter, or one in the language.
type cond struct {
	kind        byte // 'm', 'h', 'q', 'w'
	name, value string
}

// negated returns the text of the language that holds where another one does not.
func negated(text string) string {
	if inner, found := strings.CutPrefix(text, "not ("); found {
		return strings.TrimSuffix(inner, ")")
	}
	return "not (" + text + ")"
}

// whens returns the conditions in the language, and the number of the others.
func (a test) whens() (list []string, others int) {
	for _, c := range a.conds {
		if c.kind == 'w' {
			list = append(list, c.name)
		} else {
			others++
		}
	}
	return list, others
}

// count returns how many conditions edge counts.
func (a test) count() int {
	whens, n := a.whens()
	return n + min(1, len(whens))
}

func compareConds(a, b cond) int {
	if a.kind != b.kind {
		return int(a.kind) - int(b.kind)
	}
	if c := strings.Compare(a.name, b.name); c != 0 {
		return c
	}
	return strings.Compare(a.value, b.value)
}

// and returns the test that both ask; ok is false where no request meets them.
func (a test) and(b test) (both test, ok bool) {
	if both.host, ok = narrower(a.host, b.host, hostWithin); !ok {
		return both, false
	}
	if both.path, ok = narrower(a.path, b.path, pathWithin); !ok {
		return both, false
	}
	both.conds = slices.Concat(a.conds, b.conds)
	slices.SortFunc(both.conds, compareConds)
	both.conds = slices.Compact(both.conds)
	for i, c := range both.conds {
		// Two methods, or two values of one field or parameter.
		if i > 0 && c.kind == both.conds[i-1].kind && (c.kind == 'm' || c.name == both.conds[i-1].name) {
			return both, false
		}
		if c.kind == 'w' && slices.Contains(both.conds, cond{'w', negated(c.name), ""}) {
			return both, false
		}
	}
	return both, len(both.conds) <= condsMax
}

// condsMax is how many conditions a route has.
const condsMax = 16

// clash reports whether both tests ask for one field or parameter, by expressions that may both hold.
func (a test) clash(b test) bool {
	for _, c := range a.conds {
		for _, o := range b.conds {
			if c.kind == o.kind && c.kind != 'm' && c.name == o.name && c.value != o.value &&
				strings.HasPrefix(c.value+o.value, "~") {
				return true
			}
		}
	}
	return false
}

// narrower returns the one of two patterns that is within the other.
func narrower(a, b string, within func(a, b string) bool) (string, bool) {
	switch {
	case within(a, b):
		return a, true
	case within(b, a):
		return b, true
	}
	return "", false
}

// hostWithin reports whether all hosts of the pattern a are hosts of b.
func hostWithin(a, b string) bool {
	if b == "" || a == b {
		return true
	}
	above, wild := strings.CutPrefix(b, "*")
	return wild && strings.HasSuffix(strings.TrimPrefix(a, "*"), above)
}

// pathWithin reports whether all paths of the pattern a are paths of b.
func pathWithin(a, b string) bool {
	if b == "" || a == b {
		return true
	}
	above, open := strings.CutSuffix(b, "/*")
	path := strings.TrimPrefix(strings.TrimSuffix(a, "/*"), "=")
	return a != "" && open && (path == above || strings.HasPrefix(path, above+"/"))
}

// within reports whether all requests for a meet b too.
func (a test) within(b test) bool {
	if !hostWithin(a.host, b.host) || !pathWithin(a.path, b.path) {
		return false
	}
	for _, c := range b.conds {
		if _, found := slices.BinarySearchFunc(a.conds, c, compareConds); !found {
			return false
		}
	}
	return true
}

// key returns a text that is the same for equal tests.
func (a test) key() string {
	var b strings.Builder
	b.WriteString(a.place())
	for _, c := range a.conds {
		b.WriteString("\x00" + string(c.kind) + c.name + "\x01" + c.value)
	}
	return b.String()
}

// place returns the host and the path as one text.
func (a test) place() string { return a.host + "\x02" + a.path }

// exact returns the path that is asked for alone.
func (a test) exact() (path string, ok bool) { return strings.CutPrefix(a.path, "=") }

// base returns what all paths of a begin with, by segments: "" for any path.
func (a test) base() string { return strings.TrimPrefix(strings.TrimSuffix(a.path, "/*"), "=") }

// rank orders tests as edge does: it takes the first one that a request meets. 0: rank does not decide.
func rank(a, b test) int {
	if c := rankHost(a.host, b.host); c != 0 {
		return c
	}
	if c := rankPath(a.path, b.path); c != 0 {
		return c
	}
	return b.count() - a.count()
}

func rankHost(a, b string) int {
	if wild := strings.HasPrefix(a, "*"); wild != strings.HasPrefix(b, "*") && a != "" && b != "" {
		if wild {
			return 1
		}
		return -1
	}
	return len(b) - len(a)
}

func rankPath(a, b string) int {
	if exact := strings.HasPrefix(a, "="); exact != strings.HasPrefix(b, "=") {
		if exact {
			return -1
		}
		return 1
	}
	return len(b) - len(a)
}

// cellsMax is how many tests the rules of an entry point may make together.
const cellsMax = 8000

// closeTests returns tests, and what several of them ask together as further tests. whole is false where there are too
// many of these: some are left out then, but none of tests is.
func closeTests(tests []test) (cells []test, whole bool) {
	seen := map[string]bool{}
	whole = true
	for _, t := range tests {
		if seen[t.key()] {
			continue
		}
		seen[t.key()] = true
		more := []test{t}
		for _, c := range cells {
			both, ok := c.and(t)
			switch {
			case !ok || seen[both.key()]:
				continue
			case len(cells)+len(more) >= cellsMax:
				whole = false
				continue
			}
			seen[both.key()] = true
			more = append(more, both)
		}
		cells = append(cells, more...)
	}
	return cells, whole
}
