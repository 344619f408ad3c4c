package lint

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What git keeps for itself is no part of the tree: neither its folder nor the file of a worktree.
func TestReadTree_withoutGit(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{".git", "README.md", filepath.Join("clone", ".git", "config")} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("text\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name := range all.texts {
		got = append(got, name)
	}
	if want := []string{"README.md"}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}
