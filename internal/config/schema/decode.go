package schema

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// Decoder walks a tree along the schema and collects typed values into a Document.
type Decoder struct {
	Report *syntax.Report

	doc *Document // nil when it reads a single value
}

// decode turns the tree into typed values. Names are not resolved and defaults are not filled in.
func (doc *Document) decode(root *syntax.Node) {
	d := &Decoder{Report: doc.Report, doc: doc}
	d.table(root, doc.schema.root, doc.enter(doc.schema.root.section, nil, root), "")
}

// table decodes the members of the table n, which stands at p and belongs to t. path is its name, for messages.
func (d *Decoder) table(n *syntax.Node, p *place, t Target, path string) {
	for _, c := range n.Children {
		if d.Report.Full() {
			return
		}
		at := p.children[c.Key]
		if at == nil {
			t.base().unknown = t.base().unknown || path != "" || !d.doc.schema.Reserved.ignores(c.Key)
			d.reportUnknown(c, p, path)
			continue
		}
		if c.Kind == syntax.KindNull && at.key == nil {
			if at.section == nil || at.shape != One {
				continue // a heading of YAML with nothing under it
			}
			c.Kind = syntax.KindTable
		}
		d.member(c, at, t, syntax.JoinKey(path, c.Key))
	}
}

func (d *Decoder) member(n *syntax.Node, p *place, t Target, path string) {
	switch {
	case p.key != nil && (p.children == nil || n.Kind != syntax.KindTable):
		t = d.doc.owner(p.key, t)
		if n.Kind == syntax.KindLost {
			t.base().store(d.Report, p.key, n, nil, false)
			return
		}
		d.note(p.key, n)
		p.key.convertExpanded(n)
		if p.key.Secret {
			d.Report.Hide(n)
		}
		v, right := p.key.Type.Parse(d, p.key, n)
		t.base().store(d.Report, p.key, n, v, right)
	case p.section != nil && p.shape == List:
		d.entries(n, p, t, path)
	case n.Kind == syntax.KindBool && p.section != nil && p.section.Switch != "":
		d.member(n, p.children[p.section.Switch], d.doc.enter(p.section, t, n), path)
	case n.Kind != syntax.KindTable:
		d.reportNotTable(n, p, path)
	case p.section != nil && p.shape == Named:
		for _, c := range n.Children {
			if bare := p.children[p.section.Bare]; c.Kind != syntax.KindTable && bare != nil {
				d.member(c, bare, d.doc.enter(p.section, t, c), path)
				continue
			}
			if c.Kind != syntax.KindTable {
				d.WrongKind(c, "a table", TableHint)
				continue
			}
			d.named(c, p, d.doc.enter(p.section, t, c), syntax.JoinKey(path, c.Key))
		}
	case p.section != nil:
		d.table(n, p, d.doc.enter(p.section, t, n), path)
	default:
		d.table(n, p, t, path)
	}
}

// named decodes the entry n of a section of that shape. Of one whose kind is not known no key is.
func (d *Decoder) named(n *syntax.Node, p *place, t Target, path string) {
	at := p.of(n)
	if at != p || p.variants == nil {
		d.table(n, at, t, path)
		return
	}
	kinds := &p.section.Variants
	t.base().unknown = true
	names := slices.Sorted(maps.Keys(p.variants))
	by := n.Child(kinds.By)
	if by == nil {
		hint := ""
		if p.variants[n.Key] != nil {
			hint = fmt.Sprintf("write %s = %s", kinds.By, syntax.Quote(n.Key))
		} else if len(names) > 0 {
			hint = "known are " + strings.Join(names, ", ")
		}
		d.Report.Errorf(n.Head, hint, "[%s] has no %s", path, syntax.Quote(kinds.By))
		return
	}
	name, ok := d.String(by, "a name")
	if !ok {
		return
	}
	hint := syntax.DidYouMean(name, names)
	if kinds.Unknown != nil {
		hint = cmp.Or(hint, kinds.Unknown(name))
	}
	if hint == "" && len(names) > 0 {
		hint = "known are " + strings.Join(names, ", ")
	}
	d.Report.Errorf(by.Value, hint, "unknown %s %s", kinds.By, syntax.Quote(name))
}

