package nginx

import (
	"slices"

	"github.com/edge-proxy/edge/config/import/plan"
)

// scope is a block with the blocks around it, as nginx inherits directives: http, server, location.
type scope struct {
	outer     *scope
	block     *directive
	constants map[string]string // what set says in these blocks, where it is constant
}

// inner returns the scope of a block inside s.
func (s *scope) inner(block *directive) *scope {
	next := &scope{outer: s, block: block, constants: map[string]string{}}
	if s != nil {
		for name, value := range s.constants {
			next.constants[name] = value
		}
	}
	for _, d := range block.block {
		if d.name == "set" && len(d.args) == 2 {
			value := expand(d.args[1], next.constants)
			if hasVariables(value) {
				delete(next.constants, nameOf(d.args[0]))
				continue
			}
			next.constants[nameOf(d.args[0])] = value
		}
	}
	return next
}

// get returns the directive of that name that holds in s, or nil, and marks it as used.
func (s *scope) get(name string) *directive {
	for at := s; at != nil; at = at.outer {
		if d := at.block.child(name); d != nil {
			d.used = true
			return d
		}
	}
	return nil
}

// own returns the directive of that name directly in s, or nil, and marks it as used.
func (s *scope) own(name string) *directive {
	d := s.block.child(name)
	if d != nil {
		d.used = true
	}
	return d
}

// all returns the directives of these names that hold in s: those of the innermost block that has any, in their order.
func (s *scope) all(names ...string) (list []*directive) {
	for at := s; at != nil && list == nil; at = at.outer {
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
