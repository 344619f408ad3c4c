package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The notes have the section of the version, with links that work outside of the tree, and each Go package beside the
// release before: removed names are told as incompatible, and what is internal is not told.
func TestNotes(t *testing.T) {
	g := newRepository(t, map[string]string{
		"CHANGELOG.md": changelog, "go.mod": "module github.com/edge-proxy/edge\n\ngo 1.26.0\n",
		"edge.go":   "package edge\n\nfunc Serve(string) error { return nil }\n\nconst Gone = 1\n",
		"pool/a.go": "package pool\n\ntype Pool struct{ Size int }\n", "internal/x/a.go": "package x\n\nfunc X() {}\n",
		"ketama/a.go": "package ketama\n\nfunc Ring() {}\n", "cmd/edge/main.go": "package main\n\nfunc main() {}\n",
	})
	r := release{source: g.dir, out: t.TempDir(), version: "1.0.0"}
	notes := func() string {
		t.Helper()
		testutil.Must(t, r.notes(nil))
		return string(read(t, filepath.Join(r.out, "edge-notes-"+r.version+".md")))
	}
	first := notes()
	for _, want := range []string{"# edge 1.0.0\n\nThe first one.\n", "since the first release",
		"| `github.com/edge-proxy/edge` | new, 2 names |", "| `pool` | new, 1 name |"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	g.run("git", "tag", "v1.0.0")
	g.commit(map[string]string{
		"edge.go":   "package edge\n\nfunc Serve(string) error { return nil }\n\nfunc More() {}\n",
		"pool/a.go": "package pool\n\ntype Pool struct{ Size, More int }\n",
		"h1/a.go":   "package h1\n\nfunc Parse() {}\n", "internal/x/a.go": "package x\n",
	})
	r.version = "1.1.0"
	second := notes()
	for _, want := range []string{
		"[is new](https://github.com/edge-proxy/edge/blob/v1.1.0/docs/new.md#there)",
		"[elsewhere](https://example.com/)",
		"since v1.0.0", "| `github.com/edge-proxy/edge` | **1 incompatible change**, 1 addition |",
		"- **Gone: removed**\n- More: added\n", "| `pool` | 1 addition |", "| `h1` | new, 1 name |",
		"| `ketama` | the same |",
	} {
		if !strings.Contains(second, want) {
			t.Errorf("no %q in\n%s", want, second)
		}
	}
	for _, no := range []string{"internal", "cmd", "first one"} {
		if strings.Contains(second, no) {
			t.Errorf("%q is in\n%s", no, second)
		}
	}
	r.version = "3.0.0"
	if err := r.notes(nil); err == nil {
		t.Error("notes of a version that CHANGELOG.md has not")
	}
}
