package schema

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// Key is one row of a schema. Its texts are the reference page.
type Key struct {
	tags.Row
	Type     Type
	Open     bool              // it allows other words too, which Given.CheckChoice is told when all files are read
	Synonyms map[string]string // other words for the values of Enum

	set     func(field reflect.Value, v any)
	held    bool // the field is one of the struct of a Held
	section *Section
}

// Shape says how often a section stands in a file.
type Shape uint8

// The shapes of sections.
const (
	One   Shape = iota // [global]: one entry, which exists without a table too
	List               // [[listeners]]
	Named              // [upstreams.NAME]
)

// Section is a table of keys. Each entry of it in a file is decoded into a target of its own.
type Section struct {
	Path     string // "" is the top; "routes.cache" and "upstreams.NAME.cache" stand inside entries of other sections
	Shape    Shape
	Aliases  []Alias
	Top      bool   // its keys may stand at the top of the file as well
	Merges   bool   // entries of a list that have the same name in several files are one
	Single   bool   // a table, [path], is a list with one entry; of shape List
	Bare     string // the key that a value in place of an entry is for; a hint where the shape is not Named
	Switch   string // the key that true or false stand for in place of the table; of shape One
	Extends  bool   // its keys stand among the keys of another section with this path; New is called when one is given
	Defaults string // the path of a section of shape One whose values stand in for those that an entry lacks
	Doc      string
	Keys     []*Key
	Later    []string // names of later versions among its keys: an error of its own
	Codes    []Code   // of the warnings and notes that Resolve reports
	Lists    string   // the section in whose lists its entries end: they are another way to write those
	Variants Variants // its entries are of several kinds, each with keys of its own; of shape Named

	// Keep alters keys that Table adds, and leaves those out for which it returns false; nil keeps all.
	Keep func(*Key) bool

	// New makes the target of an entry. parent is the entry around it; at the top of a file the entry of the section
	// "".
	// n is its table, nil for an entry without one.
	New func(parent Target, n *syntax.Node) Target
	// Resolve checks and completes an entry whose values are filled in, and reports to doc; nil: nothing to do.
	Resolve func(doc *Document, t Target)

	inside bool // it stands inside the entries of another section
}

// Alias is another place for the entries of a section.
type Alias struct {
	Path  string
	Shape Shape
	Doc   string
}

// Variants are the kinds of entries of a section.
type Variants struct {
	By      string // the key whose value is the name of the kind
	Default string // the kind of an entry without it; "": each has it
	List    []Variant
	// Unknown returns the hint for a name that no kind has, where there is one better than a similar name; nil: none.
	Unknown func(name string) string
}

// Variant is a kind of entries of a section. Its keys stand beside the keys of the section.
type Variant struct {
	Name, Doc string
	Keys      []*Key
}

// variant returns the kind of the entry n, or nil.
func (s *Section) variant(n *syntax.Node) *Variant {
	if s.Variants.By == "" || n == nil {
		return nil
	}
	name := s.Variants.Default
	if by := n.Child(s.Variants.By); by != nil {
		if by.Kind != syntax.KindString {
			return nil
		}
		name = by.Text
	}
	for i := range s.Variants.List {
		if v := &s.Variants.List[i]; v.Name == name {
			return v
		}
	}
	return nil
}

// Title returns the section as a file writes its header.
func (s *Section) Title() string { return titleOf(s.Path, s.Shape) }

// IsInside reports whether s stands inside the entries of another section, of which there may be several.
func (s *Section) IsInside() bool { return s.inside }

func titleOf(path string, shape Shape) string {
	switch {
	case path == "":
		return "top level"
	case shape == List:
		return "[[" + path + "]]"
	case shape == Named:
		return "[" + path + ".NAME]"
	}
	return "[" + path + "]"
}

// Reserved are names that a file may have although no section has them.
type Reserved struct {
	Ignored []string            // keys of other servers at the top of a file: a note. A star at the end is any rest
	Later   map[string][]string // names of later versions, by the path of their table: an error of its own

	// Words are words of other programs, in lower case with "_" for "-" and blanks, and what the hint for each says
	// after it: "of nginx is dest". One with a table before it, as "upstreams.server", is for that table.
	Words map[string]string
	// Foreign recognises a file of another program and says so; without a message it is none. root is nil when the
	// text could not be parsed. nil: no file is recognised.
	Foreign func(src *syntax.Source, root *syntax.Node) (at syntax.Span, message, hint string)
	// Implied returns the tables that texts of root stand for, as a root of their own; nil: there are none.
	Implied func(root *syntax.Node) *syntax.Node
}

// Code is the name of a warning or a note, which files list to silence it, and its meaning for the reference page.
type Code struct{ Name, Doc string }

// The codes of what this package reports.
const (
	CodeIgnoredKey   = "ignored-key"
	CodeEmptyInclude = "empty-include"
	CodeNoEffect     = "no-effect"
)

// Schema knows every key that a file may have. Immutable after New; safe for any goroutine.
type Schema struct {
	Sections []*Section
	Codes    []Code
	Reserved Reserved

	root *place
}

