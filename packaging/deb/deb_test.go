package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	for version, want := range map[string]string{
		"1.2.3": "1.2.3", "1.2.3-rc.1": "1.2.3~rc.1", "0.1.0-dev": "0.1.0~dev",
	} {
		if got := versionOf(version); got != want {
			t.Errorf("%s is %s, want %s", version, got, want)
		}
	}
}

// What is no archive of a release is refused, and leaves no file.
func TestBuild_refuses(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "edge-1.2.3-linux-amd64.tar.gz")
	if err := os.WriteFile(broken, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for archive, want := range map[string]string{
		"edge.tar.gz": "is not named", filepath.Join(dir, "edge-1.2.4-linux-amd64.tar.gz"): "no such file",
		broken: "gzip: invalid header",
	} {
		out := t.TempDir()
		if _, err := build(archive, "../scripts", out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", archive, err)
		}
		if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", archive, left, err)
		}
	}
}
