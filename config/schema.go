package config

import (
	"strings"
	"sync"

	"github.com/edge-proxy/edge/config/syntax"
)

// key is one row of the schema. Its texts are the reference page.
type key struct {
	path     string // below its section: "limits.header_size"
	typ      valueType
	def      string            // default, as a file would write it; "" has none
	min      string            // bounds of numbers, sizes and durations, written as values are
	max      string            //
	enum     []string          // the words a choice allows
	words    []string          // words a number allows beside numbers; they stand for 0, among times for -1
	synonyms map[string]string // other words for those of enum
	dormant  map[string]string // words that stand for another one as long as they have no meaning: a warning
	later    []string          // words that will be allowed: they get an answer of their own
	restart  bool              // a change needs a restart; without it a reload is enough
	doc      string
	example  string   // a value, as a file would write it
	aliases  []string // ".name": the same level; "a.b" or "a": from the top of the file

	into    func(dst target, v any) // stores the value in the field it is for
	section *section
	preset  any // the parsed default
	lo, hi  int64
}

// shape says how often a section stands in a file.
type shape uint8

const (
	shapeOne   shape = iota // [global]
	shapeList               // [[listeners]]
	shapeNamed              // [upstreams.NAME]
)

// section is a table of keys that are decoded into one target.
type section struct {
	path    string
	shape   shape
	aliases []sectionAlias
	top     bool // its keys may stand at the top of the file as well
	merges  bool // entries of a list with the same name in several files are one
	doc     string
	keys    []*key
	open    func(doc *document, parent target, n *syntax.Node) target // the target of a new entry, or of the only one
}

// sectionAlias is another place for the entries of a section.
type sectionAlias struct {
	path  string
	shape shape
	doc   string
}

// inside tells whether the section is part of the entries of another one.
func (s *section) inside() bool { return strings.Contains(s.path, ".NAME.") }

// title returns the section as a file writes its header.
func (s *section) title() string { return titleOf(s.path, s.shape) }

func titleOf(path string, sh shape) string {
	switch {
	case path == "":
		return "top level"
	case sh == shapeList:
		return "[[" + path + "]]"
	case sh == shapeNamed:
		return "[" + path + ".NAME]"
	}
	return "[" + path + "]"
}

// target is what a section is decoded into: a struct that embeds given.
type target interface{ base() *given }

// given remembers which keys of an entry the file gave, with what and where.
type given struct {
	section *section
	node    *syntax.Node
	nodes   map[string]*syntax.Node // by the canonical path of the key
	values  map[string]any          // those that were right
	odd     bool                    // it has a key that the schema does not know
}

func (g *given) base() *given { return g }

// at returns where the value of a key stands that the file gave.
func (g *given) at(path string) syntax.Span { return g.nodes[path].Value }

// has tells whether the file gave the key, rightly or wrongly.
func (g *given) has(path string) bool { return g.nodes[path] != nil }

// lacks tells whether the key is missing for sure: one that is not known may have been meant for it, and was reported.
func (g *given) lacks(path string) bool { return !g.has(path) && !g.odd }

// failed tells whether the file gave the key wrongly, which has been reported.
func (g *given) failed(path string) bool {
	_, right := g.values[path]
	return g.has(path) && !right
}

// fill stores every key of the entry in its field: the value given, else that of fallback, else the default.
func fill(dst target, fallback *given) {
	g := dst.base()
	for _, k := range g.section.keys {
		v, ok := g.values[k.path]
		if !ok && fallback != nil {
			v, ok = fallback.values[k.path]
		}
		if !ok {
			v = k.preset
		}
		if v != nil {
			k.into(dst, v)
		}
	}
}

// into makes the function that stores a value of type V in a field of a T.
func into[T, V any](field func(T) *V) func(target, any) {
	return func(dst target, v any) { *field(dst.(T)) = v.(V) }
}

// place is a position in the tree that the schema knows: what may stand there, and below it.
type place struct {
	section  *section // entered here
	shape    shape    // how its entries stand here
	key      *key     // a value is expected here
	path     string   // canonical, without the NAME of named sections
	children map[string]*place
	names    []string // of children, in the order of the schema
}

// child returns the place below p, made when it is missing.
func (p *place) child(name string) *place {
	c := p.children[name]
	if c == nil {
		c = &place{path: syntax.JoinKey(p.path, name)}
		if p.children == nil {
			p.children = make(map[string]*place)
		}
		p.children[name] = c
		p.names = append(p.names, name)
	}
	return c
}

// walk returns the place at path. The NAME of a named section has no place of its own: its entries all look alike.
func (p *place) walk(path string) *place {
	if path == "" {
		return p
	}
	for _, name := range strings.Split(path, ".") {
		if name != "NAME" {
			p = p.child(name)
		}
	}
	return p
}

// schema is the tree of places, made once from the sections.
var schema = sync.OnceValue(func() *place {
	root := &place{}
	for _, s := range sections() {
		at := root.walk(s.path)
		at.section, at.shape = s, s.shape
		for _, k := range s.keys {
			k.prepare(s)
			at.walk(k.path).key = k
		}
	}
	for _, s := range sections() {
		addAliases(root, s)
	}
	for _, s := range sections() {
		at := root.walk(s.path)
		for _, a := range s.aliases {
			from := root.walk(a.path)
			from.section, from.shape, from.path = s, a.shape, at.path
			from.children, from.names = at.children, at.names
		}
	}
	return root
})

// prepare parses what the row says in words. A row that is wrong is a bug of ours: the tests go through all of them.
func (k *key) prepare(s *section) {
	k.section = s
	if k.min != "" {
		k.lo = k.bound(k.min)
		k.hi = k.bound(k.max)
	}
	if k.def == "" {
		return
	}
	v, rep := k.parseText(k.def)
	if !rep.OK() {
		panic("config: default of " + k.path + ": " + rep.Errors[0].Message)
	}
	k.preset = v
}

func (k *key) bound(text string) int64 {
	n, ok := k.typ.number(text)
	if !ok {
		panic("config: bound of " + k.path + ": " + text)
	}
	return n
}

// parseText parses a value as it would stand behind the key in a file.
func (k *key) parseText(text string) (any, *Report) {
	rep := &Report{}
	root, whole := syntax.ParseTOML(syntax.NewSource("schema", []byte("value = "+text), 0), rep)
	if !whole {
		return nil, rep
	}
	n := root.Child("value")
	n.Key = k.path
	d := &decoder{rep: rep}
	v, _ := k.typ.parse(d, k, n)
	return v, rep
}
