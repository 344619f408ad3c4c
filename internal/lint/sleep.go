package lint

import "go/ast"

// checkSleep: a test waits for something, with a deadline, and never for a time to pass. In a
// bubble of testing/synctest Sleep only moves the fake clock. testutil names deadlines, since a busy machine is slow.
func checkSleep(s *source) []finding {
	if !(s.test || s.under("internal/testutil")) || s.imports["synctest"] == "testing/synctest" {
		return nil
	}
	var found []finding
	s.inFuncs(func(n ast.Node, in string) {
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 1 {
			within, _ := call.Args[1].(*ast.BinaryExpr)
			if _, name, _ := s.selected(call.Fun); name == "Eventually" && within != nil {
				if pkg, _, _ := s.selected(within.Y); pkg == "time" {
					found = append(found, finding{path: s.path, line: s.line(n.Pos()), symbol: in,
						says: "a deadline of its own: testutil.Patience, or Minutes where another process is awaited"})
				}
			}
		}
		if pkg, name, ok := s.selected(n); ok && pkg == "time" && name == "Sleep" {
			found = append(found, finding{path: s.path, line: s.line(n.Pos()), symbol: in,
				says: "time.Sleep in a test: poll with a deadline (testutil.Eventually) or use testing/synctest"})
		}
	})
	return found
}
