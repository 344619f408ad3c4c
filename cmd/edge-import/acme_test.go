package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The program knows [acme]: what it writes of certificates that are ordered is checked, and not taken away.
func TestImport_certificatesByACME(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(path, []byte("a.com {\n\treverse_proxy 127.0.0.1:1\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problems strings.Builder
	if code := run([]string{"caddy", path}, &out, &problems); code != 0 {
		t.Errorf("code %d: %s", code, problems.String())
	}
	want := "[acme]\nca    = \"letsencrypt\"\nhosts = \"a.com\"\n"
	if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "= \"acme\"\n") {
		t.Error(out.String())
	}
}
