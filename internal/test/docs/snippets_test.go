package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Each block of Go is part of a file that is compiled.
func TestSnippets(t *testing.T) {
	files := compiled(t)
	for _, list := range pages(t) {
		for _, b := range of(list, "go") {
			if !slices.ContainsFunc(files, func(f []string) bool { return contains(f, trimmed(b.lines)) }) {
				t.Errorf("%v stands in no Go file of examples and internal/test/docs, and in no example_test.go", b)
			}
		}
	}
}

// compiled returns the lines of the Go files that snippets are cut from.
func compiled(t *testing.T) (files [][]string) {
	t.Helper()
	for _, folder := range []string{"", "*", "*/*", "internal/*/*"} {
		tests, err := filepath.Glob(filepath.Join(testutil.Root(t), folder, "example_test.go"))
		testutil.Must(t, err)
		for _, file := range tests {
			text := testutil.ReadFile(t, file)
			files = append(files, trimmed(strings.Split(string(text), "\n")))
		}
	}
	for _, dir := range []string{"examples", "internal/test/docs"} {
		visit := func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			text, err := os.ReadFile(path)
			files = append(files, trimmed(strings.Split(string(text), "\n")))
			return err
		}
		testutil.Must(t, filepath.WalkDir(filepath.Join(testutil.Root(t), dir), visit))
	}
	return files
}

// trimmed returns lines without the space around each, which depends on where a snippet stands.
func trimmed(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.Join(strings.Fields(line), " ")
	}
	return out
}

// contains reports whether part stands in lines. A program, which names its package, has to be all of them but for the
// comment before.
func contains(lines, part []string) bool {
	program := strings.HasPrefix(part[0], "package ")
	for i := range len(lines) - len(part) + 1 {
		if slices.Equal(lines[i:i+len(part)], part) && (!program || strings.Join(lines[i+len(part):], "") == "") {
			return true
		}
	}
	return false
}

func TestSnippets_contains(t *testing.T) {
	file := []string{"// Command a.", "package main", "", "func main() {", "}", ""}
	for part, want := range map[string]bool{
		"func main() {\n}": true, "package main\n\nfunc main() {\n}": true, "package main": false,
		"func main() {}": false,
		"}\n\n\n":        false,
	} {
		if got := contains(file, strings.Split(part, "\n")); got != want {
			t.Errorf("%q: %v", part, got)
		}
	}
}
