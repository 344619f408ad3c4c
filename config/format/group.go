package format

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// group moves entries that belong to lists of other entries there: those of [[load_balancing.backends]] to the
// backends of [upstreams.NAME].
func (r *rewriter) group() {
	var last *block // of the tables that the lists belong to, or of the entries
	for _, b := range r.blocks {
		if r.grouped(b) != nil {
			if last == nil {
				last = b
			}
		}
	}
	if last == nil {
		return
	}
	outer := strings.SplitN(r.grouped(last).Groups.Into, ".NAME.", 2)[0]
	for _, b := range r.blocks[slices.Index(r.blocks, last):] {
		if isIn(b.head.key, split(outer)) {
			last = b
		}
	}
	for _, b := range slices.Clone(r.blocks) {
		if s := r.grouped(b); s != nil {
			last = r.groupEntry(b, s, last)
		}
	}
	r.blocks = slices.DeleteFunc(r.blocks, func(b *block) bool { return r.grouped(b) != nil })
}

// grouped returns the section of a block if its entries belong to lists elsewhere.
func (r *rewriter) grouped(b *block) *schema.Section {
	if b.head.header == "" {
		return nil
	}
	at, known := walk(r.schema.Top(), b.head.key)
	if s, _ := at.Section(); known == len(b.head.key) && s != nil && s.Groups != nil {
		return s
	}
	return nil
}

// groupEntry adds an entry to its lists. Tables that are new stand after last; it returns the last of them.
func (r *rewriter) groupEntry(b *block, s *schema.Section, last *block) *block {
	names := slices.Clone(s.Groups.Otherwise)
	element := statement{value: &value{open: '{'}, at: b.head.at}
	for _, st := range b.body {
		if st.value == nil {
			continue
		}
		i := slices.Index(s.Groups.By, strings.Join(st.key, "."))
		if i < 0 {
			st.gap, st.joined, st.note = false, len(element.value.elements) > 0, ""
			element.value.elements = append(element.value.elements, st)
			continue
		}
		name := meaning(st.value.text)
		if st.value.open != 0 || name == "" || strings.Contains(name, "${") {
			r.refuse(&st, "", "a name that is not known before the file is loaded cannot be the name of a table")
			return last
		}
		names[i] = name
	}
	comments := b.comments()
	for i, name := range names {
		if name == "" || slices.Contains(names[:i], name) {
			continue
		}
		outer, list, _ := strings.Cut(s.Groups.Into, ".NAME.")
		table := append(split(outer), syntax.DottedKey(name))
		last = r.addElement(table, list, append(slices.Clone(comments), element), last)
		comments = nil
	}
	return last
}

// addElement adds an element with its comments to a list of a table, which is made after last when it is missing.
func (r *rewriter) addElement(table []string, list string, taken []statement, last *block) *block {
	home := (*block)(nil)
	for _, b := range r.blocks {
		if b.head.header == "[" && slices.Equal(b.head.key, table) {
			home = b
		}
	}
	if home == nil {
		home = &block{head: statement{header: "[", key: table, at: last.head.at}}
		r.blocks = slices.Insert(r.blocks, slices.Index(r.blocks, last)+1, home)
		last = home
	}
	for i := range home.body {
		if st := &home.body[i]; slices.Equal(st.key, []string{list}) && st.value.open == '[' {
			st.value.broken = true
			st.value.elements = append(st.value.elements, taken...)
			return last
		}
	}
	home.add(statement{key: []string{list}, value: &value{open: '[', broken: true, elements: taken}, at: last.head.at})
	return last
}
