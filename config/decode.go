package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

// decoder walks a tree along the schema and collects typed values into a document.
type decoder struct {
	rep *Report
	doc *document
}

// decode turns the tree into typed values. Names are not resolved and defaults not filled in yet.
func decode(root *syntax.Node, rep *Report) *document {
	d := &decoder{rep: rep, doc: newDocument()}
	top := d.enter(schema().section, nil, root)
	d.table(root, schema(), top, "")
	return d.doc
}

// enter opens the target of an entry of s that stands at n, or of the only one.
func (d *decoder) enter(s *section, parent target, n *syntax.Node) target {
	return d.doc.begin(s.open(d.doc, parent, n), s, n)
}

// table decodes the members of the table n, which stands at p and belongs to t. path is its name, for messages.
func (d *decoder) table(n *syntax.Node, p *place, t target, path string) {
	for _, c := range n.Children {
		if d.rep.Full() {
			return
		}
		at := p.children[c.Key]
		if at == nil {
			t.base().odd = true
			d.unknown(c, p, path)
			continue
		}
		if c.Kind == syntax.KindNull && at.key == nil {
			if at.section == nil || at.shape != shapeOne {
				continue // a heading of YAML with nothing under it
			}
			c.Kind = syntax.KindTable
		}
		d.member(c, at, t, syntax.JoinKey(path, c.Key))
	}
}

func (d *decoder) member(n *syntax.Node, p *place, t target, path string) {
	switch {
	case p.key != nil && (p.children == nil || n.Kind != syntax.KindTable):
		if p.key.section.shape == shapeOne {
			t = d.enter(p.key.section, nil, nil)
		}
		if n.Kind == syntax.KindLost {
			d.store(t.base(), p.key, n, nil, false)
			return
		}
		p.key.retype(n)
		v, right := p.key.typ.parse(d, p.key, n)
		d.store(t.base(), p.key, n, v, right)
	case p.section != nil && p.shape == shapeList:
		d.entries(n, p, t, path)
	case n.Kind != syntax.KindTable:
		d.noTable(n, p, path)
	case p.section != nil && p.shape == shapeNamed:
		for _, c := range n.Children {
			if c.Kind != syntax.KindTable {
				d.wrongKind(c, "a table")
				continue
			}
			d.table(c, p, d.enter(p.section, t, c), syntax.JoinKey(path, c.Key))
		}
	case p.section != nil:
		d.table(n, p, d.enter(p.section, t, n), path)
	default:
		d.table(n, p, t, path)
	}
}

// entries decodes a list of tables.
func (d *decoder) entries(n *syntax.Node, p *place, t target, path string) {
	if n.Kind == syntax.KindTable && n.Origin == syntax.OriginHeader {
		d.rep.Errorf(n.Head, "write "+syntax.Quote("[["+path+"]]"), "[%s] is one entry of a list", path)
		return
	}
	if n.Kind == syntax.KindTable {
		d.rep.Errorf(n.Value, hintOfEntry(n, path), "%q must be a list of tables, this is a table", n.Key)
		return
	}
	if n.Kind != syntax.KindList {
		d.wrongKind(n, "a list of tables")
		return
	}
	for _, c := range n.Children {
		if c.Kind != syntax.KindTable {
			c.Key = n.Key
			d.wrongElement(c, p)
			continue
		}
		d.table(c, p, d.enter(p.section, t, c), path)
	}
}

// hintOfEntry says how the entry n is made a list with one entry.
func hintOfEntry(n *syntax.Node, path string) string {
	switch src := n.Value.Source; {
	case src.Text[n.Value.From] == '{':
		return "write [ before it and ] behind it"
	case !src.Colon:
		return "write " + syntax.Quote("[["+path+"]]") + " before its keys"
	}
	return "each entry begins with a dash"
}

func (d *decoder) wrongElement(n *syntax.Node, p *place) {
	if n.Kind == syntax.KindLost {
		return
	}
	hint := ""
	if n.Kind == syntax.KindString {
		if first := p.section.keys[0]; first.typ.name == typeEndpoint.name {
			hint = fmt.Sprintf("write { %s = %s }", first.path, syntax.Quote(n.Text))
		}
	}
	d.rep.Errorf(n.Value, hint, "%q is a list of tables, this is %s", n.Key, n.Kind.Noun())
}

