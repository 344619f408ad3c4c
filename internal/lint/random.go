package lint

import (
	"go/ast"
	"go/token"
)

// randomHomes have peers in tests and measurements alone.
var randomHomes = []string{"bench", "internal/test"}

// checkRandom: a peer cannot predict the numbers that it is shown (RFC 9000 §21.4). Files with numbers that are not of
// crypto/rand stand in allow.txt, each with the use of its numbers.
func checkRandom(s *source, report report) {
	if s.test || s.under(randomHomes...) {
		return
	}
	for _, i := range s.ast.Imports {
		if p := i.Path.Value; p == `"math/rand"` || p == `"math/rand/v2"` {
			report(s.line(i.Pos()), "", "numbers of %s: allow.txt says what they are for", p)
		}
	}
	s.inFuncs(func(n ast.Node, in string) {
		if isShiftedXor(n) {
			report(s.line(n.Pos()), in, "%s is a generator whose numbers tell its state", in)
		}
	})
}

// isShiftedXor reports whether n is x ^= x << a, the first step of a xorshift generator.
func isShiftedXor(n ast.Node) bool {
	a, ok := n.(*ast.AssignStmt)
	if !ok || a.Tok != token.XOR_ASSIGN {
		return false
	}
	shift, ok := ast.Unparen(a.Rhs[0]).(*ast.BinaryExpr)
	return ok && shift.Op == token.SHL && sameExpr(a.Lhs[0], shift.X)
}

// sameExpr reports whether a and b are the same variable or field.
func sameExpr(a, b ast.Expr) bool {
	switch a := a.(type) {
	case *ast.Ident:
		b, ok := b.(*ast.Ident)
		return ok && a.Name == b.Name
	case *ast.StarExpr:
		b, ok := b.(*ast.StarExpr)
		return ok && sameExpr(a.X, b.X)
	case *ast.SelectorExpr:
		b, ok := b.(*ast.SelectorExpr)
		return ok && a.Sel.Name == b.Sel.Name && sameExpr(a.X, b.X)
	}
	return false
}
