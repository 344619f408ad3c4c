package lint

import (
	"fmt"
	"go/ast"
)

// goHomes are packages that may start goroutines as they like. Everywhere else a goroutine is an
// event: allow.txt lists the functions that start one, each with the reason why it ends.
var goHomes = []string{"cmd", "bench", "examples", "internal/testutil", "internal/sim"}

// checkGo: reactor code has no goroutines; the few places that have are listed.
func checkGo(s *source) []finding {
	if s.test || s.under(goHomes...) {
		return nil
	}
	var found []finding
	s.inFuncs(func(n ast.Node, in string) {
		if _, ok := n.(*ast.GoStmt); ok {
			found = append(found, finding{path: s.path, line: s.line(n.Pos()), symbol: in,
				says: fmt.Sprintf("%s starts a goroutine and is not in allow.txt", in)})
		}
	})
	return found
}
