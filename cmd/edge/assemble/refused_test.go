package assemble

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What can be wrong with a module is one error of a few lines, which names the module. An earlier program stays.
func TestRun_refuses(t *testing.T) {
	p := newModules(t)
	p.add(t, "example.com/newer", "v1.0.0", map[string]string{
		"go.mod":    "module example.com/newer\n\ngo 1.26.0\n\nrequire " + Edge + " v1.9.0\n",
		"plugin.go": "package newer\n\nimport _ \"" + Edge + "/filter\"\n",
	})
	dir := func(needs, body string) string { return "example.com/mod=" + folder(t, plugin(needs, body)) }
	twice := registers + "\nfunc init() { filter.Register(\"tenant\", \"example.com/b\") }\n"
	program := folder(t, map[string]string{"go.mod": "module example.com/mod\n",
		"main.go": "package main\n\nfunc main() {}\n"})
	for _, c := range []struct{ name, spec, want string }{
		{"panics", dir(v120, "import \"errors\"\n\nfunc init() { panic(errors.New(\"no key in KEY_FILE\")) }\n"),
			"the new program does not start: panic: no key in KEY_FILE\n  in example.com/mod.init.0, "},
		{"a name that is taken", dir(v120, twice), "panic: filter: two packages register tenant: " +
			"example.com/mod and example.com/b\n  in example.com/mod.init.1, "},
		{"does not compile", dir(v120, "var a int = \"text\"\n"), "plugin.go:3:13: cannot use "},
		{"another major version", dir(Edge+"/v9 v9.0.0", "import _ \""+Edge+"/v9/filter\"\n"),
			"a module is for " + Edge + "/v9, another major version"},
		{"a newer edge", "example.com/newer@v1.0.0", "example.com/newer v1.0.0 needs edge v1.9.0, and v1.2.0 is built"},
		{"a newer edge, in a folder", dir(Edge+" v1.9.0", registers),
			"example.com/mod needs edge v1.9.0, and v1.2.0 is built"},
		{"a package of a later edge", dir(v120, "import _ \""+Edge+"/later\"\n"),
			"needs edge v1.9.0, and v1.2.0 is built"},
		{"a package of no edge", dir(v120, "import _ \""+Edge+"/none\"\n"),
			"a module imports " + Edge + "/none, which " + Edge + "@v1.2.0 does not have"},
		{"a package that moved", dir(v120, "import _ \""+Edge+"/balance\"\n"),
			"which " + Edge + "@v1.2.0 does not have: import " + Edge + "/backend/balance"},
		{"a package that is internal", dir(v120, "import _ \""+Edge+"/internal/base/build\"\n"),
			"use of internal package " + Edge + "/internal/base/build not allowed"},
		{"of another path", "example.com/else=" + program, "the module in this folder is example.com/mod"},
		{"no module", "example.com/mod=" + t.TempDir(), "its folder has no go.mod that can be read"},
		{"no folder", "example.com/mod=/none/at/all", "no such file or directory"},
		{"not published", "example.com/none@v1.0.0", "go get: go: example.com/none@v1.0.0: "},
		{"no such version", "example.com/newer@v1.7.0", "go get: go: example.com/newer@v1.7.0: "},
		{"a program", "example.com/mod=" + program, "its package is a program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := job(t, c.spec)
			write(t, j.Out, "an earlier program")
			r, err := run(t, j)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%+v, %v\nwant %s", r, err, c.want)
			}
			if n := strings.Count(err.Error(), "\n"); n > linesShown+1 || strings.Contains(err.Error(), "goroutine") {
				t.Errorf("an error of %d lines: %v", n+1, err)
			}
			if text, err := os.ReadFile(j.Out); err != nil || string(text) != "an earlier program" {
				t.Errorf("the file has %.40q, %v", text, err)
			}
		})
	}
}

