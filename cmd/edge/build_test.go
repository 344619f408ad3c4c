package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/assemble"
	"github.com/edge-proxy/edge/internal/testutil"
)

// The real edge is built with a module of others, by a file and by flags, and does what it did before. It compiles for
// up to a minute, so EDGE_SOAK=1 asks for it; internal/assemble has all cases with an edge of a few lines.
func TestBuild(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("compiles for up to a minute: EDGE_SOAK=1 does")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"edge.build": "# what we link\ngithub.com/edge-proxy/edge=" + testutil.Root(t) + "\nexample.com/mod=./mod\n",
		"mod/go.mod": "module example.com/mod\n\ngo 1.26.0\n",
		"mod/mod.go": `package mod

import (
	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/proxy"
)

type Config struct{}

func init() { filter.Register("mine", "Does nothing.", New) }

func New(*Config, *filter.Build) (*proxy.Filter, error) { return &proxy.Filter{}, nil }
`,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command(testutil.Binary(t, "./cmd/edge"), "build", "-o", "mine")
	build.Dir = dir
	out, err := build.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "filters: mine\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	list, err := exec.Command(filepath.Join(dir, "mine"), "modules").CombinedOutput()
	if err != nil || !strings.Contains(string(list), "Does nothing.") {
		t.Errorf("%v\n%s", err, list)
	}
	version, err := exec.Command(filepath.Join(dir, "mine"), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(version), "linked with example.com/mod in "+filepath.Join(dir, "mod")) {
		t.Errorf("%v\n%s", err, version)
	}
}

func TestBuild_commandLine(t *testing.T) {
	for want, args := range map[string][]string{
		"edge build needs a module":          {"build"},
		"open none: no such file":            {"build", "--file", "none"},
		`module "tenant": the first part`:    {"build", "--with", "tenant"},
		"edge build takes no argument":       {"build", "example.com/tenant"},
		"unknown flag: --replace":            {"build", "--replace", "a=b"},
		"edge modules takes no argument, go": {"modules", "all"},
	} {
		if code, out := edge(t, args...); code != exitUsage || !strings.Contains(out, want) {
			t.Errorf("%q: exit code %d\n%s", args, code, out)
		}
	}
	// This edge was built by a test: it does not know its version.
	if code, out := edge(t, "build", "--with", "example.com/tenant"); code != exitError ||
		!strings.Contains(out, "it is not known which edge to build") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	t.Setenv("GOPROXY", "off")
	if code, out := edge(t, "build", "--with", "github.com/edge-proxy/edge@v1.2.0"); code != exitError ||
		!strings.Contains(out, "edge: edge build: go get: ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	t.Setenv("PATH", t.TempDir())
	if code, out := edge(t, "build", "--with", "example.com/tenant"); code != exitError ||
		!strings.Contains(out, "there is no Go toolchain") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestModules(t *testing.T) {
	code, out := edge(t, "modules", "--json")
	var r assemble.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || len(r.Modules) != 0 {
		t.Fatalf("exit code %d, %v\n%s", code, err, out)
	}
	code, out = edge(t, "modules")
	if lines := strings.Count(out, "\n"); code != 0 || lines != 1+len(r.Types) {
		t.Errorf("exit code %d, %d types\n%s", code, len(r.Types), out)
	}
	for _, typ := range r.Types {
		if typ.Module != "github.com/edge-proxy/edge" || !strings.Contains(out, typ.Doc) {
			t.Errorf("%+v in\n%s", typ, out)
		}
	}
}

// A module is shown with its version or folder and what it registers, and one that registers nothing too.
func TestModules_printed(t *testing.T) {
	var text strings.Builder
	err := printModules(&text, &assemble.Report{Edge: "1.2.0",
		Modules: []assemble.Linked{{Path: "example.com/a", Version: "v1.0.0", Types: []string{"tenant"}},
			{Path: "example.com/b", Dir: "../b"}},
		Types: []assemble.FilterType{{Name: "browser", Doc: "Is kind.", Module: "github.com/edge-proxy/edge"},
			{Name: "tenant", Doc: "Limits a tenant.", Module: "example.com/a"}},
	})
	want := `TYPE     MODULE                 DOES
browser  edge 1.2.0             Is kind.
tenant   example.com/a v1.0.0   Limits a tenant.
-        example.com/b in ../b  registers no type of filters
`
	if err != nil || text.String() != want {
		t.Errorf("%v\n%s", err, text.String())
	}
}
