package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// clean fails with a line for each finding of the rule in this repository.
func clean(t *testing.T, name string) {
	t.Helper()
	all, err := findings()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range remaining(all[name], exceptions(t)) {
		t.Error(f)
	}
}

func exceptions(t *testing.T) []exception {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(allowFile)))
	if err != nil {
		t.Fatal(err)
	}
	list, wrong := parseAllow(text)
	for _, f := range wrong {
		t.Error(f)
	}
	return list
}

// files is a tree that exists only in a test: path, text, path, text.
type files []string

// fires fails unless the rule finds exactly want in the fixture, each written "path:line symbol".
func fires(t *testing.T, name string, in files, want ...string) {
	t.Helper()
	r, ok := ruleNamed(name)
	if !ok {
		t.Fatalf("no rule %q", name)
	}
	tree := &tree{root: t.TempDir(), texts: map[string][]byte{}}
	for i := 0; i < len(in); i += 2 {
		if filepath.Ext(in[i]) == ".go" {
			tree.add(in[i], []byte(in[i+1]))
		} else {
			tree.texts[in[i]] = []byte(in[i+1])
		}
	}
	if name != "syntax" && len(tree.broken) > 0 {
		t.Fatalf("fixture: %v", tree.broken[0])
	}
	got := r.find(tree)
	for i := 0; i < len(got) || i < len(want); i++ {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = fmt.Sprintf("%s:%d %s", got[i].path, got[i].line, got[i].symbol)
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("finding %d: %s, want %s", i, g, w)
		}
	}
}

func TestSyntax(t *testing.T) { clean(t, "syntax") }

func TestSyntax_fires(t *testing.T) {
	fires(t, "syntax", files{"engine/a.go", "package engine\nfunc {", "engine/b.go", "package engine\n"},
		"engine/a.go:1 ")
}
