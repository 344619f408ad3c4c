package format

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// Canonical returns the text of src, which is TOML, with the canonical names of s in place of the other spellings that
// s knows, in the form that TOML gives it. Comments move with what they are about. Whether the result means the same
// only a loader can tell: the caller has to compare. The report says what cannot be rewritten; out is nil then.
//
//	[http]                 [[listeners]]           a table that stands for an entry of a list
//	threads = 4            [global]                a key that stands somewhere else
//	                       worker_threads = 4
//	[[load_balancing.      [upstreams.default]     entries that belong to lists of other entries
//	backends]]             backends = [{ … }]
func Canonical(src *syntax.Source, s *schema.Schema) (out []byte, rep *syntax.Report) {
	if out, rep = TOML(src); !rep.OK() {
		return nil, rep
	}
	scan := &scanner{text: src.Text}
	r := &rewriter{src: src, schema: s, rep: rep, blocks: blocksOf(scan.statements())}
	r.findOthers()
	for i := 0; i < len(r.blocks); i++ {
		r.loosen(r.blocks[i])
	}
	r.gather()
	r.renameHeaders()
	for _, b := range slices.Clone(r.blocks) {
		r.keys(b)
	}
	r.group()
	r.dropEmpty()
	if !rep.OK() {
		return nil, rep
	}
	all := join(r.blocks)
	space(all)
	text := []byte(render(topLines(all), ""))
	found := &syntax.Report{}
	if _, whole := syntax.ParseTOML(syntax.NewSource("the result", text, 0), found); !whole || !found.OK() {
		rep.Errorf(src.Begin(), "write the tables with the same name in one way, as [name]",
			"with canonical names, %s", found.Errors[0].Message)
		return nil, rep
	}
	return text, rep
}

// rewriter gives the statements of a file their canonical places.
// Owned by its goroutine.
type rewriter struct {
	src       *syntax.Source
	schema    *schema.Schema
	rep       *syntax.Report
	blocks    []*block
	misplaced []misplaced              // keys of the inline table that inside walks
	others    map[*schema.Section]bool // sections with entries in other places than the canonical one
}

// refuse reports a statement that cannot be rewritten.
func (r *rewriter) refuse(st *statement, hint, format string, args ...any) {
	end := st.at
	for end < len(r.src.Text) && strings.IndexByte("=\n", r.src.Text[end]) < 0 {
		end++
	}
	for end > st.at && strings.IndexByte(" \t\r", r.src.Text[end-1]) >= 0 {
		end--
	}
	r.rep.Errorf(r.src.Span(st.at, end), hint, format, args...)
}

// other returns how many parts of a path lead to a section that has another canonical place, or 0.
func (r *rewriter) other(parts []string) (n int, at schema.Spot) {
	at = r.schema.Top()
	for i, part := range parts {
		next, ok := at.Child(meaning(part))
		if !ok {
			return 0, at
		}
		at = next
		if s, _ := at.Section(); s != nil && (s.Groups != nil || isAlias(s, parts[:i+1])) {
			return i + 1, at
		}
	}
	return 0, at
}

// findOthers fills in others.
func (r *rewriter) findOthers() {
	r.others = make(map[*schema.Section]bool)
	find := func(parts []string) {
		if n, at := r.other(parts); n > 0 {
			s, _ := at.Section()
			r.others[s] = true
		}
	}
	for _, b := range r.blocks {
		find(b.head.key)
		for i := range b.body {
			find(slices.Concat(b.head.key, b.body[i].key))
		}
	}
}

// isMixed reports whether the list at a path is in its canonical place while other entries of its section are not: all
// of them get headers then.
func (r *rewriter) isMixed(parts []string) bool {
	at, known := walk(r.schema.Top(), parts)
	s, shape := at.Section()
	return known == len(parts) && s != nil && shape == schema.List && r.others[s]
}

// isAlias reports whether the path is one of the aliases of the section.
func isAlias(s *schema.Section, parts []string) bool { return aliasOf(s, parts) != nil }

func aliasOf(s *schema.Section, parts []string) *schema.Alias {
	path := strings.Join(parts, ".")
	for i := range s.Aliases {
		if s.Aliases[i].Path == path {
			return &s.Aliases[i]
		}
	}
	return nil
}

// loosen gives headers of their own to tables that have to be renamed and that stand in the block as dotted keys or
// inline.
func (r *rewriter) loosen(b *block) {
	for i := 0; i < len(b.body); i++ {
		st := &b.body[i]
		if st.value == nil {
			continue
		}
		full := slices.Concat(b.head.key, st.key)
		n, _ := r.other(full)
		switch {
		case n == 0 && st.value.open == '[' && r.isMixed(full):
			n = len(full)
			fallthrough
		case n > len(b.head.key):
			taken := b.take(i)
			i -= len(taken)
			r.spread(b, full[:n], full[n:], taken)
		case n == 0 && st.value.open == '{' && r.isGrouping(full):
			st.gap = false
			inner := slices.Clone(st.value.elements)
			for j := range inner {
				inner[j].joined, inner[j].gap = false, false
				if inner[j].value != nil {
					inner[j].key = slices.Concat(st.key, inner[j].key)
				}
			}
			if st.note != "" {
				inner = append([]statement{{note: st.note}}, inner...)
			}
			b.body = slices.Replace(b.body, i, i+1, inner...)
			i--
		}
	}
}

// isGrouping reports whether a table has no meaning but that of the tables and keys in it: [proxy].
func (r *rewriter) isGrouping(parts []string) bool {
	at := r.schema.Top()
	for _, part := range parts {
		next, ok := at.Child(meaning(part))
		if !ok {
			return false
		}
		if s, _ := next.Section(); s != nil || next.Key() != nil {
			return false
		}
		at = next
	}
	return at.IsTable()
}

