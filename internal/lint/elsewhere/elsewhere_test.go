package elsewhere

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// listed is what go list says of a package, or of one together with its tests, whose path then ends in " [a.test]".
type listed struct {
	ImportPath string
	ForTest    string
	Dir        string
	GoFiles    []string
	ImportMap  map[string]string
	Deps       []string
	Standard   bool
	DepOnly    bool
	Module     *struct{ GoVersion string }
}

// elsewhere type-checks packages for another system than that of the test. It reads what they import from its source,
// without the bodies of functions. Owned by one test.
type elsewhere struct {
	os, arch string
	fset     *token.FileSet
	standard map[string]*types.Package // by path, for all modules
	loaded   map[string]*types.Package // by path, for the module that is checked
	listed   map[string]*listed
	whole    map[string]bool // the paths of packages that are checked with their bodies
	faults   []string
}

func newElsewhere(os, arch string) *elsewhere {
	return &elsewhere{os: os, arch: arch, fset: token.NewFileSet(),
		standard: map[string]*types.Package{"unsafe": types.Unsafe}}
}

// Each module has the right types on arm64, and what is portable has them on darwin: tests included. A build for them
// takes a minute of each processor; make others has it, with all that go vet checks.
func TestTypes(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // a third of the time was the collector's
	for _, c := range []struct {
		os, arch string
		modules  []string
		wanted   func(p *listed) bool
	}{
		{"linux", "arm64", []string{".", "bench", "cmd/edge-bench", "examples/plugin", "internal/test/interop",
			"internal/test/outside", "packaging/dist"}, func(*listed) bool { return true }},
		{"darwin", "amd64", []string{"."}, portable},
	} {
		t.Run(c.os+" "+c.arch, func(t *testing.T) {
			e := newElsewhere(c.os, c.arch)
			for _, dir := range c.modules {
				n, err := e.check(filepath.Join("..", "..", "..", dir), c.wanted)
				if n == 0 || err != nil {
					t.Errorf("%s: %d packages, %v", dir, n, err)
				}
			}
			for _, fault := range e.faults {
				t.Error(fault)
			}
		})
	}
}

// A wrong type is found in a file that only the other system has, in a function's body, and in tests.
func TestTypes_fires(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":              "module example.com/a\n\ngo 1.26.0\n",
		"a.go":                "package a\nfunc F() int { return f() }\n",
		"a_linux.go":          "package a\nfunc f() int { return 1 }\n",
		"a_darwin.go":         "package a\nimport \"os\"\nfunc f() int { return os.Args }\n",
		"in_darwin_test.go":   "package a\nvar _ string = f()\n",
		"from_darwin_test.go": "package a_test\nimport \"example.com/a\"\nvar _ bool = a.F()\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for system, want := range map[string][]string{
		"linux": nil, "darwin": {"a_darwin.go:3", "from_darwin_test.go:3", "in_darwin_test.go:2"},
	} {
		e := newElsewhere(system, "arm64")
		if n, err := e.check(dir, portable); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		var got []string
		for _, fault := range e.faults {
			file, rest, _ := strings.Cut(filepath.Base(fault), ":")
			line, _, _ := strings.Cut(rest, ":")
			got = append(got, file+":"+line)
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q; %q", system, got, want, e.faults)
		}
	}
}

// portable reports whether a package knows no descriptor: it is for every system that Go has.
func portable(p *listed) bool {
	for _, path := range append(p.Deps, p.ImportPath) {
		if strings.HasPrefix(path, "github.com/edge-proxy/edge/poller") || path == "golang.org/x/sys/unix" {
			return false
		}
	}
	for part := range strings.SplitSeq(p.ImportPath, "/") {
		if part == "internal" || part == "examples" || part == "cmd" {
			return false
		}
	}
	return true
}

// check checks the wanted packages of the module in dir with their tests, and returns how many packages that were.
func (e *elsewhere) check(dir string, wanted func(p *listed) bool) (checked int, err error) {
	list := exec.Command("go", "list", "-deps", "-test",
		"-json=ImportPath,ForTest,Dir,GoFiles,ImportMap,Deps,Standard,DepOnly,Module", "./...")
	list.Dir = dir
	list.Env = append(os.Environ(), "GOOS="+e.os, "GOARCH="+e.arch, "CGO_ENABLED=0")
	out, err := list.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := list.Start(); err != nil {
		return 0, err
	}
	e.listed, e.whole, e.loaded = map[string]*listed{}, map[string]bool{}, map[string]*types.Package{}
	for d := json.NewDecoder(out); ; {
		p := new(listed)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, err
		}
		e.listed[p.ImportPath] = p
		if !p.DepOnly && p.ForTest == "" && !strings.HasSuffix(p.ImportPath, ".test") && wanted(p) {
			e.whole[p.ImportPath] = true
			checked++
		}
	}
	if err := list.Wait(); err != nil {
		return 0, fmt.Errorf("go list: %w", err)
	}
	for path, p := range e.listed {
		own, _, _ := strings.Cut(path, " ")
		if p.ForTest != "" && e.whole[p.ForTest] && (own == p.ForTest || own == p.ForTest+"_test") {
			e.whole[path] = true
		}
	}
	for path := range e.whole {
		if _, err := e.load(path); err != nil {
			return 0, err
		}
	}
	return checked, nil
}

// load checks one package after those that it imports. What is wrong with it is one of the faults; an error is returned
// for a package that cannot be read.
func (e *elsewhere) load(path string) (*types.Package, error) {
	if pkg := e.standard[path]; pkg != nil {
		return pkg, nil
	}
	if pkg := e.loaded[path]; pkg != nil {
		return pkg, nil
	}
	p := e.listed[path]
	if p == nil {
		return nil, fmt.Errorf("go list does not have %s", path)
	}
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(e.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	var err error
	conf := types.Config{
		IgnoreFuncBodies: !e.whole[path],
		Sizes:            types.SizesFor("gc", e.arch),
		Importer: importing(func(imported string) (pkg *types.Package, failed error) {
			if other := p.ImportMap[imported]; other != "" {
				imported = other
			}
			pkg, failed = e.load(imported)
			err = errors.Join(err, failed)
			return pkg, failed
		}),
		Error: func(fault error) { e.faults = append(e.faults, fault.Error()) },
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	own, _, _ := strings.Cut(path, " ")
	pkg, _ := conf.Check(own, e.fset, files, nil) // what it returns is the first of the faults
	if p.Standard {
		e.standard[path] = pkg
	} else {
		e.loaded[path] = pkg
	}
	return pkg, err
}

// importing is a function as a types.Importer.
type importing func(path string) (*types.Package, error)

func (f importing) Import(path string) (*types.Package, error) { return f(path) }
