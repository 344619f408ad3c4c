package docs

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// anchored matches a link with an anchor: the page, nothing where it is the same one, and the anchor.
var anchored = regexp.MustCompile(`\]\(([^)\s#:]*)#([^)\s]+)\)`)

// A link to a heading leads to one. That its page is there is a rule of internal/lint.
func TestAnchors(t *testing.T) {
	known := map[string]map[string]bool{}
	for page := range pages(t) {
		known[page] = anchors(prose(t, page))
	}
	for _, page := range slices.Sorted(maps.Keys(known)) {
		for _, dead := range deadLinks(page, prose(t, page), known) {
			t.Error(dead)
		}
	}
}

// deadLinks returns the links of a page to headings that known, by page, has not.
func deadLinks(page string, lines []string, known map[string]map[string]bool) (dead []string) {
	for _, m := range anchored.FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
		to := page
		if m[1] != "" {
			to = path.Join(path.Dir(page), m[1])
		}
		if path.Ext(to) == ".md" && known[to] != nil && !known[to][m[2]] {
			dead = append(dead, fmt.Sprintf("%s: %s has no heading #%s", page, to, m[2]))
		}
	}
	return dead
}

func TestAnchors_fire(t *testing.T) {
	known := map[string]map[string]bool{
		"docs/a.md": anchors([]string{"# One `key`, two", "text", "## Same", "## Same"}), "README.md": {},
	}
	lines := strings.Split("[a](#same) [b](#one-key-two) [c](a.md#same-1)\n[d](#same-2) [e](../README.md#x)", "\n")
	dead := deadLinks("docs/a.md", lines, known)
	want := []string{"docs/a.md: docs/a.md has no heading #same-2", "docs/a.md: README.md has no heading #x"}
	if !slices.Equal(dead, want) {
		t.Errorf("%q, want %q", dead, want)
	}
}

// prose returns the lines of a page outside of its code blocks.
func prose(t *testing.T, page string) (lines []string) {
	t.Helper()
	text := testutil.ReadFile(t, filepath.Join(testutil.Root(t), filepath.FromSlash(page)))
	fenced := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	return lines
}

// anchors returns those of the headings among lines, as GitHub makes them: letters, digits, dashes and underscores in
// lower case, a dash for a space, and a number after what was there before.
func anchors(lines []string) map[string]bool {
	all, seen := map[string]bool{}, map[string]int{}
	for _, line := range lines {
		text := strings.TrimLeft(line, "#")
		if text == line || !strings.HasPrefix(text, " ") {
			continue
		}
		anchor := anchorOf(text[1:])
		if n := seen[anchor]; n > 0 {
			all[fmt.Sprint(anchor, "-", n)] = true
		}
		seen[anchor]++
		all[anchor] = true
	}
	return all
}

// anchorOf returns the anchor of the first heading with a text.
func anchorOf(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}
