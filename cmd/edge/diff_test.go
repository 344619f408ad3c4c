package main

import (
	"encoding/json"
	"testing"

	"github.com/edge-proxy/edge/internal/config/changes"
)

func TestDiff_files(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.toml": "http.listen = \":8080\"\n[[routes]]\nname = \"r\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n",
		"b.toml": "include = [\"c.toml\"]\n# the same\nhttp.listen = \":8080\"\n",
		"c.toml": "[[routes]]\nname = \"r\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n",
		"d.toml": "http.listen = \":8081\"\nworker_threads = 3\n[[routes]]\nname = \"r\"\npattern = \"/*\"\n" +
			"dest = \"10.0.0.1:80\"\npriority = 0\n",
		"rotate.toml": "http.listen = \":8080\"\nlog = { rotate.size = \"20m\", format = \"common\" }\n" +
			"metrics = { hosts = 9, names = [\"a.test\"] }\n" +
			"[[routes]]\nname = \"r\"\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\n",
		"wrong.toml": "htp.listen = 1\n",
	})
	commands(t, dir,
		command{"diff a.toml b.toml", 0, "nothing changes"},
		command{"diff a.toml d.toml", 3, "~ route r: priority| + :8081| - :8080|" +
			"after a restart or an upgrade alone: worker_threads"},
		command{"diff a.toml d.toml --set worker_threads=2", 3, "~ route r: priority"},
		command{"diff a.toml rotate.toml", 3, "~ log: format, rotate.size ~ metrics: hosts, names "},
		command{"diff a.toml wrong.toml", 1, "wrong.toml:1:1: error"},
		command{"diff a.toml missing.toml", 1, "missing.toml"},
		command{"diff a.toml b.toml d.toml", 2, "takes one file"},
		command{"diff a.toml", 1, "no admin surface is known"},
	)
	code, out := in(t, dir, "diff", "a.toml", "d.toml", "--json")
	var d changes.Diff
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != 3 || len(d.Entries) != 4 || len(d.Restart) != 1 {
		t.Errorf("%d %v %+v", code, err, d)
	}
}
