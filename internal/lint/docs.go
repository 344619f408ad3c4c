package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// A package says what it is in this many lines.
const (
	docLinesMin = 15
	docLinesMax = 60
)

// checkDoc: every exported function, method, type, constant, variable and interface method has a
// doc comment. A group of constants may have one together.
func checkDoc(s *source, report report) {
	if s.test || s.ast.Name.Name == "main" {
		return
	}
	missing := func(id *ast.Ident, name string) {
		report(s.line(id.Pos()), name, "%s is exported and has no doc comment", name)
	}
	for _, decl := range s.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
				missing(d.Name, funcName(d))
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				undocumented(d, spec, missing)
			}
		}
	}
}

func exportedReceiver(fn *ast.FuncDecl) bool {
	return fn.Recv == nil || len(fn.Recv.List) == 0 || ast.IsExported(typeName(fn.Recv.List[0].Type))
}

func undocumented(d *ast.GenDecl, spec ast.Spec, missing func(*ast.Ident, string)) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return
		}
		if d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
			missing(spec.Name, spec.Name.Name)
		}
		if face, ok := spec.Type.(*ast.InterfaceType); ok {
			for _, m := range face.Methods.List {
				for _, id := range m.Names {
					if id.IsExported() && m.Doc == nil && m.Comment == nil {
						missing(id, spec.Name.Name+"."+id.Name)
					}
				}
			}
		}
	case *ast.ValueSpec:
		for _, id := range spec.Names {
			if id.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
				missing(id, id.Name)
			}
		}
	}
}

// checkPackageDoc: every package has a doc comment, and an imported package has it in doc.go, long enough to explain
// the life cycle, the threads and the limits, and short enough to be read.
func checkPackageDoc(t *tree) []finding {
	packages := map[string][]*source{}
	for _, s := range t.sources {
		if !s.test {
			packages[s.dir] = append(packages[s.dir], s)
		}
	}
	var found []finding
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		if f, ok := packageDoc(dir, packages[dir]); !ok {
			found = append(found, f)
		}
	}
	return found
}

func packageDoc(dir string, files []*source) (finding, bool) {
	first := files[0]
	var doc *source
	for _, s := range files {
		if s.ast.Doc != nil && (doc == nil || path.Base(s.path) == "doc.go") {
			doc = s
		}
	}
	f := finding{path: first.path, line: 1, symbol: dir}
	if doc == nil {
		f.says = "package " + first.ast.Name.Name + " has no doc comment"
		return f, false
	}
	if first.ast.Name.Name == "main" || first.under("internal", "bench", "examples") {
		return f, true
	}
	f.path = doc.path
	if path.Base(doc.path) != "doc.go" {
		f.says = "the package doc stands in doc.go"
		return f, false
	}
	if n := strings.Count(doc.ast.Doc.Text(), "\n"); n < docLinesMin || n > docLinesMax {
		f.says = fmt.Sprintf("the package doc has %d lines, want %d to %d", n, docLinesMin, docLinesMax)
		return f, false
	}
	return f, true
}
