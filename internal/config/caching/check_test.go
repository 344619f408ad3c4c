package caching

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

var update = flag.Bool("update", false, "write the golden file anew")

// Each mistake has its place and what helps, and the codes of warnings silence them. The file is as those of config.
func TestCheck_mistakes(t *testing.T) {
	const path, reportMark = "testdata/caching.mistakes", "-- report\n"
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for entry := range strings.SplitSeq(strings.TrimPrefix("\n"+string(want), "\n== "), "\n== ") {
		name, text, _ := strings.Cut(strings.TrimSuffix(entry, "\n")+"\n", "\n")
		text, _, _ = strings.Cut(text, reportMark)
		_, rep := config.Parse("edge.toml", []byte(text))
		if len(rep.Errors)+len(rep.Warnings) == 0 {
			t.Errorf("%s: accepted in silence", name)
		}
		got.WriteString("== " + name + "\n" + text + reportMark)
		if err := rep.Render(&got); err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, p := range rep.Warnings {
			codes = append(codes, syntax.Quote(p.Code))
		}
		if more := said("allow = [" + strings.Join(codes, ", ") + "]\n" + text); rep.OK() && len(more) > 0 {
			t.Errorf("%s: with its codes in allow it still says %q", name, more)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got.String() != string(want) {
		t.Errorf("%s is out of date (-update writes it); now it is\n%s", path, got.String())
	}
}

// What is meant is not warned of.
func TestCheck_silence(t *testing.T) {
	const status = "[[routes]]\npattern = \"/*\"\ndest = \"status:404\"\n"
	const sticky = "[upstreams.u]\nsticky.cookie = \"c\"\nbackends = [{ address = \"10.0.0.1:80\" }]\n" +
		"[[routes]]\npattern = \"/*\"\ndest = \"u\"\n"
	const named = "[[routes]]\npattern = \"/*\"\ndest = \"http://{header:X}.b.test:80\"\n" +
		"allow_dest = [\"http://*.b.test:80\"]\n"
	for _, text := range []string{
		web + "cache = true\n",
		status + "cache = false\n",
		named + "cache = false\n",
		"[defaults]\ncache = true\n" + named,
		"[defaults]\ncache = true\n" + sticky + "cache = false\n",
		sticky,
		"[[rules]]\ncache = false\n" + status,
		"[[rules]]\ndest = \"10.0.0.1:80\"\ncache = false\n" + web,
		"[[rules]]\ncache = true\n" + status + "[upstreams.default]\nbackends = [{ address = \"10.0.0.1:80\" }]\n" +
			"[[routes]]\npattern = \"/b\"\ndest = \"default\"\n",
		"[[rules]]\ncache.obey = \"ttl\"\n" + status + strings.Replace(web, "/*", "/b", 1) + "cache.ttl = 5\n",
		web + "cache = { enabled = false, ttl = 5 }\n[[routes.rules]]\ncache.obey = \"ttl\"\n",
		web + "[[routes.rules]]\ncache = { enabled = false, cookies = \"ignore\", key = \"{client.ip}\" }\n",
		web + "cache.key = \"{client.ip in {10.0.0.0/8} ? 'in' : 'out'}\"\n",
		web + "cache = { enabled = false, cookies = \"ignore\", key = \"{client.ip}\" }\n",
		"[defaults]\ncache.ttl = 5\n" + web + "cache.obey = \"ttl\"\n",
		"[cache]\nmemory = \"9g\"\n" + web,
		"[global]\nmemory_limit = \"2g\"\n[cache]\nmemory = \"1g\"\n" + web,
		"[global]\nmemory_limit = \"auto\"\n[cache]\nmemory = \"9g\"\n" + web,
		"[global]\nmemory_limit = \"16m\"\n[cache]\nmemory = \"auto\"\n" + web,
	} {
		if got := said(base + text); len(got) > 0 {
			t.Errorf("%s\ngives %q", text, got)
		}
	}
}

// Places are dropped once the entries are checked, unless they are asked for.
func TestCheck_dropsPlaces(t *testing.T) {
	text := []byte(base + "[cache]\nmemory = \"1g\"\n" + web + "cache.ttl = 5\n")
	for _, places := range []bool{false, true} {
		c, rep := config.Options{Places: places}.Parse("edge.toml", text)
		if c == nil {
			t.Fatal(rep.Errors)
		}
		if Of(c).Has("memory") != places || c.Routes[0].Features[0].(*entry).Has("ttl") != places {
			t.Errorf("with places: %v", places)
		}
	}
}

// A folder in which the next start could not keep answers is an error of each check, and of the reload that names it.
func TestCheck_triesTheFolderOfTheDisk(t *testing.T) {
	dir := t.TempDir()
	file, open, mine := filepath.Join(dir, "file"), filepath.Join(dir, "open"), filepath.Join(dir, "mine")
	err := errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(open, 0o700), os.Chmod(open, 0o777),
		os.Mkdir(mine, 0o700))
	if err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory", file: "not a directory", open: "chmod go-w", mine: "",
	} {
		path := filepath.Join(dir, "edge.toml")
		text := "cache.disk.path = " + syntax.Quote(folder) + "\n" + web + "cache = true\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, rep := config.Options{}.Load(path)
		said := ""
		for _, p := range rep.Errors {
			said += p.Error()
		}
		if (want == "") != rep.OK() || !strings.Contains(said, want) {
			t.Errorf("%s: %q, want %q", folder, said, want)
		}
		if _, rep := (config.Options{TextOnly: true}).Load(path); !rep.OK() {
			t.Errorf("%s: the text alone: %v", folder, rep.Errors)
		}
	}
}

// A time in place of the table of cache is the ttl that was meant.
func TestParse_hintForATimeAsCache(t *testing.T) {
	_, rep := config.Parse("edge.toml", []byte("http.listen = \":80\"\n[[routes]]\npattern = \"/*\"\ndest = \"a:1\"\n"+
		"cache = \"1d\"\n"))
	if len(rep.Errors) != 1 || rep.Errors[0].Hint != `write { ttl = "1d" }` {
		t.Errorf("%q", rep.Errors)
	}
}
