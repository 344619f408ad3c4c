package nginx

import (
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// scope is a block with the blocks around it, as nginx inherits directives: http, server, location.
type scope struct {
	outer     *scope
	block     *directive
	constants map[string]string // what set says in these blocks, where it is constant
	locals    map[string]bool   // variables that are none
}

func (s *scope) inner(block *directive) *scope {
	next := &scope{outer: s, block: block, constants: maps.Clone(s.constants), locals: s.locals}
	for _, d := range block.block {
		if d.name == "set" && len(d.args) == 2 {
			name, value := nameOf(d.args[0]), expand(d.args[1], next.constants)
			if next.constants[name] = value; hasVariables(value) || next.locals[name] {
				delete(next.constants, name)
			}
		}
	}
	return next
}

// find returns the directive of that name that holds in s, or nil.
func (s *scope) find(name string) *directive {
	for at := s; at != nil; at = at.outer {
		if d := at.block.child(name); d != nil {
			return d
		}
	}
	return nil
}

// get is find for a directive that is used from then on.
func (s *scope) get(name string) *directive {
	d := s.find(name)
	if d != nil {
		d.used = true
	}
	return d
}

// own is get for the first of some directives that is directly in s.
func (s *scope) own(names ...string) *directive {
	for _, name := range names {
		if d := s.block.child(name); d != nil {
			d.used = true
			return d
		}
	}
	return nil
}

// all returns the directives of these names that hold in s, in their order: they stand in the innermost
// block that has any.
func (s *scope) all(names ...string) (list []*directive) {
	for at := s; at != nil && list == nil; at = at.outer {
		if !slices.ContainsFunc(names, func(name string) bool { return at.block.child(name) != nil }) {
			continue
		}
		for _, d := range at.block.block {
			if slices.Contains(names, d.name) {
				d.used = true
				list = append(list, d)
			}
		}
	}
	return list
}

// value returns the first argument of get with constants replaced; ok is false where there is no such directive.
func (s *scope) value(name string) (value string, at plan.Place, ok bool) {
	d := s.get(name)
	if d == nil || len(d.args) == 0 {
		return "", plan.Place{}, false
	}
	return expand(d.args[0], s.constants), d.at, true
}

// says reports whether the directive of that name has a word, and marks it as used.
func (s *scope) says(name, word string) bool {
	d := s.get(name)
	return d != nil && d.arg(0) == word
}

// variable is a variable in a value: $name or ${name}.
var variable = plan.Expr(`\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))`)

// expand replaces the variables of s that are constants, as set makes them, but for long ones, which could grow without
// end. Variables are $name in the result, where ${name} needs no braces.
func expand(s string, constants map[string]string) string {
	s = variable().ReplaceAllStringFunc(s, func(m string) string {
		if value, found := constants[nameOf(m)]; found && len(value) < 1024 {
			return value
		}
		return m
	})
	return braced().ReplaceAllString(s, "$$$1")
}

// braced is ${name} before something that no name has.
var braced = plan.Expr(`\$\{([A-Za-z0-9_]+)\}\B`)

func nameOf(m string) string { return strings.Trim(m, "${}") }

func hasVariables(s string) bool { return variable().MatchString(s) }

// replaced returns s as a template, with its variables replaced; unknown is one for which there is "", or "".
func replaced(s string, by func(name string) string) (template, unknown string) {
	for at := variable().FindStringIndex(s); at != nil; at = variable().FindStringIndex(s) {
		here := by(nameOf(s[at[0]:at[1]]))
		if here == "" {
			unknown = s[at[0]:at[1]]
		}
		template += plan.Text(s[:at[0]]) + here
		s = s[at[1]:]
	}
	return template + plan.Text(s), unknown
}

// lookup returns what a table "a=1; b=2" has for a name, or "".
func lookup(table, name string) string {
	for row := range strings.SplitSeq(table, ";") {
		if key, value, _ := strings.Cut(strings.TrimSpace(row), "="); key == name && name != "" {
			return value
		}
	}
	return ""
}
