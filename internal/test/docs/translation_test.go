package docs

import (
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// translations are pages in another language, each with its original in the same folder. Paths are from the root.
var translations = map[string]string{
	"README.zh.md":           "README.md",
	"docs/quick-start.zh.md": "docs/quick-start.md",
}

var (
	target = regexp.MustCompile(`\]\(([^)#][^)]*)\)`)
	number = regexp.MustCompile(`\d+(\.\d+)?`)
)

// kept returns the parts of a page that no language changes: code, the links of each line to other files, and the
// numbers of each table.
func kept(page, text string) (parts []string) {
	code := false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
			parts = append(parts, line)
		case code:
			parts = append(parts, line)
		case strings.HasPrefix(line, "|"):
			numbers := number.FindAllString(target.ReplaceAllString(line, ""), -1)
			parts = append(parts, "numbers "+strings.Join(numbers, " "))
		}
		if !code {
			var links []string
			for _, m := range target.FindAllStringSubmatch(line, -1) {
				links = append(links, inOriginal(page, m[1]))
			}
			slices.Sort(links) // another language may name things in another order
			parts = append(parts, links...)
		}
	}
	return parts
}

// inOriginal returns a link of page as the original has it: a translation that it leads to stands for its original. So
// a page and its translation have the same link where they lead to each other. A link with an anchor stays as it is.
func inOriginal(page, to string) string {
	if original := translations[path.Join(path.Dir(page), to)]; original != "" {
		return path.Join(path.Dir(to), path.Base(original))
	}
	return to
}

// Each translation has the code, the links and the figures of its original, and the two lead to each other.
func TestTranslations(t *testing.T) {
	for page, original := range translations {
		translated, text := textOf(t, page), textOf(t, original)
		got, want := kept(page, translated), kept(original, text)
		for i := range max(len(got), len(want)) {
			if a, b := at(got, i), at(want, i); a != b {
				t.Fatalf("%s has %q where %s has %q", page, a, original, b)
			}
		}
		if !leadsTo(translated, path.Base(original)) || !leadsTo(text, path.Base(page)) {
			t.Errorf("%s and %s do not lead to each other", page, original)
		}
	}
}

func at(parts []string, i int) string {
	if i >= len(parts) {
		return "nothing more"
	}
	return parts[i]
}

// leadsTo reports whether a page has a link to another one.
func leadsTo(text, to string) bool {
	return slices.ContainsFunc(target.FindAllStringSubmatch(text, -1), func(m []string) bool { return m[1] == to })
}

func textOf(t *testing.T, page string) string {
	t.Helper()
	return string(testutil.ReadFile(t, filepath.Join(testutil.Root(t), filepath.FromSlash(page))))
}

// A changed command, a link that is missing and a figure of last year are found.
func TestTranslations_fire(t *testing.T) {
	const page = "text [a](b.md) and [c](d.md)\n\n| x | 1.5 |\n\n```sh\nrun me\n```\n"
	for change, want := range map[string]bool{
		"text=文字": true, "[a](b.md) and [c](d.md)=[c](d.md)和[a](b.md)": true,
		"run me=运行": false, "[c](d.md)=c": false, "1.5=1.4": false, "d.md=e.md": false,
	} {
		from, to, _ := strings.Cut(change, "=")
		if same := slices.Equal(kept("a.md", page), kept("a.md", strings.Replace(page, from, to, 1))); same != want {
			t.Errorf("%s: the same: %v", change, same)
		}
	}
	if parts := kept("a.md", page); len(parts) != 6 {
		t.Errorf("%q", parts)
	}
}

// A translation stands for its original in links from every folder. Other links stay.
func TestTranslations_links(t *testing.T) {
	for _, c := range []struct{ page, to, want string }{
		{"README.zh.md", "docs/quick-start.zh.md", "docs/quick-start.md"},
		{"README.md", "README.zh.md", "README.md"}, // to each other
		{"README.zh.md", "README.md", "README.md"},
		{"docs/quick-start.md", "quick-start.zh.md", "quick-start.md"},
		{"docs/quick-start.zh.md", "../README.zh.md", "../README.md"},
		{"docs/quick-start.zh.md", "README.zh.md", "README.zh.md"}, // no page of docs
		{"docs/quick-start.zh.md", "acme.md", "acme.md"},
		{"docs/quick-start.zh.md", "https://example.org/README.zh.md", "https://example.org/README.zh.md"},
	} {
		if got := inOriginal(c.page, c.to); got != c.want {
			t.Errorf("%s: %s is %s, want %s", c.page, c.to, got, c.want)
		}
	}
	const original, translated = "[a](README.md) [b](README.old.md)\n", "[a](README.zh.md)、[b](README.old.md)\n"
	if !slices.Equal(kept("a.md", original), kept("a.zh.md", translated)) {
		t.Errorf("%q, want %q", kept("a.zh.md", translated), kept("a.md", original))
	}
	if !leadsTo(original, "README.md") || leadsTo(original, "README.zh.md") {
		t.Error("a link is taken for another one")
	}
}
