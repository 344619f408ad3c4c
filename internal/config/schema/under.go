package schema

import "github.com/edge-proxy/edge/internal/config/syntax"

// cover takes out of under, a table of the program, the keys that files sets, the table at the same place p of the
// files. A nil under: the program has no such table, and may have the keys by other names. All names of a key are
// within one entry: base, at basePlace, is the entry that under is a part of, or the whole text.
func cover(files, under *syntax.Node, p *place, base *syntax.Node, basePlace *place) {
	for _, c := range files.Children {
		at := p.children[c.Key]
		if at == nil || c.Kind == syntax.KindNull {
			continue // an error by itself; a key without a value
		}
		var below *syntax.Node
		if under != nil {
			below = under.Child(c.Key)
		}
		switch {
		case at.key != nil && (at.children == nil || c.Kind != syntax.KindTable):
			if !at.appends() {
				prune(base, basePlace, at.key)
			}
		case at.section == nil || at.shape == One:
			cover(c, below, at, base, basePlace)
		case below != nil && (at.shape == Named || at.section.Merges):
			coverEntries(c, below, at)
		}
	}
}

// coverEntries is cover for the entries of a section that both have.
func coverEntries(files, under *syntax.Node, p *place) {
	for _, entry := range files.Children {
		like := entryLike(under, entry)
		if p.shape == Named {
			like = under.Child(entry.Key)
		}
		if like == nil {
			continue
		}
		of, name := p.of(like), like.Child("name")
		cover(entry, like, of, like, of)
		if name != nil && like.Child("name") == nil {
			like.Add(name) // by which they are merged
		}
	}
}
