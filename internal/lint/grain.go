package lint

import (
	"go/ast"
	"maps"
	"slices"
)

// countAgainst counts the pairs of a package's files (A, B), without tests, in which A uses a name that B declares
// although B stands above A, once the files are put in an order in which few pairs do.
func countAgainst(t *tree) map[string]int {
	byDir, n := map[string][]*source{}, map[string]int{}
	for _, s := range t.sources {
		if !s.test {
			byDir[s.dir] = append(byDir[s.dir], s)
		}
	}
	for dir, files := range byDir {
		n[dir] = against(uses(files))
	}
	return n
}

// uses returns for each file the others of its package that declare a name which it uses: functions, types, variables,
// constants, and methods and fields that no other package can have, where one file alone has that name.
func uses(files []*source) map[string]map[string]bool {
	declared := map[string]string{} // name: file; methods and fields after a dot; "" where several files have it
	declare := func(s *source, name string) {
		if at, ok := declared[name]; ok && at != s.path {
			declared[name] = ""
			return
		}
		declared[name] = s.path
	}
	for _, s := range files {
		for _, decl := range s.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv != nil {
				declare(s, "."+fn.Name.Name)
			}
		}
		for name := range s.ast.Scope.Objects {
			declare(s, name)
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if st, ok := n.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					for _, name := range f.Names {
						declare(s, "."+name.Name)
					}
				}
			}
			return true
		})
	}
	used := map[string]map[string]bool{}
	for _, s := range files {
		mine := map[string]bool{}
		use := func(name string) {
			if at := declared[name]; at != "" && at != s.path {
				mine[at] = true
			}
		}
		for _, id := range s.ast.Unresolved {
			use(id.Name)
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && !sel.Sel.IsExported() {
				use("." + sel.Sel.Name)
			}
			return true
		})
		used[s.path] = mine
	}
	return used
}

// against puts files in an order in which few pairs run up, and counts those that do. It takes away what uses nothing
// or is not used as long as there is such a file, then the file that uses most more than it is used (Eades, Lin and
// Smyth, "A fast and effective heuristic for the feedback arc set problem", 1993).
func against(uses map[string]map[string]bool) (up int) {
	left := slices.Sorted(maps.Keys(uses))
	for len(left) > 0 {
		best, bestBy, bestIn := 0, -1, 0
		for i, f := range left {
			out, in := 0, 0
			for _, g := range left {
				out += one(uses[f][g])
				in += one(uses[g][f])
			}
			by := out - in + len(uses)
			if out == 0 || in == 0 {
				by, in = 3*len(uses), 0
			}
			if by > bestBy {
				best, bestBy, bestIn = i, by, in
			}
		}
		up += bestIn // what is left uses it, and will stand below it
		left = slices.Delete(left, best, best+1)
	}
	return up
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
