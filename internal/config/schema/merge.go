package schema

import (
	"slices"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// merger joins the trees of several files: tables with the same name become one, entries of lists stand one after the
// other, and a key that two files set has the same value in both.
type merger struct {
	rep   *syntax.Report
	under bool // the second tree lies under the first one: where both set a key, the second value is dropped
}

// tables adds the members of from to the table into, which stands at p.
func (m *merger) tables(into, from *syntax.Node, p *place) {
	for _, c := range from.Children {
		if m.rep.Full() {
			return
		}
		var at *place
		if p != nil {
			at = p.children[c.Key]
		}
		old := into.Child(c.Key)
		switch {
		case old == nil:
			into.Add(c)
		case at != nil && at.section != nil && at.shape == Named &&
			old.Kind == syntax.KindTable && c.Kind == syntax.KindTable:
			m.named(old, c, at)
		default:
			m.member(old, c, at)
		}
	}
}

func (m *merger) named(into, from *syntax.Node, p *place) {
	for _, c := range from.Children {
		if old := into.Child(c.Key); old == nil {
			into.Add(c)
		} else {
			m.member(old, c, p)
		}
	}
}

// member merges two values of one key, which stands at p; nil is a place that the schema does not know.
func (m *merger) member(old, n *syntax.Node, p *place) {
	switch {
	case old.Kind == syntax.KindTable && n.Kind == syntax.KindTable:
		m.tables(old, n, p)
	case old.Kind == syntax.KindList && n.Kind == syntax.KindList && p.appends():
		m.entries(old, n, p)
	case old.Kind == syntax.KindNull:
		*old = *n
	case n.Kind == syntax.KindNull || old.Kind == syntax.KindLost || n.Kind == syntax.KindLost:
	case m.under || same(old, n):
	default:
		at, first := n.ConflictSpan(), old.ConflictSpan()
		m.rep.Conflictf(at, first, "leave one of them out", "%q is set twice to different values, first at %s", n.Key,
			first.RelativeTo(at))
	}
}

// appends reports whether the lists of several files at p become one. A list inside an entry, such as the backends of
// one upstream, is a value: two files that both have it disagree.
func (p *place) appends() bool {
	if p == nil {
		return false
	}
	if p.key != nil {
		return p.key.Type.Name == Choices.Name
	}
	return p.section != nil && p.shape == List && !p.section.inside
}

// entries appends the entries of a list; one with the name of a listener is about that listener.
func (m *merger) entries(old, n *syntax.Node, p *place) {
	merges := p.section != nil && p.section.Merges
	for _, c := range n.Children {
		if same := entryLike(old, c); merges && same != nil {
			m.tables(same, c, p)
			continue
		}
		old.Children = append(old.Children, c)
	}
}

// entryLike returns the entry of the list that has the name of c, or nil.
func entryLike(list, c *syntax.Node) *syntax.Node {
	name := entryName(c)
	if name == "" {
		return nil
	}
	i := slices.IndexFunc(list.Children, func(e *syntax.Node) bool { return entryName(e) == name })
	if i < 0 {
		return nil
	}
	return list.Children[i]
}

// entryName returns what the entry of a list says under "name".
func entryName(n *syntax.Node) string {
	if name := n.Child("name"); name != nil && name.Kind == syntax.KindString {
		return name.Text
	}
	return ""
}

// same reports whether two nodes have the same value, wherever they stand.
func same(a, b *syntax.Node) bool {
	if a.Kind != b.Kind || a.Text != b.Text && a.Kind == syntax.KindString || a.Integer != b.Integer ||
		a.Fraction != b.Fraction || a.Truth != b.Truth || len(a.Children) != len(b.Children) {
		return false
	}
	if a.Kind == syntax.KindDatetime {
		return a.Text == b.Text
	}
	for i, c := range a.Children {
		other := b.Children[i]
		if a.Kind == syntax.KindTable {
			other = b.Child(c.Key)
		}
		if other == nil || !same(c, other) {
			return false
		}
	}
	return true
}
