package lint

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestModules(t *testing.T) { clean(t, "modules") }

func TestModules_fires(t *testing.T) {
	fires(t, "modules", files{
		"proxy/a.go", "package proxy\nimport _ \"github.com/valyala/fasthttp\"\nimport _ \"net/http\"",
		"proxy/b.go", "package proxy\nimport _ \"example.com/surprise\"",
		"bench/a.go", "package bench\nimport _ \"github.com/valyala/fasthttp\"",
		"proxy/a_test.go", "package proxy\nimport _ \"github.com/valyala/fasthttp\"",
	}, "proxy/a.go:2 github.com/valyala/fasthttp", "proxy/b.go:2 example.com/surprise")
}

// What is linked is known to the go command, whichever way an import came in.
func TestModules_baselinesStayOutOfTheBinary(t *testing.T) {
	if _, err := os.Stat("../../cmd/edge"); err != nil {
		t.Skip("cmd/edge is not there")
	}
	out, err := exec.Command("go", "list", "-e", "-deps", module+"/cmd/edge").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		switch mod := moduleOf(p); {
		case mod != "" && len(moduleHomes[mod]) == 1 && moduleHomes[mod][0] == "bench":
			t.Errorf("edge links %s", p)
		case isTestOnly(strings.TrimPrefix(p, module+"/")):
			t.Errorf("edge links %s, which is for tests", p)
		}
	}
}

// requiredMax is how many modules the go.mod of a program requires that imports edge and nothing else, once it is tidy:
// edge, and what is linked or tested with it. Scanners list each of them, and somebody has to look at each.
const requiredMax = 4

func TestModules_requiredByAnImporter(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mod := filepath.Join(dir, "go.mod")
	text := fmt.Sprintf("module example.com/importer\n\ngo 1.26.0\n\nreplace %s => %s\n\nrequire %s v0.0.0\n", module,
		root, module)
	program := fmt.Sprintf("package main\n\nimport _ %q\n\nfunc main() {}\n", module)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err := errors.Join(err, os.WriteFile(mod, []byte(text), 0o600),
		os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600),
		os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600)); err != nil {
		t.Fatal(err)
	}
	tidy := exec.Command("go", "mod", "tidy", "-e") // tests of other modules may need some that are not here
	tidy.Dir = dir
	tidy.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := tidy.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	after, err := os.ReadFile(mod)
	if n := bytes.Count(after, []byte(" v")); err != nil || n > requiredMax {
		t.Errorf("%d modules, %d are allowed: %v\n%s", n, requiredMax, err, after)
	}
}

// README.md and docs/dependencies.md say how many modules of others a program links.
func TestModules_linked(t *testing.T) {
	words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
		"eleven", "twelve", "thirteen", "fourteen", "fifteen"}
	for pkg, pages := range map[string]map[string]string{
		module:               {"README.md": "edge links %s modules", "docs/dependencies.md": "edge\nlinks %s modules"},
		module + "/cmd/edge": {"docs/dependencies.md": "`edge` links %s modules"},
	} {
		all := linked(t, pkg)
		for page, text := range pages {
			got, err := os.ReadFile(filepath.Join("../..", page))
			if want := fmt.Sprintf(text, words[len(all)-1]); err != nil || !strings.Contains(string(got), want) {
				t.Errorf("%s does not say %q: %v, %s links %q", page, want, err, pkg, all)
			}
		}
	}
}

// Readers of configurations and of databases are for the binary: a program with a proxy and types of its own links none
// of them.
func TestModules_linkedByProxy(t *testing.T) {
	const compresses = "github.com/klauspost/compress" // of which a type of filters is made
	for _, pkg := range []string{module, module + "/internal/plugin", module + "/internal/filter/builtin"} {
		for _, linked := range linked(t, pkg) {
			if linked != module && !strings.HasPrefix(linked, "golang.org/x/") &&
				(linked != compresses || !strings.HasSuffix(pkg, "/builtin")) {
				t.Errorf("%s links %s", pkg, linked)
			}
		}
	}
	all, want := linked(t, module+"/proxy"), []string{module, "golang.org/x/crypto", "golang.org/x/sys"}
	if !slices.Equal(all, want) {
		t.Errorf("it links %q", all)
	}
}

// linked returns the modules that a package and its imports are of, in order.
func linked(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", pkg).Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(out)))))
}

func TestListed(t *testing.T) { clean(t, "listed") }

func TestListed_fires(t *testing.T) {
	fires(t, "listed", files{
		"go.mod", "module a\n\nrequire (\n\texample.com/a v1.0.0\n\texample.com/b/v2 v2.0.0\n" +
			"\texample.com/c v1.0.0 // indirect\n)\n",
		"bench/go.mod", "module b\n\nrequire example.com/d v1.0.0\nrequire " + module + " v0.0.0\n",
		"docs/dependencies.md", "| `example.com/a` | because |\n",
	}, "bench/go.mod:3 example.com/d", "go.mod:5 example.com/b/v2")
}
