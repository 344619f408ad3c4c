package haproxy

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// asked reads what stands after if and unless: terms of which one holds, each of acls that all hold.
//
//	if is_api !{ src 10.0.0.0/8 } or { path /x }
func (f *front) asked(l *line) *plan.Cond {
	at := l.conditional()
	f.from, f.loose, f.nameless = []plan.Place{l.at}, false, false
	var terms, term []*plan.Cond
	words := l.rest(at + 1)
	for i := 0; i < len(words); i++ {
		if words[i] == "or" || words[i] == "||" {
			terms, term = append(terms, plan.All(term...)), nil
			continue
		}
		word := strings.TrimLeft(words[i], "!")
		not := (len(words[i])-len(word))%2 == 1
		if word == "" && i+1 < len(words) {
			i++
			word = words[i]
		}
		one := plan.Unknown
		if end := slices.Index(words[i:], "}"); word != "{" {
			one = f.acl(word)
		} else if end > 0 {
			one = f.leaf(words[i+1 : i+end])
			i += end
		}
		if not {
			one = plan.Not(one)
		}
		term = append(term, one)
	}
	c := plan.Any(append(terms, plan.All(term...))...)
	if l.word(at) == "unless" {
		c = plan.Not(c)
	}
	return c
}

// part returns the text of the acl that re matches in the condition of a line, and what else has to hold where the acl
// does, or with not where it does not. Else the condition never holds. "": the condition is no such one.
func (f *front) part(l *line, re *regexp.Regexp, not bool) (text string, rest *plan.Cond) {
	read := func(holds *plan.Cond) *plan.Cond {
		f.apart = func(acl string) *plan.Cond {
			if !re.MatchString(acl) || text != "" && text != acl {
				return nil
			}
			text = acl
			return holds
		}
		defer func() { f.apart = nil }()
		return f.asked(l)
	}
	rest, other := read(plan.Always), read(plan.Never)
	if not {
		rest, other = other, rest
	}
	if plan.Not(other).String() != "true" {
		return "", nil
	}
	return text, rest
}

// conditional returns where if or unless stands among the words, or how many these are.
func (l *line) conditional() int {
	if at := slices.IndexFunc(l.words, func(w string) bool { return w == "if" || w == "unless" }); at > 0 {
		return at
	}
	return len(l.words)
}

// predefined are the acls that HAProxy has by itself, beside METH_POST and the like.
const predefined = `
TRUE HTTP WAIT_END: always_true
FALSE: always_false
LOCALHOST: src 127.0.0.0/8 ::1
METH_GET: method GET HEAD
HTTP_CONTENT: hdr_val(content-length) gt 0
HTTP_URL_STAR: url *`

// acl returns the condition of an acl by its name, of which one of its lines has to hold.
func (f *front) acl(name string) *plan.Cond {
	words := lookup(predefined, name)
	if method, ok := strings.CutPrefix(name, "METH_"); ok {
		words = cmp.Or(words, "method "+method)
	}
	if f.acls[name] == nil {
		return f.leaf(strings.Fields(words))
	}
	var conds []*plan.Cond
	for _, l := range f.acls[name] {
		l.used, f.from = true, append(f.from, l.at)
		conds = append(conds, f.leaf(l.rest(2)))
	}
	return plan.Any(conds...)
}
