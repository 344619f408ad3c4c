package docs

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// translations are pages in another language beside their originals.
var translations = map[string]string{"README.zh.md": "README.md"}

var (
	target = regexp.MustCompile(`\]\(([^)#][^)]*)\)`)
	number = regexp.MustCompile(`\d+(\.\d+)?`)
)

// kept are the parts of a page that no language changes: code, the links of each line to other files, and
// the numbers of each table.
func kept(text string) (parts []string) {
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
				links = append(links, m[1])
			}
			slices.Sort(links) // another language may name things in another order
			parts = append(parts, links...)
		}
	}
	return parts
}

// Each translation has the code, the links and the figures of its original.
func TestTranslations(t *testing.T) {
	for page, original := range translations {
		got, want := keptOf(t, page), keptOf(t, original)
		for i := range max(len(got), len(want)) {
			if a, b := at(got, i), at(want, i); a != b {
				t.Fatalf("%s has %q where %s has %q", page, a, original, b)
			}
		}
	}
}

func at(parts []string, i int) string {
	if i >= len(parts) {
		return "nothing more"
	}
	return parts[i]
}

func keptOf(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testutil.Root(t), page))
	testutil.Must(t, err)
	parts := kept(string(text))
	return slices.DeleteFunc(parts, func(p string) bool { // the links to each other
		return translations[p] != "" || slices.Contains(slices.Collect(maps.Values(translations)), p)
	})
}

// A changed command, a link that is missing and a figure of last year are found.
func TestTranslations_fire(t *testing.T) {
	const page = "text [a](b.md) and [c](d.md)\n\n| x | 1.5 |\n\n```sh\nrun me\n```\n"
	for change, want := range map[string]bool{
		"text=文字": true, "[a](b.md) and [c](d.md)=[c](d.md)和[a](b.md)": true,
		"run me=运行": false, "[c](d.md)=c": false, "1.5=1.4": false, "d.md=e.md": false,
	} {
		from, to, _ := strings.Cut(change, "=")
		if same := slices.Equal(kept(page), kept(strings.Replace(page, from, to, 1))); same != want {
			t.Errorf("%s: the same: %v", change, same)
		}
	}
	if parts := kept(page); len(parts) != 6 {
		t.Errorf("%q", parts)
	}
}
