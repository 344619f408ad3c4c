package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLoad_readsErrorPages(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "edge.toml")
	whole := filepath.Join(dir, "pages", "whole.txt")
	write(t, whole, "all: {status}")
	write(t, filepath.Join(dir, "own.html"), "own")
	write(t, file, `
error_pages = { 4xx = "`+whole+`" }
[http]
listen = ":80"
error_pages = { 404 = ["own.html", { body = "{}", type = "application/json" }] }
[[routes]]
host = ["a.test", "b.test"]
dest = "h:80"
error_pages = { 5xx = "pages/whole.txt" }
`)
	c, rep := Options{}.Load(file)
	if c == nil {
		t.Fatal(rendered(t, rep))
	}
	const text = "text/plain; charset=utf-8"
	for _, want := range []struct {
		in  []ErrorPage
		all []ErrorPage
	}{
		{c.ErrorPages, []ErrorPage{{"4xx", text, whole, "all: {status}"}}},
		{c.Listeners[0].ErrorPages, []ErrorPage{
			{"404", htmlType, filepath.Join(dir, "own.html"), "own"}, {"404", "application/json", "", "{}"},
		}},
		{c.Routes[0].ErrorPages, []ErrorPage{{"5xx", text, whole, "all: {status}"}}},
		{c.Routes[1].ErrorPages, []ErrorPage{{"5xx", text, whole, "all: {status}"}}},
	} {
		for i, w := range want.all {
			if len(want.in) != len(want.all) || want.in[i] != w {
				t.Errorf("%+v, want %+v", want.in, want.all)
				break
			}
		}
	}
}

// YAML and JSON have numbers for keys, or texts that look so.
func TestParse_errorPagesInOtherFormats(t *testing.T) {
	for name, text := range map[string]string{
		"f.yaml": "http:\n  listen: ':80'\n  error_pages:\n    404: /404.html\n    5xx:\n      body: down\n",
		"f.json": `{"http": {"listen": ":80", "error_pages": {"404": "/404.html", "5xx": {"body": "down"}}}}`,
	} {
		c, rep := Parse(name, []byte(text))
		if c == nil {
			t.Errorf("%s: %s", name, rendered(t, rep))
			continue
		}
		if p := c.Listeners[0].ErrorPages; len(p) != 2 || p[0].File != "/404.html" || p[1].Body != "down" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestLoad_errorPagesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "edge.toml")
	large := filepath.Join(dir, "large.html")
	write(t, large, strings.Repeat("x", errorPageMax+1))
	if err := os.Mkdir(filepath.Join(dir, "folder.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe.html") // opening one without a writer waits for ever
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	const none, tooLarge = "no such file or directory", "larger than 1 MiB"
	for page, want := range map[string]string{
		`"none.html"`:                          `edge.toml:3:23: error: cannot use "none.html": ` + none,
		`["large.html"]`:                       `edge.toml:3:24: error: cannot use "` + large + `": ` + tooLarge,
		`{ file = "folder.html" }`:             `: not a regular file`,
		`"pipe.html"`:                          `cannot use "` + pipe + `": not a regular file`,
		`{ file = "/dev/zero", type = "a/b" }`: `cannot use "/dev/zero": not a regular file`,
		`{ file = "/dev/null/x.html" }`:        `cannot use "/dev/null/x.html": not a directory`,
	} {
		write(t, file, "[http]\nlisten = \":80\"\nerror_pages = { 404 = "+page+" }\n"+
			"[[routes]]\npattern = \"/\"\ndest = \"h:80\"\n")
		c, rep := Options{}.Load(file)
		if got := rendered(t, rep); c != nil || !strings.Contains(got, want) {
			t.Errorf("%s:\n%swant %s", page, got, want)
		}
		if c, rep := (Options{TextOnly: true}).Load(file); c == nil {
			t.Errorf("%s is opened: %s", page, rendered(t, rep))
		}
	}
}
