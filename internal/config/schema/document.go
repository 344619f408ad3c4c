package schema

import "github.com/edge-proxy/edge/internal/config/syntax"

// Document is what the files of a configuration say: typed values, entry by entry. Owned by the goroutine that reads
// the files.
type Document struct {
	Report *syntax.Report
	Main   *syntax.Source // the first file; nil when it could not be read
	Whole  bool           // nothing was left out; otherwise names may seem to be missing that are not
	Looks  bool           // checks may look at what the text names on this machine

	Namings Namings // of files and other things of this machine

	schema  *Schema
	sent    *Sent        // nil: users of this machine have written the files
	root    *syntax.Node // the merged tree; nil when there is none
	entries map[*Section][]Target
}

// newDocument returns a document with the entries that exist without a table.
func (s *Schema) newDocument(rep *syntax.Report) *Document {
	doc := &Document{Report: rep, schema: s, entries: make(map[*Section][]Target), Namings: make(Namings)}
	top := doc.enter(s.root.section, nil, nil)
	for _, section := range s.Sections {
		if section.Shape == One && !section.inside {
			doc.enter(section, top, nil)
		}
	}
	return doc
}

// enter returns the target of the entry of s that stands at n, inside parent. A section of shape One has one for all of
// its tables.
func (doc *Document) enter(s *Section, parent Target, n *syntax.Node) Target {
	if list := doc.entries[s]; s.Shape == One && !s.inside && len(list) > 0 {
		if g := list[0].base(); g.node == nil {
			g.node = n
		}
		return list[0]
	}
	t := s.New(parent, n)
	*t.base() = Given{section: s, variant: s.variant(n), node: n,
		nodes: make(map[string]*syntax.Node), values: make(map[string]any)}
	doc.entries[s] = append(doc.entries[s], t)
	if parent != nil {
		parent.base().inside = append(parent.base().inside, t)
	}
	return t
}

// owner returns the target for a key in the entry t: t itself, a target that extends it, or the only entry of another
// section.
func (doc *Document) owner(k *Key, t Target) Target {
	s := k.section
	switch {
	case t.base().section == s:
		return t
	case !s.inside:
		return doc.enter(s, nil, nil)
	}
	for _, e := range t.base().inside {
		if e.base().section == s {
			return e
		}
	}
	return doc.enter(s, t, t.base().node)
}

// New returns an entry of the section with that path that no file has, with the defaults filled in.
func (doc *Document) New(path string) Target {
	t := doc.enter(doc.schema.Section(path), nil, nil)
	doc.Fill(t)
	return t
}

// Fill stores every key of the entry in its field: the value given, else the value of the section's Defaults, else the
// default.
func (doc *Document) Fill(t Target) {
	g := t.base()
	var defaults map[string]any
	if path := g.section.Defaults; path != "" {
		defaults = doc.entries[doc.schema.Section(path)][0].base().values
	}
	for _, k := range g.keys() {
		v, ok := g.values[k.Path]
		if !ok {
			v, ok = defaults[k.Path]
		}
		if !ok {
			v = k.Preset
		}
		if v != nil {
			k.Store(t, v)
		}
	}
}

// Resolve fills in the entries and the entries inside them, and lets their sections resolve them.
func (doc *Document) Resolve(entries []Target) {
	for _, t := range entries {
		doc.Fill(t)
		doc.Resolve(t.base().inside)
		if resolve := t.base().section.Resolve; resolve != nil {
			resolve(doc, t)
		}
	}
}

// Entries returns the entries of the section with that path, in the order of the file.
func (doc *Document) Entries(path string) []Target { return doc.entries[doc.schema.Section(path)] }

// All returns the entries of type T among entries.
func All[T Target](entries []Target) []T {
	var all []T
	for _, t := range entries {
		if e, ok := t.(T); ok {
			all = append(all, e)
		}
	}
	return all
}

// Only returns the first entry of type T among entries; for a section of shape One it is the only one.
func Only[T Target](entries []Target) (e T) {
	if all := All[T](entries); len(all) > 0 {
		e = all[0]
	}
	return e
}

// Make is the New of a section whose entries are decoded into an E.
func Make[E any, T interface {
	*E
	Target
}](Target, *syntax.Node) Target {
	return T(new(E))
}
