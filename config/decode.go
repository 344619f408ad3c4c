package config

import (
	"fmt"
	"slices"
	"strings"
)

// decoder walks a tree along the schema and collects typed values into a document.
type decoder struct {
	rep *Report
	doc *document
}

// decode turns the tree into typed values. Names are not resolved and defaults not filled in yet.
func decode(root *node, rep *Report) *document {
	d := &decoder{rep: rep, doc: newDocument()}
	top := d.enter(schema().section, nil, root)
	d.table(root, schema(), top, "")
	return d.doc
}

// enter opens the target of an entry of s that stands at n, or of the only one.
func (d *decoder) enter(s *section, parent target, n *node) target {
	return d.doc.begin(s.open(d.doc, parent, n), s, n)
}

// table decodes the members of the table n, which stands at p and belongs to t. path is its name, for messages.
func (d *decoder) table(n *node, p *place, t target, path string) {
	for _, c := range n.children {
		if d.rep.full() {
			return
		}
		at := p.children[c.key]
		if at == nil {
			t.base().odd = true
			d.unknown(c, p, path)
			continue
		}
		if c.kind == kindNull && at.key == nil {
			if at.section == nil || at.shape != shapeOne {
				continue // a heading of YAML with nothing under it
			}
			c.kind = kindTable
		}
		d.member(c, at, t, join(path, c.key))
	}
}

func (d *decoder) member(n *node, p *place, t target, path string) {
	switch {
	case p.key != nil && (p.children == nil || n.kind != kindTable):
		if p.key.section.shape == shapeOne {
			t = d.enter(p.key.section, nil, nil)
		}
		if n.kind == kindLost {
			d.store(t.base(), p.key, n, nil, false)
			return
		}
		p.key.retype(n)
		v, right := p.key.typ.parse(d, p.key, n)
		d.store(t.base(), p.key, n, v, right)
	case p.section != nil && p.shape == shapeList:
		d.entries(n, p, t, path)
	case n.kind != kindTable:
		d.noTable(n, p, path)
	case p.section != nil && p.shape == shapeNamed:
		for _, c := range n.children {
			if c.kind != kindTable {
				d.wrongKind(c, "a table")
				continue
			}
			d.table(c, p, d.enter(p.section, t, c), join(path, c.key))
		}
	case p.section != nil:
		d.table(n, p, d.enter(p.section, t, n), path)
	default:
		d.table(n, p, t, path)
	}
}

// entries decodes a list of tables.
func (d *decoder) entries(n *node, p *place, t target, path string) {
	if n.kind == kindTable && n.origin == originHeader {
		d.rep.error(n.head, "write "+quote("[["+path+"]]"), "[%s] is one entry of a list", path)
		return
	}
	if n.kind == kindTable {
		d.rep.error(n.value, hintOfEntry(n, path), "%q must be a list of tables, this is a table", n.key)
		return
	}
	if n.kind != kindArray {
		d.wrongKind(n, "a list of tables")
		return
	}
	for _, c := range n.children {
		if c.kind != kindTable {
			c.key = n.key
			d.wrongElement(c, p)
			continue
		}
		d.table(c, p, d.enter(p.section, t, c), path)
	}
}

// hintOfEntry says how the entry n is made a list with one entry.
func hintOfEntry(n *node, path string) string {
	switch src := n.value.src; {
	case src.text[n.value.from] == '{':
		return "write [ before it and ] behind it"
	case !src.colon:
		return "write " + quote("[["+path+"]]") + " before its keys"
	}
	return "each entry begins with a dash"
}

func (d *decoder) wrongElement(n *node, p *place) {
	if n.kind == kindLost {
		return
	}
	hint := ""
	if n.kind == kindString {
		if first := p.section.keys[0]; first.typ.name == typeEndpoint.name {
			hint = fmt.Sprintf("write { %s = %s }", first.path, quote(n.text))
		}
	}
	d.rep.error(n.value, hint, "%q is a list of tables, this is %s", n.key, n.kind.noun())
}

func (d *decoder) wrongKind(n *node, want string) {
	if n.kind == kindLost {
		return
	}
	d.rep.error(n.value, "", "%q must be %s, this is %s", n.key, want, n.kind.noun())
}

// noTable reports a value where the section at p wants a table.
func (d *decoder) noTable(n *node, p *place, path string) {
	hint := ""
	name, _, found := strings.Cut(n.text, ":")
	switch {
	case n.kind == kindLost:
		return
	case found && bareKey(name) && n.value.src.colon && n.value.src.text[n.value.from] != '"': // listen:":80"
		hint = "a blank belongs behind the colon of a key"
	case n.kind == kindString && n.value.src.colon && strings.Contains(n.text, " = "):
		hint = "write key: value"
	case n.origin == originList && p.section != nil && p.shape == shapeNamed:
		hint = "write " + quote("["+path+".NAME]")
	case n.origin == originList:
		hint = "write " + quote("["+path+"]")
	}
	d.rep.error(n.value, hint, "%q must be a table, this is %s", n.key, n.kind.noun())
}

// unknown reports a key that the table at p does not have, with the best hint there is.
func (d *decoder) unknown(n *node, p *place, path string) {
	full := join(path, n.key)
	where := " in [" + path + "]"
	switch {
	case path == "":
		where = " at the top level"
	case p.section != nil && p.shape == shapeList:
		where = " in [[" + path + "]]"
	}
	header := n.kind == kindTable && n.origin != originValue || n.origin == originList
	what := "key " + quote(n.key) + where
	if header {
		what = "section " + bracketed(n, full)
	}
	if path == "" && ignored(n.key) {
		d.rep.note(codeIgnoredKey, n.head, "%q has no meaning here and is ignored", n.key)
		return
	}
	if (p.path == "" || p.path == "global") && slices.Contains(dormantKeys, n.key) {
		d.rep.note(codeIgnoredKey, n.head, "%q has no effect in this version", n.key)
		return
	}
	if path == "" && slices.Contains(dormantSections, n.key) {
		d.rep.warn(codeNoEffect, n.first(), "", "[%s] has no effect in this version", n.key)
		return
	}
	if supportedLater(p.path, n.key) {
		_, name, _ := strings.Cut(what, " ")
		d.rep.error(n.first(), "", "%s is not supported by this version", name)
		return
	}
	at := n.name
	if n.origin == originList {
		at = n.children[0].name
	}
	d.rep.error(at, d.unknownHint(n, p), "unknown %s", what)
}

func bracketed(n *node, full string) string {
	if n.origin == originList {
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
func (d *decoder) unknownHint(n *node, p *place) string {
	if table, name, found := strings.Cut(n.key, "."); found && p.has(table, name) {
		return "write " + table + " = { " + name + " = … }"
	}
	if hint := didYouMean(n.key, p.names); hint != "" {
		return hint
	}
	if homes := homesOf(n.key); len(homes) > 0 {
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