func (d *decoder) wrongKind(n *syntax.Node, want string) {
	if n.Kind == syntax.KindLost {
		return
	}
	d.rep.Errorf(n.Value, "", "%q must be %s, this is %s", n.Key, want, n.Kind.Noun())
}

// noTable reports a value where the section at p wants a table.
func (d *decoder) noTable(n *syntax.Node, p *place, path string) {
	hint := ""
	name, _, found := strings.Cut(n.Text, ":")
	colon := n.Value.Source.Colon
	switch {
	case n.Kind == syntax.KindLost:
		return
	case found && syntax.IsBareKey(name) && colon && n.Value.Source.Text[n.Value.From] != '"': // listen:":80"
		hint = "a blank belongs behind the colon of a key"
	case n.Kind == syntax.KindString && colon && strings.Contains(n.Text, " = "):
		hint = "write key: value"
	case n.Origin == syntax.OriginList && p.section != nil && p.shape == shapeNamed:
		hint = "write " + syntax.Quote("["+path+".NAME]")
	case n.Origin == syntax.OriginList:
		hint = "write " + syntax.Quote("["+path+"]")
	}
	d.rep.Errorf(n.Value, hint, "%q must be a table, this is %s", n.Key, n.Kind.Noun())
}

// unknown reports a key that the table at p does not have, with the best hint there is.
func (d *decoder) unknown(n *syntax.Node, p *place, path string) {
	full := syntax.JoinKey(path, n.Key)
	where := " in [" + path + "]"
	switch {
	case path == "":
		where = " at the top level"
	case p.section != nil && p.shape == shapeList:
		where = " in [[" + path + "]]"
	}
	header := n.Kind == syntax.KindTable && n.Origin != syntax.OriginValue || n.Origin == syntax.OriginList
	what := "key " + syntax.Quote(n.Key) + where
	if header {
		what = "section " + bracketed(n, full)
	}
	if path == "" && ignored(n.Key) {
		d.rep.Notef(codeIgnoredKey, n.Head, "%q has no meaning here and is ignored", n.Key)
		return
	}
	if (p.path == "" || p.path == "global") && slices.Contains(dormantKeys, n.Key) {
		d.rep.Notef(codeIgnoredKey, n.Head, "%q has no effect in this version", n.Key)
		return
	}
	if path == "" && slices.Contains(dormantSections, n.Key) {
		d.rep.Warnf(codeNoEffect, n.ConflictSpan(), "", "[%s] has no effect in this version", n.Key)
		return
	}
	if supportedLater(p.path, n.Key) {
		_, name, _ := strings.Cut(what, " ")
		d.rep.Errorf(n.ConflictSpan(), "", "%s is not supported by this version", name)
		return
	}
	at := n.Name
	if n.Origin == syntax.OriginList {
		at = n.Children[0].Name
	}
	d.rep.Errorf(at, d.unknownHint(n, p), "unknown %s", what)
}

func bracketed(n *syntax.Node, full string) string {
	if n.Origin == syntax.OriginList {
		return "[[" + full + "]]"
	}
	return "[" + full + "]"
}

// has tells whether p has a table of that name with a key of that name.
func (p *place) has(table, name string) bool {
	at := p.children[table]
	return at != nil && at.children[name] != nil
}

// unknownHint guesses what a key that the table at p does not have was meant to be.
func (d *decoder) unknownHint(n *syntax.Node, p *place) string {
	if table, name, found := strings.Cut(n.Key, "."); found && p.has(table, name) {
		return "write " + table + " = { " + name + " = … }"
	}
	if hint := syntax.DidYouMean(n.Key, p.names); hint != "" {
		return hint
	}
	if homes := homesOf(n.Key); len(homes) > 0 {
		return "this key belongs to " + strings.Join(homes, " or ")
	}
	if len(p.names) > 0 && len(p.names) <= 8 {
		return "known here: " + strings.Join(slices.Sorted(slices.Values(p.names)), ", ")
	}
	return ""
}

// homesOf returns the sections that have a key of that name.
func homesOf(name string) []string {
	var homes []string
	for _, s := range sections() {
		for _, k := range s.keys {
			level := levelOf(k.path)
			if k.path[len(level):] != name && !slices.Contains(k.aliases, "."+name) {
				continue
			}
			home := s.title()
			if level != "" {
				home = strings.TrimSuffix(level, ".") + " of " + home
			}
			homes = append(homes, home)
		}
	}
	return slices.Compact(homes)
}
