package config

import (
	"slices"
	"strings"
)

// setName stands for --set in messages.
const setName = "--set"

// override applies key=value of the command line, which beats what the files say under any spelling of the key.
func (l *loader) override(text string) {
	path, value, found := strings.Cut(text, "=")
	src := newSource(setName, []byte(text))
	src.order = l.sources
	l.sources++
	all := src.span(0, max(1, len(text)))
	if !found || strings.TrimSpace(path) == "" {
		l.rep.error(all, "", "write --set key=value")
		return
	}
	tree := l.overrideTree(src, path, strings.TrimSpace(value))
	if tree == nil {
		return
	}
	expand(tree, l.rep, l.options.lookup(), l.options.Dir)
	if k := keyAt(tree); k != nil && k.section.shape == shapeOne {
		prune(l.root, schema(), k)
	}
	l.replace(l.root, tree, "")
}

// overrideTree parses the value as TOML does, or takes it for a string that has lost its quotes to the shell.
func (l *loader) overrideTree(src *source, path, value string) *node {
	for _, v := range []string{value, quoteTOML(value)} {
		attempt := &Report{}
		line := newSource(setName, []byte(path+"="+v))
		tree, whole := parseTOML(line, attempt)
		if whole && attempt.OK() && len(tree.children) == 1 && len(line.lines) == 1 {
			relocate(tree, src)
			return tree
		}
	}
	l.rep.error(src.span(0, max(1, len(src.text))), "write --set section.key=value", "%s is not a key with a value",
		quote(string(src.text)))
	return nil
}

func quoteTOML(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// relocate makes every place below n one of src, whose text is the same but for quotes.
func relocate(n *node, src *source) {
	for _, s := range []*span{&n.head, &n.name, &n.value} {
		if s.src != nil {
			*s = src.span(min(s.from, len(src.text)-1), min(s.to, len(src.text)))
		}
	}
	for _, c := range n.children {
		relocate(c, src)
	}
}

// keyAt returns the row of the schema that a tree of one key is about, or nil.
func keyAt(n *node) *key {
	p := schema()
	for p != nil && p.key == nil && n.kind == kindTable && len(n.children) == 1 {
		n = n.children[0]
		if p.section != nil && p.shape == shapeNamed {
			return nil // of one entry: the others keep theirs
		}
		p = p.children[n.key]
	}
	if p == nil {
		return nil
	}
	return p.key
}

// prune takes every spelling of k out of the tree; entries of lists and named ones keep theirs.
func prune(n *node, p *place, k *key) {
	for _, c := range slices.Clone(n.children) {
		at := p.children[c.key]
		switch {
		case at == nil:
		case at.key == k:
			n.remove(c.key)
		case at.key == nil && c.kind == kindTable && (at.section == nil || at.shape == shapeOne):
			prune(c, at, k)
		}
	}
}

// replace puts the values of from into the table into.
func (l *loader) replace(into, from *node, path string) {
	for _, c := range from.children {
		full := join(path, c.key)
		old := into.child(c.key)
		switch {
		case full == includeKey:
			l.rep.error(c.head, "", "--set cannot include files")
		case old != nil && old.kind == kindArray && c.kind == kindTable:
			l.rep.error(c.head, "", "--set cannot reach into the list [[%s]]", full)
		case old != nil && old.kind == kindTable && c.kind == kindTable:
			l.replace(old, c, full)
		default:
			into.remove(c.key)
			into.add(c)
		}
	}
}
