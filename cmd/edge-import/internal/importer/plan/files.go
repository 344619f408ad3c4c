package plan

import (
	"cmp"
	slashpath "path"
	"slices"
	"strings"
)

// Files answers with the files of a folder. keys are further ones of the destination.
func (p *Plan) Files(root string, keys []Setting, from ...Place) Action {
	if len(keys) == 0 {
		return Dest("static:" + root)
	}
	keys = append([]Setting{{Name: "type", Value: `"static"`}, {Name: "root", Value: String(root)}}, keys...)
	return Dest(p.Named("destinations", cmp.Or(Name(slashpath.Base(root)), "root")+"-files", keys, from...))
}

// script matches names of files that a program of the server runs. Here they would be shown.
var script = Expr(`(?i)\.(?:php\d?|phtml|cgi|pl|py)$`)

// Index returns the names of files that may answer for their folder.
func Index(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return script().MatchString(name) || strings.ContainsAny(name, `$/{}\`)
	})
}

// Try returns the paths that a destination with files looks for in place of a list, where self stands for the path of
// the request. The destination looks for a folder where it looks for a file. lost are paths of the list that it cannot
// look for.
func Try(self string, list []string) (paths, lost []string) {
	for _, text := range list {
		one := strings.Replace(text, self, "{path}", 1)
		if one = cmp.Or(strings.TrimSuffix(one, "/"), "/"); text == "=404" || slices.Contains(paths, one) {
			continue
		}
		rest := strings.Replace(one, "{path}", "/", 1)
		if rest[0] != '/' || strings.ContainsAny(rest, `$?{}\`) || script().MatchString(rest) {
			lost = append(lost, text)
		} else {
			paths = append(paths, one)
		}
	}
	return paths, lost
}

// Compress returns the name of a filter that compresses answers. keys are further ones of the filter.
func (p *Plan) Compress(keys []Setting, from ...Place) string {
	return p.Named("filters", "compress", append([]Setting{{Name: "type", Value: `"compress"`}}, keys...), from...)
}

// Encodings returns the content codings of a list that edge compresses with.
func Encodings(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return name == "br" })
}

// Encode sends answers through filters that compress them, which refuse nothing.
func Encode(filters ...string) Action { return Do("filters", List(filters...)) }

// files reports whether b answers with files.
func (p *Plan) files(b *Block) bool {
	return slices.ContainsFunc(b.keys, func(k key) bool {
		name := strings.Trim(k.value, `"`)
		return k.name == "dest" && (strings.HasPrefix(name, "static:") || p.names["destinations."+name])
	})
}
