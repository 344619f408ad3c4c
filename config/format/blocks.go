package format

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// block is a header with what stands below it. The first one of a file has no header.
type block struct {
	lead []statement // the comments right above the header
	head statement
	body []statement
}

// blocksOf cuts the statements of a file at its headers.
func blocksOf(all []statement) []*block {
	blocks := []*block{{}}
	for i := range all {
		st := all[i]
		last := blocks[len(blocks)-1]
		if st.header == "" {
			last.body = append(last.body, st)
			continue
		}
		next := &block{head: st}
		if !st.gap {
			last.body, next.lead = cutComments(last.body)
		}
		blocks = append(blocks, next)
	}
	return blocks
}

// cutComments takes off the comments at the end of body that stand right above what follows.
func cutComments(body []statement) (rest, comments []statement) {
	first := len(body)
	for first > 0 && isComment(&body[first-1]) && (first == len(body) || !body[first].gap) {
		first--
	}
	return body[:first:first], slices.Clone(body[first:])
}

// join returns the statements of all blocks.
func join(blocks []*block) (all []statement) {
	for _, b := range blocks {
		if b.head.header != "" {
			head := b.head
			head.gap = len(b.lead) == 0
			if len(b.lead) > 0 {
				b.lead[0].gap = true
			}
			all = append(append(all, b.lead...), head)
		}
		all = append(all, b.body...)
	}
	return all
}

// add puts statements after the last key of the block.
func (b *block) add(more ...statement) {
	last := len(b.body)
	for last > 0 && isComment(&b.body[last-1]) {
		last--
	}
	if last == 0 && b.head.header == "" { // the comment at the top of a file
		last = len(b.body)
	}
	b.body = slices.Insert(b.body, last, more...)
}

// take removes the statement at i with the comments right above it, and returns them.
func (b *block) take(i int) []statement {
	first := i
	for first > 0 && !b.body[first].gap && isComment(&b.body[first-1]) {
		first--
	}
	if b.head.header == "" && first == 0 && first < i && i > 0 {
		first = i // the comment at the top is one on the whole file
	}
	taken := slices.Clone(b.body[first : i+1])
	if i+1 < len(b.body) {
		b.body[i+1].gap = b.body[i+1].gap || b.body[first].gap
	}
	b.body = slices.Delete(b.body, first, i+1)
	taken[0].gap = false
	return taken
}

// holds reports whether the block has a key of its own.
func (b *block) holds() bool {
	return slices.ContainsFunc(b.body, func(st statement) bool { return st.value != nil })
}

// comments returns the comments of the block, without gaps.
func (b *block) comments() []statement {
	all := slices.Clone(b.lead)
	if b.head.note != "" {
		all = append(all, statement{note: b.head.note})
	}
	for i := range b.body {
		if b.body[i].note != "" {
			all = append(all, statement{note: b.body[i].note})
		}
	}
	for i := range all {
		all[i].gap = false
	}
	return all
}

// walk follows the parts of a key from a place. known is how many of them lead to a place that the schema knows.
func walk(from schema.Spot, parts []string) (at schema.Spot, known int) {
	at = from
	for i, part := range parts {
		next, ok := at.Child(meaning(part))
		if !ok {
			return at, i
		}
		at = next
	}
	return at, len(parts)
}

// meaning returns what a part of a key says, without its quotes.
func meaning(part string) string {
	if part[0] != '"' && part[0] != '\'' {
		return part
	}
	rep := &syntax.Report{}
	root, whole := syntax.ParseTOML(syntax.NewSource("", []byte(part+" = 0"), 0), rep)
	if !whole || len(root.Children) == 0 {
		return part
	}
	return root.Children[0].Key
}

// isIn reports whether the key begins with the parts, and has more.
func isIn(key, parts []string) bool {
	return len(key) > len(parts) && slices.Equal(key[:len(parts)], parts)
}

// split returns the parts of a canonical path.
func split(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, ".")
}
