package lint

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// link matches the target of a link or an image in Markdown.
var link = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`)

// checkLink: a relative link in a Markdown file leads to a file.
func checkLink(t *tree) []finding {
	var found []finding
	for _, name := range t.names(".md") {
		fenced := false
		eachLine(t.texts[name], func(n int, line string) {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			if fenced {
				return
			}
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if to, _, _ := strings.Cut(m[1], "#"); !t.leadsTo(name, to) {
					found = append(found, finding{path: name, line: n, symbol: to, says: to + " does not exist"})
				}
			}
		})
	}
	return found
}

func (t *tree) leadsTo(from, to string) bool {
	if to == "" || strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return true
	}
	return t.exists(path.Join(path.Dir(from), to))
}

// names returns the text files with the extension, in order.
func (t *tree) names(ext string) []string {
	var names []string
	for name := range t.texts {
		if path.Ext(name) == ext {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// exists reports whether a path from the root is a file or a directory.
func (t *tree) exists(name string) bool {
	if _, ok := t.texts[name]; ok {
		return true
	}
	_, err := os.Stat(filepath.Join(t.root, filepath.FromSlash(name)))
	return err == nil
}