// entries decodes a list of tables.
func (d *Decoder) entries(n *syntax.Node, p *place, t Target, path string) {
	if n.Kind == syntax.KindTable && p.section.Single {
		d.table(n, p, d.doc.enter(p.section, t, n), path)
		return
	}
	if n.Kind == syntax.KindTable && n.Origin == syntax.OriginHeader {
		d.Report.Errorf(n.Head, "write "+syntax.Quote("[["+path+"]]"), "[%s] is one entry of a list", path)
		return
	}
	if n.Kind == syntax.KindTable {
		d.Report.Errorf(n.Value, entryHint(n, path), "%q must be a list of tables, this is a table", n.Key)
		return
	}
	if n.Kind != syntax.KindList {
		d.WrongKind(n, "a list of tables", "write [{ name = value }]")
		return
	}
	for i := range yield.Over(len(n.Children)) {
		c := n.Children[i]
		if c.Kind != syntax.KindTable {
			c.Key = n.Key
			d.reportElement(c, p)
			continue
		}
		d.table(c, p, d.doc.enter(p.section, t, c), path)
	}
}

// entryHint says how the entry n is made a list with one entry.
func entryHint(n *syntax.Node, path string) string {
	switch src := n.Value.Source; {
	case src.Text[n.Value.From] == '{':
		return "write [ before it and ] after it"
	case !src.Colon:
		return "write " + syntax.Quote("[["+path+"]]") + " before its keys"
	}
	return "each entry begins with a dash"
}

func (d *Decoder) reportElement(n *syntax.Node, p *place) {
	if n.Kind == syntax.KindLost {
		return
	}
	d.Report.Errorf(n.Value, p.bareHint(n), "%q is a list of tables, this is %s", n.Key, n.Kind.Noun())
}

// bareHint returns the hint for a string in place of an entry of the section at p, or "".
func (p *place) bareHint(n *syntax.Node) string {
	if n.Kind != syntax.KindString || p.section == nil || p.section.Bare == "" || n.Text == "on" || n.Text == "off" {
		return ""
	}
	return fmt.Sprintf("write { %s = %s }", p.section.Bare, syntax.Quote(n.Text))
}

// TableHint is the hint for a value that has to be a table.
const TableHint = "write { name = value }"

// WrongKind reports that n is not what its key takes: "a table", "true or false". hint says how to write it. A list
// without a hint gets the hint that the key takes a single value.
func (d *Decoder) WrongKind(n *syntax.Node, want, hint string) {
	if n.Kind == syntax.KindLost {
		return
	}
	switch {
	case hint != "" || n.Kind != syntax.KindList:
	case n.Key == "dest":
		var all []string
		for _, c := range n.Children {
			all = append(all, c.Text)
		}
		hint = "write dest = " + syntax.Quote(strings.Join(all, ", "))
	default:
		hint = "it takes one alone"
	}
	d.Report.Errorf(n.Value, hint, "%q must be %s, this is %s", n.Key, want, n.Kind.Noun())
}

// reportNotTable reports a value where the section at p wants a table.
func (d *Decoder) reportNotTable(n *syntax.Node, p *place, path string) {
	hint := ""
	name, _, found := strings.Cut(n.Text, ":")
	colon := n.Value.Source.Colon
	switch {
	case n.Kind == syntax.KindLost:
		return
	case found && syntax.IsBareKey(name) && colon && n.Value.Source.Text[n.Value.From] != '"': // listen:":80"
		hint = "a blank belongs after the colon of a key"
	case n.Kind == syntax.KindString && colon && strings.Contains(n.Text, " = "):
		hint = "write key: value"
	case n.Origin == syntax.OriginList && p.section != nil && p.shape == Named:
		hint = "write " + syntax.Quote("["+path+".NAME]")
	case n.Origin == syntax.OriginList:
		hint = "write " + syntax.Quote("["+path+"]")
	case n.Kind == syntax.KindBool && !n.Truth:
		hint = "leave it out"
	case n.Kind == syntax.KindList && p.section != nil && p.shape == Named:
		hint = d.doc.schema.homeOfList(n.Key)
	default:
		if hint = p.bareHint(n); hint == "" && !colon {
			hint = p.sample(n.Key)
		}
	}
	d.Report.Errorf(n.Value, hint, "%q must be a table, this is %s", n.Key, n.Kind.Noun())
}

// homeOfList returns the hint for a list where the entries of a named section stand, or "": other tables have a list of
// that name.
func (s *Schema) homeOfList(name string) string {
	homes := slices.DeleteFunc(s.homesOf(name), func(home string) bool { return strings.HasPrefix(home, "the top") })
	if len(homes) == 0 {
		return ""
	}
	return "a list belongs to " + syntax.OneOf(homes)
}

// sample returns the hint that shows the table at p with one of its keys, or "". An alias is not shown.
func (p *place) sample(table string) string {
	if p.section != nil {
		return ""
	}
	for _, name := range p.names {
		if k := p.children[name].key; k != nil && k.Example != "" && strings.HasSuffix(k.Path, table+"."+name) {
			return "write " + table + " = { " + name + " = " + k.Example + " }"
		}
	}
	return ""
}

