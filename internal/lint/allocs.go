package lint

import "go/ast"

// checkAllocs: under the race detector a pool forgets at random what it was given, so a count of allocations that
// does not allow for that fails one run in many.
func checkAllocs(s *source) []finding {
	if s.under("internal/testutil") {
		return nil
	}
	var found []finding
	s.inFuncs(func(n ast.Node, in string) {
		if pkg, name, ok := s.selected(n); ok && pkg == "testing" && name == "AllocsPerRun" {
			found = append(found, finding{path: s.path, line: s.line(n.Pos()), symbol: in,
				says: "testing.AllocsPerRun: testutil.Allocs allows for the race detector"})
		}
	})
	return found
}
