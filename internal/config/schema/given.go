package schema

import (
	"reflect"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// Target is what an entry of a section is decoded into: a struct that embeds Given.
type Target interface{ base() *Given }

// Given remembers which keys of an entry the file gave, with what and where. The methods that return a place or a node
// are for keys that the file gave.
type Given struct {
	section *Section
	variant *Variant // nil: it has none
	node    *syntax.Node
	nodes   map[string]*syntax.Node // by the canonical path of the key
	values  map[string]any          // those that were right
	inside  []Target                // entries of other sections inside this one
	unknown bool                    // it has a key that the schema does not know
}

func (g *Given) base() *Given { return g }

func (g *Given) keys() []*Key {
	if g.variant == nil {
		return g.section.Keys
	}
	return slices.Concat(g.section.Keys, g.variant.Keys)
}

// Node returns the table of the entry, nil when it has none.
func (g *Given) Node() *syntax.Node { return g.node }

// KeyNode returns the node of a key, nil when the file did not give it.
func (g *Given) KeyNode(path string) *syntax.Node { return g.nodes[path] }

// At returns where the value of a key stands.
func (g *Given) At(path string) syntax.Span { return g.nodes[path].Value }

// ElementAt returns where element i of the n elements of a key stands: the whole value where that is no list, or where
// wrong elements of it are not among the n.
func (g *Given) ElementAt(path string, i, n int) syntax.Span {
	if elements := g.nodes[path].Children; len(elements) == n {
		return elements[i].Value
	}
	return g.At(path)
}

// CheckChoice reports a value of an Open key that is neither one of its words nor one of others, and returns whether it
// is right.
func (g *Given) CheckChoice(rep *syntax.Report, path string, others []string) bool {
	s, right := g.Value(path).(string)
	for _, k := range g.keys() {
		if k.Path == path && right {
			with := *k
			with.Enum = slices.Concat(k.Enum, others)
			return (&Decoder{Report: rep}).Choice(&with, g.KeyNode(path), s)
		}
	}
	return false
}

// Head returns where a key stands.
func (g *Given) Head(path string) syntax.Span { return g.nodes[path].Head }

// Place returns where the value of a key stands, else the table, else any key of it: for what is wrong with an entry of
// which a file may have written keys alone, as in tracing.sample = 1.
func (g *Given) Place(path string) syntax.Span {
	if g.Has(path) {
		return g.At(path)
	}
	if g.node != nil {
		return g.node.Head
	}
	for _, k := range g.section.Keys {
		if g.Has(k.Path) {
			return g.Head(k.Path)
		}
	}
	return syntax.Span{}
}

// Value returns the value of a key as it was given, nil when it was not, or wrongly.
func (g *Given) Value(path string) any { return g.values[path] }

// Has reports whether the file gave the key, rightly or wrongly.
func (g *Given) Has(path string) bool { return g.nodes[path] != nil }

// HasAny reports whether the file gave a key whose path begins with prefix.
func (g *Given) HasAny(prefix string) bool {
	for path := range g.nodes {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// Lacks reports whether the key is missing for sure. A key that the schema does not know may have been meant for it.
func (g *Given) Lacks(path string) bool { return !g.Has(path) && !g.unknown }

// Failed reports whether the file gave the key wrongly. That is in the report.
func (g *Given) Failed(path string) bool {
	_, right := g.values[path]
	return g.Has(path) && !right
}

// HasUnknown reports whether the entry has a key that the schema does not know. That is in the report.
func (g *Given) HasUnknown() bool { return g.unknown }

// store keeps a decoded value. A key that comes a second time, by another spelling, must say the same.
func (g *Given) store(rep *syntax.Report, k *Key, n *syntax.Node, v any, right bool) {
	old := g.nodes[k.Path]
	if old == nil {
		g.nodes[k.Path] = n
		if right {
			g.values[k.Path] = v
		}
		return
	}
	if !right || g.Failed(k.Path) || reflect.DeepEqual(g.values[k.Path], v) {
		return
	}
	if n.Head.Compare(old.Head) < 0 {
		n, old = old, n
	}
	where := old.Head.RelativeTo(n.Head)
	if n.Key == old.Key {
		rep.Conflictf(n.Head, old.Head, "leave one of them out", "%q is set twice to different values, first at %s",
			n.Key, where)
		return
	}
	rep.Conflictf(n.Head, old.Head, "leave one of them out",
		"%q and %q at %s mean the same, but have different values", n.Key, old.Key, where)
}

// RestartKeys returns the keys with Restart whose fields differ between two targets of section s, by their names in a
// file.
func (s *Section) RestartKeys(old, next Target) []string {
	prefix := s.Path + "."
	if s.Top {
		prefix = ""
	}
	var names []string
	for _, k := range s.Keys {
		if k.Restart && !reflect.DeepEqual(k.Value(old), k.Value(next)) {
			names = append(names, prefix+k.Path)
		}
	}
	return names
}

// Name returns the last part of the path of s: what its table is called inside another one.
func (s *Section) Name() string { return s.Path[strings.LastIndexByte(s.Path, '.')+1:] }

// ChangedKeys returns the keys whose fields differ between two targets of section s, by their paths inside it. Keys
// whose fields are parts of the field of such a key are left out.
func (s *Section) ChangedKeys(old, next Target) (paths []string) {
	last := []int{-1} // the field of the key before
	for _, k := range s.Keys {
		n := len(last)
		inside := len(k.Index) > n && slices.Equal(k.Index[:n], last)
		if !inside && !Equal(k.Value(old), k.Value(next)) {
			paths, last = append(paths, k.Path), k.Index
		}
	}
	return paths
}

// Detach drops the tree of the file from entries that are resolved.
func Detach(entries []Target) {
	for _, t := range entries {
		g := t.base()
		Detach(g.inside)
		*g = Given{section: g.section, inside: g.inside}
	}
}

// GivenOf returns what t knows of the file that it is from.
func GivenOf(t Target) *Given { return t.base() }

// SectionOf returns the section that t is an entry of.
func SectionOf(t Target) *Section { return t.base().section }

// Inside returns the entries of other sections directly inside t, in the order of the file. Those at the top of a file
// are inside the entry of the section with the path "".
func Inside(t Target) []Target { return t.base().inside }

// liker is a value that is compared in a way of its own by Equal.
type liker interface{ Like(other any) bool }

func likerOf(v reflect.Value) (of liker, ok bool) {
	if v.Kind() == reflect.Struct && v.CanInterface() {
		of, ok = v.Interface().(liker)
	}
	return of, ok
}

// Equal reports whether two values of one type are equal, wherever in a file they were written: places and entries'
// memory of the file do not count. A condition or a template is its text.
func Equal(a, b any) bool { return equal(reflect.ValueOf(a), reflect.ValueOf(b)) }

func equal(a, b reflect.Value) bool {
	if t := a.Type(); t == reflect.TypeFor[syntax.Pos]() || t == reflect.TypeFor[Given]() {
		return true
	}
	if liker, ok := likerOf(a); ok {
		return liker.Like(b.Interface())
	}
	if t := a.Type(); t == reflect.TypeFor[lang.Condition]() || t == reflect.TypeFor[lang.Template]() {
		return a.FieldByName("text").String() == b.FieldByName("text").String()
	}
	switch a.Kind() {
	case reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		return a.Elem().Type() == b.Elem().Type() && equal(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		return a.IsNil() && b.IsNil() || !a.IsNil() && !b.IsNil() && equal(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	if a.Kind() == reflect.Map {
		for _, key := range a.MapKeys() {
			if other := b.MapIndex(key); !other.IsValid() || !equal(a.MapIndex(key), other) {
				return false
			}
		}
		return a.Len() == b.Len()
	}
	return a.Equal(b)
}