// spread makes blocks of a statement, which is the last one of taken; comments stand before it. path is that of its
// table, rest the key inside it.
func (r *rewriter) spread(after *block, path, rest []string, taken []statement) {
	st := taken[len(taken)-1]
	lead := taken[:len(taken)-1]
	if len(rest) > 0 {
		st.key = rest
		r.tableAt(after, path, st.at).add(append(lead, st)...)
		return
	}
	if st.note != "" {
		lead = append(lead, statement{note: st.note})
	}
	if st.value.note != "" {
		lead = append(lead, statement{note: st.value.note})
	}
	if st.value.open == '{' {
		b := r.tableAt(after, path, st.at)
		b.lead = append(b.lead, lead...)
		b.body = append(b.body, loose(st.value.elements)...)
		return
	}
	for _, e := range st.value.elements {
		switch {
		case e.value == nil:
			lead = append(lead, e)
		case e.value.open != '{':
			r.refuse(&e, "", "an entry that is not a table cannot be rewritten")
		default:
			if e.note != "" {
				lead = append(lead, statement{note: e.note})
			}
			b := &block{lead: lead, head: statement{header: "[[", key: path, at: e.at}, body: loose(e.value.elements)}
			after, lead = r.insert(after, b), nil
		}
	}
	if len(lead) > 0 {
		after.body = append(after.body, lead...)
	}
}

// loose returns the elements of an inline table as they stand below a header.
func loose(elements []statement) []statement {
	all := slices.Clone(elements)
	for i := range all {
		all[i].joined, all[i].gap = false, false
	}
	return all
}

// tableAt returns the block of a table. Where the file has none, it makes one after another block.
func (r *rewriter) tableAt(after *block, path []string, at int) *block {
	for _, b := range r.blocks {
		if b.head.header == "[" && slices.Equal(b.head.key, path) {
			return b
		}
	}
	return r.insert(after, &block{head: statement{header: "[", key: path, at: at}})
}

func (r *rewriter) insert(after, b *block) *block {
	i := slices.Index(r.blocks, after)
	for after.head.header == "" && i+1 < len(r.blocks) && r.blocks[i+1].head.at < b.head.at {
		i++
	}
	r.blocks = slices.Insert(r.blocks, i+1, b)
	return b
}

// gather puts the tables below one that stands for an entry of a list right after it: [http.limits] after [http].
func (r *rewriter) gather() {
	for i := 0; i < len(r.blocks); i++ {
		b := r.blocks[i]
		n, at := r.other(b.head.key)
		s, shape := at.Section()
		if n == 0 || s == nil || shape != schema.One || aliasOf(s, b.head.key[:n]) == nil {
			continue
		}
		path := b.head.key[:n]
		isMain := func(o *block) bool { return slices.Equal(o.head.key, path) }
		main := b
		if !isMain(b) {
			if slices.ContainsFunc(r.blocks, isMain) {
				continue // its place is that of the table itself
			}
			main = &block{head: statement{header: "[", key: path, at: b.head.at}}
			r.blocks = slices.Insert(r.blocks, i, main)
		}
		group := []*block{main}
		for _, o := range r.blocks {
			if isIn(o.head.key, path) {
				group = append(group, o)
			}
		}
		r.blocks = slices.DeleteFunc(r.blocks, func(o *block) bool { return isIn(o.head.key, path) })
		i = slices.Index(r.blocks, main)
		r.blocks = slices.Insert(r.blocks, i+1, group[1:]...)
		r.complete(group, aliasOf(s, path))
		for _, member := range group {
			member.head.key = slices.Concat(split(at.Path()), member.head.key[n:])
		}
		main.head.header = "[["
		i += len(group) - 1
	}
}

// complete adds to an entry the key that its old place stood for: [https] stands for tls = true.
func (r *rewriter) complete(group []*block, a *schema.Alias) {
	name, text, found := strings.Cut(a.Adds, " = ")
	if !found {
		return
	}
	given := make(map[string]bool)
	for _, b := range group {
		from, _ := walk(r.schema.Top(), b.head.key)
		for i := range b.body {
			if at, known := walk(from, b.body[i].key); known > 0 && at.Key() != nil {
				given[at.Key().Path] = true
			}
		}
	}
	if !given[name] && (a.With == "" || given[a.With]) {
		group[0].add(statement{key: []string{name}, value: &value{text: text}, at: group[0].head.at})
	}
}

// renameHeaders gives lists their canonical names: [[proxy.rules]] is [[routes]].
func (r *rewriter) renameHeaders() {
	for _, b := range r.blocks {
		n, at := r.other(b.head.key)
		if s, shape := at.Section(); n > 0 && shape == schema.List && aliasOf(s, b.head.key[:n]) != nil {
			b.head.key = slices.Concat(split(s.Path), b.head.key[n:])
		}
	}
}

// dropEmpty removes headers that have no meaning of their own and no keys any more. Their comments move to the next
// block.
func (r *rewriter) dropEmpty() {
	for i := 1; i < len(r.blocks); i++ {
		b := r.blocks[i]
		if !r.isGrouping(b.head.key) || b.holds() {
			continue
		}
		left := b.comments()
		r.blocks = slices.Delete(r.blocks, i, i+1)
		if i < len(r.blocks) {
			r.blocks[i].lead = append(left, r.blocks[i].lead...)
		} else {
			r.blocks[i-1].body = append(r.blocks[i-1].body, left...)
		}
		i--
	}
}
