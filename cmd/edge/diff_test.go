package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config/changes"
)

func TestDiff_files(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.toml": "http.listen = \":8080\"\n[[routes]]\nname = \"r\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n",
		"b.toml": "include = [\"c.toml\"]\n# the same\nhttp.listen = \":8080\"\n",
		"c.toml": "[[routes]]\nname = \"r\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n",
		"d.toml": "http.listen = \":8081\"\nworker_threads = 3\n[[routes]]\nname = \"r\"\npattern = \"/*\"\n" +
			"dest = \"10.0.0.1:80\"\npriority = 0\n",
		"rotate.toml": "http.listen = \":8080\"\nlog = { rotate.size = \"20m\", format = \"common\" }\n" +
			"metrics = { hosts = 9, names = [\"a.test\"] }\n" +
			"[[routes]]\nname = \"r\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n",
		"wrong.toml": "htp.listen = 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
		said []string
	}{
		{"a.toml b.toml", 0, []string{"nothing changes"}},
		{"a.toml d.toml", 3, []string{"~ route r: priority", "    + :8081", "    - :8080",
			"after a restart or an upgrade alone: worker_threads"}},
		{"a.toml d.toml --set worker_threads=2", 3, []string{"~ route r: priority"}},
		{"a.toml rotate.toml", 3, []string{"~ log: format, rotate.size\n~ metrics: hosts, names\n"}},
		{"a.toml wrong.toml", 1, []string{"wrong.toml:1:1: error"}},
		{"a.toml missing.toml", 1, []string{"missing.toml"}},
		{"a.toml b.toml d.toml", 2, []string{"takes one file"}},
		{"a.toml", 1, []string{"no admin surface is known"}},
	} {
		code, out := in(t, dir, append([]string{"diff"}, strings.Fields(c.args)...)...)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.args, code, c.code)
		}
		for _, said := range c.said {
			if !strings.Contains(out, said) {
				t.Errorf("%s: no %q in\n%s", c.args, said, out)
			}
		}
	}
	code, out := in(t, dir, "diff", "a.toml", "d.toml", "--json")
	var d changes.Diff
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != 3 || len(d.Entries) != 4 || len(d.Restart) != 1 {
		t.Errorf("%d %v %+v", code, err, d)
	}
}
