package assemble

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The edge of these tests has the files that matter here and no more, so that it compiles in a second. A proxy of
// modules in a folder gives it out in two versions, and modules for it. TestBuild of cmd/edge builds the real one.
var (
	tinyEdge = map[string]string{
		"go.mod": "module " + Edge + "\n\ngo 1.26.0\n",
		"filter/filter.go": `package filter

var Names, Packages []string

func Register(name, from string) {
	for i, n := range Names {
		if n == name {
			panic("filter: two packages register " + name + ": " + Packages[i] + " and " + from)
		}
	}
	Names, Packages = append(Names, name), append(Packages, from)
}
`,
		"internal/base/build/build.go": "package build\n\nvar Version, Added, version, added string\n\n" +
			"func init() { Version, Added = version, added }\n",
		"cmd/edge/main.go": `package main

import (
	"os"

	"` + Edge + `/filter"
	"` + Edge + `/internal/base/build"
)

func main() {
	if os.Args[1] == "check" {
		os.Exit(0)
	}
	report := "{\"edge\":\"" + build.Version + "\",\"modules\":[{\"path\":\"" + build.Added +
		"\",\"types\":{\"filters\":["
	for i, n := range filter.Names {
		if i > 0 {
			report += ","
		}
		report += "\"" + n + "\""
	}
	os.Stdout.WriteString(report + "]}}]}")
}
`,
		"cmd/edge/main_test.go": "package main\n\nimport _ \"example.com/nowhere\"\n",
	}
	plugin = func(needs, body string) map[string]string {
		return map[string]string{
			"go.mod":    "module example.com/mod\n\ngo 1.26.0\n\nrequire " + needs + "\n",
			"plugin.go": "package mod\n\n" + body,
		}
	}
)

const (
	v120      = Edge + " v1.2.0"
	registers = "import \"" + Edge + "/filter\"\n\nfunc init() { filter.Register(\"tenant\", \"example.com/mod\") }\n"
)

// modules is a proxy of modules in a folder, and a cache of its own.
type modules struct{ dir string }

// newModules sets the environment of the go command to a new one, which has edge v1.2.0 and v1.9.0.
func newModules(t *testing.T) *modules {
	t.Helper()
	p := &modules{t.TempDir()}
	p.add(t, Edge, "v1.2.0", tinyEdge)
	later := maps.Clone(tinyEdge)
	later["later/later.go"] = "package later\n"
	p.add(t, Edge, "v1.9.0", later)
	for name, value := range map[string]string{
		"GOPROXY": "file://" + p.dir, "GOSUMDB": "off", "GOMODCACHE": t.TempDir(), "GOFLAGS": "-modcacherw",
		"GOTOOLCHAIN": "local", "GOPRIVATE": "", "GONOPROXY": "",
	} {
		t.Setenv(name, value)
	}
	return p
}

