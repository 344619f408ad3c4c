package lint

import (
	"go/ast"
	"testing"
)

func TestPublic(t *testing.T) { clean(t, "public") }

func TestPublic_fires(t *testing.T) {
	const example = "package x_test\nfunc Example() {}\n"
	fires(t, "public", files{"h1/a.go", "package h1", "h1/example_test.go", example, "attic/a.go", "package attic",
		"internal/attic/a.go", "package attic", "quic/internal/attic/a.go", "package attic", "h2/a.go", "package h2",
	}, "attic/a.go:1 attic", "h2/a.go:1 h2")
}

func TestOutsideView(t *testing.T) { clean(t, "outside-view") }

func TestOutsideView_fires(t *testing.T) {
	fires(t, "outside-view", files{
		"h1/example_test.go", "package h1_test\nimport \"" + module + "/internal/base/list\"\n",
		"internal/observe/example_test.go", "package observe_test\nimport \"" + module + "/internal/base/list\"\n",
	}, "h1/example_test.go:2 "+module+"/internal/base/list")
}

func TestPublic_names(t *testing.T) {
	tree, err := loadTree()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range tree.sources {
		if isPublic(s.dir) && !s.test {
			n += exportedNames(s.ast)
		}
	}
	if t.Logf("public packages export %d names", n); n > publicNamesMax {
		t.Errorf("%d are allowed: make private what no program of others needs", publicNamesMax)
	}
}

// exportedNames counts the functions, types, methods of exported types, variables and constants that f exports.
func exportedNames(f *ast.File) (n int) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) {
				n++
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						n++
					}
				case *ast.ValueSpec:
					for _, id := range spec.Names {
						if id.IsExported() {
							n++
						}
					}
				}
			}
		}
	}
	return n
}
