package format

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// keys gives the keys of a block their canonical names and places.
func (r *rewriter) keys(b *block) {
	from, known := walk(r.schema.Top(), b.head.key)
	if known < len(b.head.key) {
		return
	}
	for i := 0; i < len(b.body); i++ {
		st := &b.body[i]
		if st.value == nil {
			continue
		}
		at, known := walk(from, st.key)
		if known == 0 && len(st.key) > 0 {
			continue
		}
		if known == len(st.key) {
			r.inside(at, st.value)
			if len(r.misplaced) > 0 {
				i -= r.moveOut(b, i)
				continue
			}
		}
		k := at.Key()
		if k == nil || at.Path() == k.Home() {
			continue
		}
		rest := st.key[known:]
		if inner, below := strings.CutPrefix(k.Home(), from.Path()+"."); below && from.Path() != "" {
			entry := st.key[:0:0]
			if from.TakesName() {
				entry = st.key[:1:1]
			}
			st.key = slices.Concat(entry, split(inner), rest)
			continue
		}
		table, ok := r.entryTable(b, st, k)
		if !ok {
			r.refuse(st, "", "%s belongs to [%s], and cannot be moved there", strings.Join(st.key, "."), k.Table())
			continue
		}
		taken := b.take(i)
		i -= len(taken)
		moved := &taken[len(taken)-1]
		r.put(table, slices.Concat(split(k.Path), rest), taken, moved.at)
	}
}

// entryTable returns the parts of the header of the entry that has the key k, which a statement of b names.
func (r *rewriter) entryTable(b *block, st *statement, k *schema.Key) (parts []string, ok bool) {
	table := split(k.Table())
	s := r.schema.Section(k.Table())
	if s == nil || s.Shape == schema.List {
		return nil, false
	}
	if s.Shape == schema.One {
		return table, true
	}
	full := slices.Concat(b.head.key, st.key)
	return full[:len(table)+1], len(full) > len(table)+1
}

// put adds a key to a table, where the file has that table already or in a new block. taken is the statement with its
// comments.
func (r *rewriter) put(table, key []string, taken []statement, at int) {
	full := slices.Concat(table, key)
	st := &taken[len(taken)-1]
	var home *block
	for _, b := range r.blocks {
		inside := b.head.header == "[" && isIn(full, b.head.key) && len(b.head.key) >= len(table)
		atTop := b.head.header == "" && (len(table) == 0 || sharesTable(b, table))
		if (inside || atTop) && (home == nil || len(b.head.key) > len(home.head.key)) {
			home = b
		}
	}
	if home == nil {
		home = &block{head: statement{header: "[", key: table, at: at}}
		r.insert(r.blocks[0], home)
	}
	st.key = full[len(home.head.key):]
	for i := range home.body {
		have := &home.body[i]
		switch {
		case have.value == nil:
		case slices.Equal(have.key, st.key):
			r.refuse(st, "leave one of them out", "%s is there in another spelling too", strings.Join(full, "."))
			return
		case isIn(st.key, have.key) && have.value.open == '{':
			st.key = st.key[len(have.key):]
			r.putInline(have.value, taken)
			return
		}
	}
	home.add(taken...)
}

// sharesTable reports whether a block has keys of a table that is written without a header.
func sharesTable(b *block, table []string) bool {
	return slices.ContainsFunc(b.body, func(st statement) bool {
		return isIn(st.key, table) || st.value != nil && slices.Equal(st.key, table) && st.value.open == '{'
	})
}

// putInline adds a statement with its comments to an inline table.
func (r *rewriter) putInline(v *value, taken []statement) {
	last := &taken[len(taken)-1]
	last.joined = len(v.elements) > 0 && len(taken) == 1 && last.note == ""
	last.gap = false
	v.broken = v.broken || !last.joined && (len(taken) > 1 || last.note != "")
	v.elements = append(v.elements, taken...)
}

// misplaced is a key that stands in an inline table and belongs outside of it.
type misplaced struct {
	key  *schema.Key
	rest []string // the parts of the key below it
	i    int      // among the elements
	of   *value
}

// moveOut moves the misplaced keys in statement i of b to the tables that they belong to. It returns how many
// statements it removed, i and those before it.
func (r *rewriter) moveOut(b *block, i int) (removed int) {
	all := r.misplaced
	r.misplaced = nil
	tables, moved := make([][]string, len(all)), make([]statement, len(all))
	for j := range all {
		a := &all[j]
		moved[j] = a.of.elements[a.i]
		table, ok := r.entryTable(b, &b.body[i], a.key)
		if !ok {
			r.refuse(&moved[j], "write the table around it as [name]", "%s belongs to %s, outside of this table",
				strings.Join(moved[j].key, "."), a.key.Home())
			return 0
		}
		tables[j] = table
		moved[j].joined, moved[j].gap = false, false
	}
	for j := len(all) - 1; j >= 0; j-- { // the last one first: indices stay what they are
		a := &all[j]
		a.of.elements = slices.Delete(a.of.elements, a.i, a.i+1)
	}
	var comments []statement
	if len(b.body[i].value.elements) == 0 {
		comments = b.take(i)
		removed = len(comments)
		comments = comments[:removed-1]
	}
	for j := range moved {
		r.put(tables[j], slices.Concat(split(all[j].key.Path), all[j].rest), append(comments, moved[j]), moved[j].at)
		comments = nil
	}
	return removed
}

// inside renames keys in inline tables, and words that have another spelling.
func (r *rewriter) inside(at schema.Spot, v *value) {
	if k := at.Key(); k != nil && v.open == 0 {
		if word := k.Synonyms[meaning(v.text)]; word != "" {
			v.text = syntax.Quote(word)
		}
	}
	for i := range v.elements {
		e := &v.elements[i]
		if e.value == nil {
			continue
		}
		if v.open == '[' {
			if _, shape := at.Section(); shape == schema.List {
				r.inside(at, e.value)
			}
			continue
		}
		next, known := walk(at, e.key)
		if known == len(e.key) {
			r.inside(next, e.value)
		}
		k := next.Key()
		if known == 0 || k == nil || next.Path() == k.Home() {
			continue
		}
		if rest, beside := strings.CutPrefix(k.Home(), at.Path()+"."); beside && at.Path() != "" {
			e.key = slices.Concat(split(rest), e.key[known:])
			continue
		}
		r.misplaced = append(r.misplaced, misplaced{k, slices.Clone(e.key[known:]), i, v})
	}
}
