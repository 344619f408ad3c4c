package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge/assemble"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The real edge is built with a module of others, by a file and by flags, and does what it did before. It compiles for
// up to a minute, so EDGE_SOAK=1 asks for it; cmd/edge/assemble has all cases with an edge of a few lines.
func TestBuild(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("compiles for up to a minute: EDGE_SOAK=1 does")
	}
	dir := t.TempDir()
	plugin := filepath.Join(testutil.Root(t), "examples", "plugin")
	list := "# what we link\ngithub.com/edge-proxy/edge=" + testutil.Root(t) + "\nexample.com/tenant=" + plugin + "\n"
	putFile(t, filepath.Join(dir, "edge.build"), "%s", list)
	build := exec.Command(testutil.Binary(t, "./cmd/edge"), "build", "-o", "mine")
	build.Dir = dir
	out, err := build.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "filters: tenant\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	mine := filepath.Join(dir, "mine")
	for arg, want := range map[string]string{
		"modules": "example.com/tenant in " + plugin + "  Refuses tenants",
		"version": "linked with example.com/tenant in " + plugin,
	} {
		if out, err := exec.Command(mine, arg).CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, want %s in\n%s", err, want, out)
		}
	}
	text := textOf(t, filepath.Join(plugin, "edge.toml"))
	place := strings.NewReplacer(":8080", "127.0.0.1:0", "localhost:3000", origin(t))
	conf := write(t, "%s", place.Replace(text))
	p := testutil.Start(t, testutil.Command{Path: mine, Args: []string{"run", conf}, Dir: dir})
	url := "http://" + listens(p)
	c := client(t)
	for path, want := range map[string]int{"/": 200, "/api/": 403, "/api/?known": 404} { // the demo has no /api/
		var fields []string
		if strings.HasSuffix(path, "known") {
			fields = []string{"X-Tenant", "acme"}
		}
		if resp, _ := send(t, c, "GET", url+path, "", fields...); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	refused, err := exec.Command(testutil.Binary(t, "./cmd/edge"), "check", conf).CombinedOutput()
	if err == nil || !strings.Contains(string(refused), `unknown type "tenant"`) {
		t.Errorf("the edge that builds knows the type: %v\n%s", err, refused)
	}
}

// edge build copies Go files and embedded ones. A file of another kind would be missing in what it builds.
func TestBuild_copiesAllFiles(t *testing.T) {
	const kinds = "{{.CgoFiles}}{{.SFiles}}{{.HFiles}}{{.CFiles}}{{.SysoFiles}}{{.IgnoredOtherFiles}}"
	out, err := exec.Command("go", "list", "-f", kinds, ".").Output()
	if got := strings.NewReplacer("[", "", "]", "").Replace(strings.TrimSpace(string(out))); err != nil || got != "" {
		t.Errorf("%v: %s: have cmd/edge/assemble copy them", err, got)
	}
}

func TestBuild_commandLine(t *testing.T) {
	commands(t, "",
		command{"build", exitUsage, "edge build needs a module"},
		command{"build --file none", exitUsage, "open none: no such file"},
		command{"build --with tenant", exitUsage, `module "tenant": the first part`},
		command{"build example.com/tenant", exitUsage, "edge build takes no argument"},
		command{"build --replace a=b", exitUsage, "unknown flag: --replace"},
		command{"modules all", exitUsage, "edge modules takes no argument, go"},
		// This edge was built by a test: it does not know its version.
		command{"build --with example.com/tenant", exitError, "it is not known which edge to build"},
	)
	t.Setenv("GOPROXY", "off")
	commands(t, "", command{"build --with github.com/edge-proxy/edge@v1.2.0", exitError, "edge: edge build: go get: "})
	t.Setenv("PATH", t.TempDir())
	commands(t, "", command{"build --with example.com/tenant", exitError, "there is no Go toolchain"})
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
		Modules: []assemble.Linked{
			{Path: "example.com/a", Version: "v1.0.0", Types: map[string][]string{"filters": {"tenant"}}},
			{Path: "example.com/b", Dir: "../b"}},
		Types: []assemble.Type{
			{Kind: "filters", Name: "browser", Doc: "Is kind.", Module: "github.com/edge-proxy/edge"},
			{Kind: "filters", Name: "tenant", Doc: "Limits a tenant.", Module: "example.com/a"}},
	})
	want := `KIND     TYPE     MODULE                 DOES
filters  browser  edge 1.2.0             Is kind.
filters  tenant   example.com/a v1.0.0   Limits a tenant.
-        -        example.com/b in ../b  registers no type
`
	if err != nil || text.String() != want {
		t.Errorf("%v\n%s", err, text.String())
	}
}
