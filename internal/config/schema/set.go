package schema

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// setName stands for --set in messages.
const setName = "--set"

// override applies key=value of the command line, which beats what the files say under any spelling of the key.
func (l *loader) override(text string) {
	path, value, found := strings.Cut(text, "=")
	src := syntax.NewSource(setName, []byte(text), l.sources)
	l.sources++
	all := src.Span(0, max(1, len(text)))
	if !found || strings.TrimSpace(path) == "" {
		l.rep.Errorf(all, "", "write --set key=value")
		return
	}
	tree := l.overrideTree(src, path, strings.TrimSpace(value))
	if tree == nil {
		return
	}
	syntax.Expand(tree, l.rep, l.options.LookupEnv, l.options.Dir)
	if k := l.schema.keyAt(tree); k != nil && k.section.Shape == One {
		prune(l.root, l.schema.root, k)
	}
	l.replace(l.root, tree, "")
}

// overrideTree parses the value as TOML does, or takes it for a string that has lost its quotes to the shell.
func (l *loader) overrideTree(src *syntax.Source, path, value string) *syntax.Node {
	for _, v := range []string{value, quoteTOML(value)} {
		attempt := &syntax.Report{}
		line := path + "=" + v
		tree, whole := syntax.ParseTOML(syntax.NewSource(setName, []byte(line), 0), attempt)
		if whole && attempt.OK() && len(tree.Children) == 1 && !strings.Contains(line, "\n") {
			relocate(tree, src)
			return tree
		}
	}
	l.rep.Errorf(src.Span(0, max(1, len(src.Text))), "write --set section.key=value", "%s is not a key with a value",
		syntax.Quote(string(src.Text)))
	return nil
}

// escapes are the escapes of a string in double quotes.
var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func quoteTOML(s string) string { return `"` + escapes.Replace(s) + `"` }

// relocate makes every place below n one of src, whose text is the same but for quotes.
func relocate(n *syntax.Node, src *syntax.Source) {
	for _, s := range []*syntax.Span{&n.Head, &n.Name, &n.Value} {
		if s.Source != nil {
			*s = src.Span(min(s.From, len(src.Text)-1), min(s.To, len(src.Text)))
		}
	}
	for _, c := range n.Children {
		relocate(c, src)
	}
}

// keyAt returns the row of the schema that a tree of one key is about, or nil.
func (s *Schema) keyAt(n *syntax.Node) *Key {
	p := s.root
	for p != nil && p.key == nil && n.Kind == syntax.KindTable && len(n.Children) == 1 {
		n = n.Children[0]
		if p.section != nil && p.shape == Named {
			return nil // of one entry: the others keep theirs
		}
		p = p.children[n.Key]
	}
	if p == nil {
		return nil
	}
	return p.key
}

// prune takes every spelling of k out of the tree; entries of lists and named ones keep theirs.
func prune(n *syntax.Node, p *place, k *Key) {
	for _, c := range slices.Clone(n.Children) {
		at := p.children[c.Key]
		switch {
		case at == nil:
		case at.key == k:
			n.Remove(c.Key)
		case at.key == nil && c.Kind == syntax.KindTable && (at.section == nil || at.shape == One):
			prune(c, at, k)
		}
	}
}

// replace puts the values of from into the table into.
func (l *loader) replace(into, from *syntax.Node, path string) {
	for _, c := range from.Children {
		full := syntax.JoinKey(path, c.Key)
		old := into.Child(c.Key)
		switch {
		case full == IncludeKey:
			l.rep.Errorf(c.Head, "", "--set cannot include files")
		case old != nil && old.Kind == syntax.KindList && c.Kind == syntax.KindTable:
			l.rep.Errorf(c.Head, "", "--set cannot reach into the list [[%s]]", full)
		case old != nil && old.Kind == syntax.KindTable && c.Kind == syntax.KindTable:
			l.replace(old, c, full)
		default:
			into.Remove(c.Key)
			into.Add(c)
		}
	}
}