// New returns the schema of these sections, in the order of the reference page. It panics when a row is wrong or two
// sections want the same place: a mistake in the program, which any test of it finds.
func New(sections []*Section, codes []Code, reserved Reserved) *Schema {
	later := make(map[string][]string)
	maps.Copy(later, reserved.Later)
	reserved.Later = later
	s := &Schema{Sections: sections, Codes: slices.Clip(codes), Reserved: reserved, root: &place{}}
	for _, section := range sections {
		at := s.root.walk(section.Path)
		if taken := at.section != nil || at.key != nil; taken != section.Extends {
			panic("schema: " + section.Title() + " is taken, or there is nothing to extend")
		}
		if !section.Extends {
			at.section, at.shape = section, section.Shape
		}
		for _, k := range section.Keys {
			if err := k.prepare(section); err != nil {
				panic(fmt.Sprintf("schema: %s %s, field %s: %v", section.Title(), k.Path, k.Name, err))
			}
			if at.walk(k.Path).key != nil {
				panic(fmt.Sprintf("schema: %s %s is taken", section.Title(), k.Path))
			}
			at.walk(k.Path).key = k
		}
		s.Codes = append(s.Codes, section.Codes...)
		if len(section.Later) > 0 {
			later[section.Path] = slices.Concat(later[section.Path], section.Later)
		}
	}
	if s.root.section == nil {
		panic("schema: there is no section for the top of a file")
	}
	for _, section := range sections {
		for _, outer := range sections {
			around := strings.HasPrefix(section.Path, outer.Path+".") || section.Extends && section.Path == outer.Path
			section.inside = section.inside || outer.Shape != One && around
		}
		addAliases(s.root, section)
	}
	for _, section := range sections {
		at := s.root.walk(section.Path)
		if section.Variants.By != "" {
			at.addVariants(section)
		}
		for _, a := range section.Aliases {
			from := s.root.walk(a.Path)
			from.section, from.shape, from.path = section, a.Shape, at.path
			from.children, from.names = at.children, at.names
		}
	}
	return s
}

// Section returns the section with that path, or nil.
func (s *Schema) Section(path string) *Section {
	for _, section := range s.Sections {
		if section.Path == path {
			return section
		}
	}
	return nil
}

// Default returns the default of a key, nil when it has none.
func (s *Section) Default(path string) any {
	for _, k := range s.Keys {
		if k.Path == path {
			return k.Preset
		}
	}
	return nil
}

// prepare parses what the row says in words.
func (k *Key) prepare(s *Section) error {
	k.section = s
	if k.Doc == "" || k.set == nil || k.Type.Parse == nil {
		return errors.New("no doc, field or type")
	}
	if err := k.Bound(k.Type.Number); err != nil {
		return err
	}
	if k.Default == "" {
		return nil
	}
	v, rep := k.parseText(k.Default)
	if !rep.OK() {
		return errors.New("default: " + rep.Errors[0].Message)
	}
	k.Preset = v
	return nil
}

// parseText parses a value as a file would write it.
func (k *Key) parseText(text string) (any, *syntax.Report) {
	rep := &syntax.Report{}
	root, whole := syntax.ParseTOML(syntax.NewSource("schema", []byte("value = "+text), 0), rep)
	if !whole {
		return nil, rep
	}
	n := root.Child("value")
	n.Key = k.Path
	v, _ := k.Type.Parse(&Decoder{Report: rep}, k, n)
	return v, rep
}

// place is a position in the tree that the schema knows: what may stand there, and below it.
type place struct {
	section  *Section // whose entries stand here
	shape    Shape    // how they stand here
	key      *Key     // whose value stands here
	path     string   // canonical, without the NAME of named sections
	children map[string]*place
	names    []string // of the children, in the order of the schema
	variants map[string]*place
}

// addVariants adds the places of the kinds of entries of s, which stand at p.
func (p *place) addVariants(s *Section) {
	p.variants = make(map[string]*place)
	for _, v := range s.Variants.List {
		at := &place{section: p.section, shape: p.shape, path: p.path, children: maps.Clone(p.children),
			names: slices.Clone(p.names)}
		for _, k := range v.Keys {
			err := k.prepare(s)
			if err == nil && (at.walk(k.Path).key != nil || at.walk(k.Path).children != nil) {
				err = errors.New("it is taken")
			}
			if err != nil || p.variants[v.Name] != nil {
				panic(fmt.Sprintf("schema: %s of %s %q: %v", k.Path, s.Title(), v.Name, err))
			}
			at.walk(k.Path).key = k
		}
		p.variants[v.Name] = at
	}
}

// of returns the place of the keys of the entry n, which stands at p: the place of its kind, p where there are none or
// none of that name.
func (p *place) of(n *syntax.Node) *place {
	if p.variants != nil {
		if v := p.section.variant(n); v != nil {
			return p.variants[v.Name]
		}
	}
	return p
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

func (p *place) has(table, name string) bool {
	at := p.children[table]
	return at != nil && at.children[name] != nil
}

// addAliases adds the other spellings of the keys of s to the tree of places.
func addAliases(root *place, s *Section) {
	home := root.walk(s.Path)
	for _, k := range s.Keys {
		if s.Top {
			root.aliasTo(k.Path, k)
		}
		for _, a := range k.Aliases {
			if path, inside := strings.CutPrefix(a, ".."); inside {
				home.aliasTo(path, k)
			} else if name, beside := strings.CutPrefix(a, "."); beside {
				home.aliasTo(levelOf(k.Path)+name, k)
			} else {
				root.aliasTo(a, k)
			}
		}
	}
}

func (p *place) aliasTo(path string, k *Key) {
	at := p.walk(path)
	if at.key != nil || at.section != nil {
		panic("schema: the alias " + path + " of " + k.Path + " is taken")
	}
	at.key = k
}

// levelOf returns the path of the table that holds the key, with its dot.
func levelOf(path string) string {
	return path[:strings.LastIndexByte(path, '.')+1]
}
