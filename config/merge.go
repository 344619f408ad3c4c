package config

import "slices"

// merger joins the trees of several files: tables with the same name become one, entries of lists stand one after the
// other, and a key that two files set has the same value in both.
type merger struct{ rep *Report }

// tables adds the members of from to the table into, which stands at p.
func (m *merger) tables(into, from *node, p *place) {
	for _, c := range from.children {
		if m.rep.full() {
			return
		}
		var at *place
		if p != nil {
			at = p.children[c.key]
		}
		old := into.child(c.key)
		switch {
		case old == nil:
			into.add(c)
		case at != nil && at.section != nil && at.shape == shapeNamed && old.kind == kindTable && c.kind == kindTable:
			m.named(old, c, at)
		default:
			m.member(old, c, at)
		}
	}
}

// named merges the entries of a section by their names.
func (m *merger) named(into, from *node, p *place) {
	for _, c := range from.children {
		if old := into.child(c.key); old == nil {
			into.add(c)
		} else {
			m.member(old, c, p)
		}
	}
}

// member merges two values of one key, which stands at p; nil is a place that the schema does not know.
func (m *merger) member(old, n *node, p *place) {
	switch {
	case old.kind == kindTable && n.kind == kindTable:
		m.tables(old, n, p)
	case old.kind == kindArray && n.kind == kindArray && p.appends():
		m.entries(old, n, p)
	case old.kind == kindNull:
		*old = *n
	case n.kind == kindNull || old.kind == kindLost || n.kind == kindLost || same(old, n):
	default:
		at, first := n.first(), old.first()
		m.rep.conflict(at, first, "", "%q is set twice to different values, first at %s", n.key, first.seenFrom(at))
	}
}

// appends tells whether the lists of several files at p become one. Lists inside an entry, such as the backends of one
// upstream, are values: two teams that both write them do not know of each other.
func (p *place) appends() bool {
	if p == nil {
		return false
	}
	if p.key != nil {
		return p.key.typ.name == typeChoices.name
	}
	return p.section != nil && p.shape == shapeList && !p.section.inside()
}

// entries appends the entries of a list; one with the name of a listener is about that listener.
func (m *merger) entries(old, n *node, p *place) {
	merges := p.section != nil && p.section.merges
	for _, c := range n.children {
		if same := entryLike(old, c); merges && same != nil {
			m.tables(same, c, p)
			continue
		}
		old.children = append(old.children, c)
	}
}

// entryLike returns the entry of the list that has the name of c, or nil.
func entryLike(list, c *node) *node {
	name := entryName(c)
	if name == "" {
		return nil
	}
	i := slices.IndexFunc(list.children, func(e *node) bool { return entryName(e) == name })
	if i < 0 {
		return nil
	}
	return list.children[i]
}

// entryName returns what the entry of a list says under "name".
func entryName(n *node) string {
	if name := n.child("name"); name != nil && name.kind == kindString {
		return name.text
	}
	return ""
}

// same tells whether two nodes say the same, wherever they stand.
func same(a, b *node) bool {
	if a.kind != b.kind || a.text != b.text && a.kind == kindString || a.integer != b.integer ||
		a.fraction != b.fraction || a.truth != b.truth || len(a.children) != len(b.children) {
		return false
	}
	if a.kind == kindDatetime {
		return a.text == b.text
	}
	for i, c := range a.children {
		other := b.children[i]
		if a.kind == kindTable {
			other = b.child(c.key)
		}
		if other == nil || !same(c, other) {
			return false
		}
	}
	return true
}
