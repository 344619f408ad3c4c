package config

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// mapping adds the members of n to the table.
func (b *yamlBuilder) mapping(table *node, n *yaml.Node, depth int) {
	leave := b.enter(n)
	defer leave()
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content) && !b.stopped(); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := b.token(name)
		if name.Kind == yaml.AliasNode {
			name = name.Alias
		}
		switch {
		case name.Kind != yaml.ScalarNode || b.null(name):
			b.fault(at, "", "a key is a word, not %s", yamlNoun(name))
			continue
		case name.Style&yaml.TaggedStyle != 0:
			b.fault(at, "", "the tag %s is not supported", quote(name.Tag))
			continue
		case name.Tag == "!!merge":
			merged = append(merged, value)
			continue
		}
		if old := table.child(name.Value); old != nil {
			b.rep.conflict(at, old.head, "first at "+old.head.seenFrom(at), "%q is set twice", name.Value)
			continue
		}
		if c := b.value(value, at, depth+1); c != nil {
			c.key, c.head, c.name = name.Value, at, at
			table.add(c)
		}
	}
	for _, m := range merged {
		b.merge(table, m, depth+1)
	}
}

// merge adds what "<<" brings: members that the table does not have itself. n is a mapping, an alias of one, or a list
// of such.
func (b *yamlBuilder) merge(table *node, n *yaml.Node, depth int) {
	at := b.token(n)
	if n.Kind == yaml.AliasNode {
		if !b.mayExpand(n, at) {
			return
		}
		defer b.expand(at)()
		n = n.Alias
	}
	if n.Kind == yaml.SequenceNode && depth <= nestingMax {
		leave := b.enter(n)
		defer leave()
		for _, c := range n.Content {
			b.merge(table, c, depth+1)
		}
		return
	}
	if n.Kind != yaml.MappingNode || !b.count(at, depth) {
		b.fault(at, "", "\"<<\" takes a mapping or a list of them")
		return
	}
	more := newTable(originValue)
	b.mapping(more, n, depth)
	for _, c := range more.children {
		if table.child(c.key) == nil {
			table.add(c)
		}
	}
}

// value builds the node of n, which stands behind a key at head; elements of lists have none. It is nil after a fault.
func (b *yamlBuilder) value(n *yaml.Node, head span, depth int) *node {
	at := b.token(n)
	if n.Kind == yaml.AliasNode {
		if !b.mayExpand(n, at) {
			return nil
		}
		defer b.expand(at)()
		n = n.Alias
		at = b.token(n)
	}
	if !b.count(at, depth) {
		return nil
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" {
		b.fault(at, "", "the tag %s is not supported", quote(n.Tag))
		return nil
	}
	v := &node{origin: originValue, value: at}
	switch n.Kind {
	case yaml.MappingNode:
		v.kind = kindTable
		b.mapping(v, n, depth)
		v.value = b.collection(n, at, head, v.children)
	case yaml.SequenceNode:
		v.kind = kindArray
		b.sequence(v, n, depth)
		v.value = b.collection(n, at, head, v.children)
	default:
		if !b.scalar(v, n) {
			return nil
		}
	}
	return v
}

func (b *yamlBuilder) sequence(list *node, n *yaml.Node, depth int) {
	leave := b.enter(n)
	defer leave()
	for _, element := range n.Content {
		if b.stopped() {
			return
		}
		if c := b.value(element, span{}, depth+1); c != nil {
			c.head, c.name = c.value, c.value
			list.children = append(list.children, c)
		}
	}
}

// collection returns the place of a mapping or list: all of it when it has brackets, else the key it stands behind or
// its first member.
func (b *yamlBuilder) collection(n *yaml.Node, at, head span, children []*node) span {
	if n.Style&yaml.FlowStyle == 0 {
		if head.valid() {
			return head
		}
		if len(children) > 0 {
			return children[0].head
		}
		return at
	}
	from, to := at.from, at.from+1
	for _, c := range children {
		to = max(to, c.value.to) // an alias stands elsewhere, maybe behind; then the line ends the place
	}
	closing := byte(']')
	if n.Kind == yaml.MappingNode {
		closing = '}'
	}
	if end := bytes.IndexByte(b.src.text[to:max(to, b.lineEnd(to))], closing); end >= 0 {
		return b.span(from, to+end+1)
	}
	return b.span(from, b.lineEnd(from))
}

// enter notes that n is being walked through and returns how to leave it.
func (b *yamlBuilder) enter(n *yaml.Node) (leave func()) {
	b.open = append(b.open, n)
	return func() { b.open = b.open[:len(b.open)-1] }
}

// mayExpand tells whether what the alias n stands for may be put in its place.
func (b *yamlBuilder) mayExpand(n *yaml.Node, at span) bool {
	if slices.Contains(b.open, n.Alias) {
		b.fault(at, "", "the anchor %s contains itself", quote(n.Value))
		return false
	}
	return !b.stopped()
}

// expand notes that the alias at at is being expanded and returns how to end that.
func (b *yamlBuilder) expand(at span) (end func()) {
	if b.aliases == 0 {
		b.outer = at
	}
	b.aliases++
	return func() { b.aliases-- }
}

// count counts a node that an alias brings, and refuses what is too much or too deep.
func (b *yamlBuilder) count(at span, depth int) bool {
	if b.stopped() {
		return false
	}
	if depth > nestingMax {
		b.fault(at, "", "nested more than %d levels deep", nestingMax)
		return false
	}
	if b.aliases == 0 {
		return true
	}
	b.aliased++
	if b.aliased == yamlAliasedMax {
		b.fault(b.outer, "", "aliases stand for more than %d values", yamlAliasedMax)
	}
	return !b.stopped()
}

// stopped tells whether going on is pointless.
func (b *yamlBuilder) stopped() bool { return b.aliased >= yamlAliasedMax || b.rep.full() }

// scalar sets v to what n says.
func (b *yamlBuilder) scalar(v *node, n *yaml.Node) bool {
	v.text = n.Value
	var err error
	switch n.Tag {
	case "!!null":
		v.kind = kindNull
	case "!!bool":
		v.kind = kindBool
		err = n.Decode(&v.truth)
	case "!!int":
		v.kind = kindInt
		v.integer, err = parseInteger(n.Value)
	case "!!float":
		v.kind = kindFloat
		// Whole numbers beyond 64 bits are fractions to the parser.
		if _, wrong := strconv.ParseInt(n.Value, 10, 64); errors.Is(wrong, strconv.ErrRange) {
			err = wrong
		} else if err = n.Decode(&v.fraction); err == nil && math.IsNaN(v.fraction) {
			err = strconv.ErrSyntax
		}
	case "!!timestamp":
		v.kind = kindDatetime
	default:
		v.kind = kindString
	}
	if err == nil {
		return true
	}
	if errors.Is(err, strconv.ErrRange) {
		b.fault(v.value, "", "the number is too large")
	} else {
		b.fault(v.value, "a string of digits needs quotes", "not a number")
	}
	return false
}

func yamlNoun(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	return "nothing"
}
