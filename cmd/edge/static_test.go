package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const staticFile = `
[http]
listen = "127.0.0.1:0"
[filters.small]
type = "compress"
[defaults]
filters = ["small"]
[[routes]]
pattern = "/*"
dest = "static:%s"
[[routes]]
pattern = "/named/*"
dest = "named"
rewrite = { strip_prefix = "/named" }
cache = { ttl = "1m" }
[destinations.named]
type = "static"
root = "%[1]s"
try = ["{path}", "/index.html"]
`

// wwwFolder makes a folder with an index.html that has a text.
func wwwFolder(t *testing.T, path, text string) {
	t.Helper()
	testutil.Must(t, os.MkdirAll(path, 0o755))
	for name, body := range map[string]string{"index.html": text, "large.txt": strings.Repeat(text+"\n", 10_000)} {
		putAs(t, filepath.Join(path, name), 0o644, []byte(body))
	}
}

func TestStatic_check(t *testing.T) {
	dir := t.TempDir()
	code, out := edge(t, "check", write(t, staticFile, filepath.Join(dir, "none")))
	if code != 1 || strings.Count(out, "no such file or directory") != 2 ||
		!strings.Contains(out, "edge.toml:10:8: error") || !strings.Contains(out, "edge.toml:18:") {
		t.Errorf("%d\n%s", code, out)
	}
	twice := staticFile + "[destinations.named]\ntype = \"static\"\n"
	commands(t, "",
		command{"check " + write(t, twice, dir), 1, ""},
		command{"explain http://a.test/x -c " + write(t, staticFile, dir), 0, "of type static"},
	)
}

// A process that can read what its configuration names alone reads the folder.
func TestStatic_lockdown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "www")
	wwwFolder(t, dir, "one")
	p := start(t, "[global]\nlockdown = true\n"+staticFile, dir)
	if got := curlWith(t, "-s", "http://"+p.addr+"/named/index.html"); got != "one" {
		t.Error(got)
	}
}

func TestServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "www")
	wwwFolder(t, dir, "one")
	testutil.Must(t, os.Remove(filepath.Join(dir, "index.html")))
	p := launch(t, "", "serve", dir, "--listen", "127.0.0.1:0")
	url := p.WaitLine(`edge: (http://[^ ]+) -> ` + dir)[1]
	if list := curlWith(t, "-s", "--compressed", url); !strings.Contains(list, `<a href="./large.txt">`) {
		t.Error(list)
	}
	commands(t, "",
		command{"serve", 2, "takes one folder"},
		command{"serve a b", 2, "takes one folder"},
		command{"serve /none", 1, "no such file"},
		command{"serve " + filepath.Join(dir, "large.txt"), 1, "is no folder"},
	)
}
