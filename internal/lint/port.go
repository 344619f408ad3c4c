package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// fixedPort is an address of this machine with a port that another process may hold.
var fixedPort = regexp.MustCompile(`^"(localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[::1?\])?:([1-9]\d{3,4})"$`)

// checkPort: a test listens on port 0 and dials what it was given. Only arguments of calls named
// Listen… and Dial… count, since tests of a parser may write any address, and the simulated
// kernel has all ports to itself.
func checkPort(s *source) []finding {
	if !s.test || s.imports["sim"] == module+"/internal/sim" || s.under("internal/sim") {
		return nil
	}
	var found []finding
	s.inFuncs(func(n ast.Node, in string) {
		call, ok := n.(*ast.CallExpr)
		if !ok || !opensSocket(call) {
			return
		}
		for _, arg := range call.Args {
			ast.Inspect(arg, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if ok && lit.Kind == token.STRING && fixedPort.MatchString(lit.Value) {
					found = append(found, finding{path: s.path, line: s.line(lit.Pos()), symbol: in,
						says: fmt.Sprintf("fixed port %s: listen on port 0", lit.Value)})
				}
				_, nested := n.(*ast.CallExpr)
				return !nested || !opensSocket(n.(*ast.CallExpr))
			})
		}
	})
	return found
}

func opensSocket(call *ast.CallExpr) bool {
	name := ""
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		name = fn.Name
	case *ast.SelectorExpr:
		name = fn.Sel.Name
	}
	return strings.HasPrefix(name, "Listen") || strings.HasPrefix(name, "Dial")
}