// add publishes a version of a module.
func (p *modules) add(t *testing.T, name, version string, files map[string]string) {
	t.Helper()
	dir := filepath.Join(p.dir, name, "@v")
	write(t, filepath.Join(dir, version+".info"), fmt.Sprintf(`{"Version":%q}`, version))
	write(t, filepath.Join(dir, version+".mod"), files["go.mod"])
	f, err := os.Create(filepath.Join(dir, version+".zip"))
	testutil.Must(t, err)
	z := zip.NewWriter(f)
	for file, text := range files {
		w, err := z.Create(name + "@" + version + "/" + file)
		testutil.Must(t, err)
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Must(t, z.Close(), f.Close())
	list, err := os.OpenFile(filepath.Join(dir, "list"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	testutil.Must(t, err)
	if _, err := fmt.Fprintln(list, version); err != nil || list.Close() != nil {
		t.Fatal(err)
	}
}

// folder writes files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

// job is one that builds modules with edge v1.2.0.
func job(t *testing.T, specs ...string) *Job {
	t.Helper()
	j := &Job{Version: "1.2.0", Out: filepath.Join(t.TempDir(), "edge")}
	for _, text := range specs {
		m, err := Parse(text, "/")
		testutil.Must(t, err)
		j.Modules = append(j.Modules, m)
	}
	return j
}

// run runs j and has nothing left over beside the file, nor in the folder for temporary files.
func run(t *testing.T, j *Job) (*Result, error) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Minutes)
	defer cancel()
	r, err := j.Run(ctx)
	left, globErr := filepath.Glob(filepath.Join(tmp, "*"))
	halves, alsoErr := filepath.Glob(filepath.Join(filepath.Dir(j.Out), ".*"))
	if len(left)+len(halves) > 0 || globErr != nil || alsoErr != nil {
		t.Errorf("left over: %q %q", left, halves)
	}
	return r, err
}

// A module from the proxy is linked in its latest version with the edge that runs, whose files are in the module cache.
func TestRun(t *testing.T) {
	p := newModules(t)
	p.add(t, "example.com/mod", "v1.0.0", plugin(v120, registers))
	p.add(t, "example.com/mod", "v1.1.0", plugin(v120, registers))
	j := job(t, "example.com/mod")
	write(t, j.Out, "an earlier program")
	r, err := run(t, j)
	testutil.Must(t, err)
	m := r.Modules[0]
	types := strings.Join(m.Types["filters"], " ")
	if len(r.Modules) != 1 || m.String() != "example.com/mod v1.1.0" || types != "tenant" ||
		r.Edge.String() != Edge+" v1.2.0" || !r.Started || !strings.HasPrefix(r.Go, "go1.") {
		t.Errorf("%+v", r)
	}
	st, err := os.Stat(j.Out)
	if err != nil || st.Size() != r.Size || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v, want %d bytes", st, err, r.Size)
	}
	out, err := exec.Command(j.Out, "modules").Output()
	want := `{"edge":"v1.2.0","modules":[{"path":"example.com/mod","types":{"filters":["tenant"]}}]}`
	if err != nil || string(out) != want {
		t.Errorf("the program says %s, %v", out, err)
	}
	again := job(t, "example.com/mod@v1.1.0", Edge+"@v1.2.0")
	if _, err := run(t, again); err != nil {
		t.Fatal(err)
	}
	one, err := os.ReadFile(j.Out)
	two, alsoErr := os.ReadFile(again.Out)
	if err != nil || alsoErr != nil || len(one) == 0 || !bytes.Equal(one, two) {
		t.Errorf("the same versions make other bytes: %d and %d, %v, %v", len(one), len(two), err, alsoErr)
	}
}

// A build that is ended leaves nothing, at whatever step.
func TestRun_ended(t *testing.T) {
	newModules(t)
	dir := "example.com/mod=" + folder(t, plugin(v120, registers))
	for _, step := range []string{"look up modules", "compile", "start it"} {
		j := job(t, dir)
		tmp := t.TempDir()
		t.Setenv("TMPDIR", tmp)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := errors.New("ended")
		j.Step = func(text string) {
			if text == step {
				cancel(ended)
			}
		}
		if _, err := j.Run(ctx); !errors.Is(err, ended) {
			t.Errorf("%s: %v", step, err)
		}
		for _, left := range []string{tmp, filepath.Dir(j.Out)} {
			if files, err := os.ReadDir(left); err != nil || len(files) > 0 {
				t.Errorf("%s: %v, %v", step, files, err)
			}
		}
	}
}

// A program for another system is built and not started. The standard library is compiled for it.
func TestRun_forAnotherSystem(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("compiles the standard library: EDGE_SOAK=1 does")
	}
	newModules(t)
	t.Setenv("GOOS", "linux")
	t.Setenv("GOARCH", "riscv64")
	j := job(t, "example.com/mod="+folder(t, plugin(v120, "func init() { panic(1) }\n")))
	r, err := j.Run(t.Context())
	if err != nil || r.Started || r.Target != "linux/riscv64" {
		t.Fatalf("%+v, %v", r, err)
	}
	if st, err := os.Stat(j.Out); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", st, err)
	}
}
