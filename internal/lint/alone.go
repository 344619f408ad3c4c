package lint

import (
	"fmt"
	"slices"
	"strings"
)

// alone are the packages that programs import without the rest, with our packages that each may import. All of them
// import nothing else but the standard library, on each system, in each build: docs/adr/0011.
var alone = map[string][]string{
	"timerwheel": nil,
	"pool":       nil,
	"limits":     nil,
	"ketama":     nil,
	"tinyufo":    {"timerwheel"},
}

// checkAlone: a package that is used alone brings nothing along. Its tests are free: an importer has none of them.
func checkAlone(s *source) []finding {
	name, _, _ := strings.Cut(s.dir, "/")
	ours, listed := alone[name]
	if !listed || s.test {
		return nil
	}
	var found []finding
	for _, spec := range s.ast.Imports {
		p := importPath(spec)
		to, own := strings.CutPrefix(p, module+"/")
		root, _, _ := strings.Cut(to, "/")
		if own && (within(to, name) || slices.Contains(ours, root)) || inStandardLibrary(p) {
			continue
		}
		found = append(found, finding{path: s.path, line: s.line(spec.Pos()), symbol: to,
			says: fmt.Sprintf("%s imports %s: it is used alone, with the standard library only", s.dir, to)})
	}
	return found
}

// inStandardLibrary reports whether an import path begins with no domain. Cgo would ask for a C compiler.
func inStandardLibrary(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".") && p != "C"
}