// What needs no compiler is said before one is asked.
func TestRun_beforeTheCompiler(t *testing.T) {
	newModules(t)
	j := job(t, "example.com/mod", "example.com/mod@v1.0.0")
	if _, err := run(t, j); err == nil || !strings.Contains(err.Error(), "named twice") {
		t.Error(err)
	}
	j = job(t, "example.com/mod")
	j.Out = filepath.Dir(j.Out)
	if _, err := run(t, j); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Error(err)
	}
	j.Out = filepath.Join(j.Out, "none", "edge")
	if _, err := run(t, j); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if os.Getuid() != 0 { // root may write anywhere
		j.Out = "/edge"
		if _, err := run(t, j); !errors.Is(err, fs.ErrPermission) {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := job(t, "example.com/mod").Run(ctx); err == nil {
		t.Error("a context that has ended builds")
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := run(t, job(t, "example.com/mod")); !errors.Is(err, ErrNoGo) ||
		!strings.Contains(err.Error(), "https://go.dev/dl") {
		t.Error(err)
	}
}

func TestChooseEdge(t *testing.T) {
	const pseudo = "v0.0.0-20260102030405-0123456789ab"
	for _, c := range []struct {
		version, spec string
		want          string // "": an error
	}{
		{"1.2.0", "", "v1.2.0"},
		{"v1.3.0-rc.1", "", "v1.3.0-rc.1"},
		{pseudo, "", pseudo},
		{"1.3.0-dev", "", ""}, // of make build: the module proxy may not have its commit
		{"v1.2.0-14-g0123456", "", ""},
		{"v1.2.0-dirty", "", ""},
		{"v1.2.0+dirty", "", ""},
		{"84c7428f", "", ""},
		{"dev-0123456789ab", "", ""},
		{"dev", "", ""},
		{"dev", Edge + "@v1.4.0", "v1.4.0"},
		{"1.2.0", Edge, "latest"},
		{"1.2.0", Edge + "=/src", ""},
		{"1.2.0", Edge + "@v1.4.0=/src", "v1.4.0"},
	} {
		j := &Job{Version: c.version}
		if c.spec != "" {
			m, err := Parse(c.spec, "/")
			testutil.Must(t, err)
			j.Modules = []Module{m}
		}
		w := &work{job: j}
		err := w.chooseEdge()
		if development := c.want == "" && c.spec == ""; errors.Is(err, ErrDevelopment) != development {
			t.Errorf("%+v: %v", c, err)
		}
		if w.edge.Version != c.want {
			t.Errorf("%+v: %+v, %v", c, w.edge, err)
		}
	}
}

func TestPanicIn(t *testing.T) {
	const stack = "goroutine 1 [running]:\n" +
		"panic({0x1?, 0x2?})\n\t/usr/local/go/src/runtime/panic.go:860 +0x13a\n" +
		Edge + "/filter.Register[...](...)\n\t/src/edge/filter/filter.go:30\n" +
		"example.com/mod/sub.init.0()\n\texample.com/mod@v1.0.0/sub/a.go:7 +0x2f\n"
	const at = "\n  in example.com/mod/sub.init.0, example.com/mod@v1.0.0/sub/a.go:7"
	for out, want := range map[string]string{
		"":                              "",
		"edge: wrong\n":                 "",
		"panic: two\nlines\n\n" + stack: "panic: two\n  lines" + at,
		"log\npanic: a [recovered]\n\tpanic: b\n\n" + stack: "panic: a [recovered]\n  \tpanic: b" + at,
		"panic: cut": "panic: cut",
		"panic: x\n\ngoroutine 1 [running]:\nmain.init()\n\t/x.go:1\n": "panic: x",
	} {
		if got, ok := panicIn(out); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", out, got, ok)
		}
	}
}

func TestFirstLines(t *testing.T) {
	long := strings.Repeat("a line\n", linesShown+5)
	if got := firstLines(long); strings.Count(got, "\n") != linesShown || !strings.HasSuffix(got, "… 5 more lines") {
		t.Errorf("%q", got)
	}
	if got := firstLines(strings.Repeat("x", 3*bytesShown)); len(got) > bytesShown {
		t.Errorf("%d bytes", len(got))
	}
	if got := firstLines(" a\nb \n"); got != "a\n  b" {
		t.Errorf("%q", got)
	}
}