// reportUnknown reports a key that the table at p does not have, with the best hint there is.
func (d *Decoder) reportUnknown(n *syntax.Node, p *place, path string) {
	reserved := &d.doc.schema.Reserved
	full := syntax.JoinKey(path, n.Key)
	where := " in [" + path + "]"
	switch {
	case path == "":
		where = " at the top level"
	case p.section != nil && p.shape == List:
		where = " in [[" + path + "]]"
	}
	header := n.Kind == syntax.KindTable && n.Origin != syntax.OriginValue || n.Origin == syntax.OriginList
	what := "key " + syntax.Quote(n.Key) + where
	if header {
		what = "section " + bracketed(n, full)
	}
	if path == "" && reserved.ignores(n.Key) {
		d.Report.Notef(CodeIgnoredKey, n.Head, "%q has no meaning here and is ignored", n.Key)
		return
	}
	if slices.Contains(reserved.Later[p.path], n.Key) {
		_, name, _ := strings.Cut(what, " ")
		hint := cmp.Or(reserved.word(n.Key, p.path), "leave it out")
		d.Report.Errorf(n.ConflictSpan(), hint, "%s is not supported by this version", name)
		return
	}
	at := n.Name
	if n.Origin == syntax.OriginList {
		at = n.Children[0].Name
	}
	d.Report.Errorf(at, d.unknownHint(n, p), "unknown %s", what)
}

func bracketed(n *syntax.Node, full string) string {
	if n.Origin == syntax.OriginList {
		return "[[" + full + "]]"
	}
	return "[" + full + "]"
}

// unknownHint guesses what a key that the table at p does not have was meant to be.
func (d *Decoder) unknownHint(n *syntax.Node, p *place) string {
	if table, name, found := strings.Cut(n.Key, "."); found && p.has(table, name) {
		return "write " + table + " = { " + name + " = … }"
	}
	if lower := strings.ToLower(n.Key); lower != n.Key && slices.Contains(p.names, lower) {
		return "did you mean " + syntax.Quote(lower) + "?"
	}
	near, homes := syntax.Nearest(n.Key, p.names), d.doc.schema.homesOf(n.Key)
	slip := near != "" && syntax.Distance(strings.ToLower(n.Key), near) == 1
	words := &d.doc.schema.Reserved
	if hint := words.word(n.Key, p.path); hint != "" &&
		(!slip || near != n.Key+"s" || words.Words[p.path+"."+n.Key] != "") {
		return hint
	}
	switch {
	case near != "" && (slip || len(homes) == 0):
		return "did you mean " + syntax.Quote(near) + "?"
	case len(homes) > 0 && (p.section != nil || len(p.names) > 8 || len(homes) < 3):
		return "this belongs to " + syntax.OneOf(homes)
	case len(p.names) > 0 && len(p.names) <= 8:
		return "known here: " + strings.Join(slices.Sorted(slices.Values(p.names)), ", ")
	}
	return ""
}

// homesOf returns the tables that have a key or a table of that name.
func (s *Schema) homesOf(name string) []string {
	var homes []string
	for _, section := range s.Sections {
		if section.Path == name {
			homes = append(homes, "the top of the file, as "+section.Title())
		} else if around, found := strings.CutSuffix(section.Path, ".NAME."+name); found {
			homes = append(homes, titleOf(around, Named))
		}
		homes = appendHomes(homes, section.Keys, name, section.Title())
		for _, v := range section.Variants.List {
			homes = appendHomes(homes, v.Keys, name, section.Title()+" with "+section.Variants.By+" = "+
				syntax.Quote(v.Name))
		}
	}
	return slices.Compact(homes)
}

// appendHomes appends the tables of the section with that title that have a key or a table of that name.
func appendHomes(homes []string, keys []*Key, name, title string) []string {
	for _, k := range keys {
		level := levelOf(k.Path)
		if table := strings.TrimSuffix(level, "."); table == name {
			homes = append(homes, title)
		} else if k.Path[len(level):] == name || slices.Contains(k.Aliases, "."+name) {
			home := strings.TrimPrefix(table+" of "+title, " of ")
			homes = append(homes, strings.Replace(home, titleOf("", One), "the top of the file", 1))
		}
	}
	return homes
}

// word returns the hint for a word of another program in the table at path, or "".
func (r *Reserved) word(name, path string) string {
	known := strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(name))
	says := r.Words[path+"."+known]
	if says == "" {
		says = r.Words[known]
	}
	if says == "" {
		return ""
	}
	return syntax.Quote(name) + " " + says
}

// ignores reports whether the name of a key is among the keys of other servers.
func (r *Reserved) ignores(name string) bool {
	return slices.ContainsFunc(r.Ignored, func(k string) bool {
		prefix, star := strings.CutSuffix(k, "*")
		return name == k || star && strings.HasPrefix(name, prefix)
	})
}
