package lint

import (
	"go/ast"
	"strings"
)

// checkUnsafe: every function, type or variable that uses unsafe says in a SAFETY: comment why
// that is sound. The constants Sizeof, Alignof and Offsetof are harmless.
func checkUnsafe(s *source, report report) {
	if s.test || s.imports["unsafe"] == "" {
		return
	}
	for _, decl := range s.ast.Decls {
		reasoned := s.saysSafety(decl)
		in := declName(decl)
		ast.Inspect(decl, func(n ast.Node) bool {
			pkg, name, ok := s.selected(n)
			if !ok || pkg != "unsafe" || reasoned {
				return true
			}
			switch name {
			case "Sizeof", "Alignof", "Offsetof":
			default:
				report(s.line(n.Pos()), in, "unsafe.%s without a // SAFETY: line", name)
			}
			return true
		})
	}
}

// saysSafety reports whether a comment of the declaration, above or inside it, gives the reason.
func (s *source) saysSafety(decl ast.Decl) bool {
	from := decl.Pos()
	if doc := docOf(decl); doc != nil {
		from = doc.Pos()
	}
	for _, group := range s.ast.Comments {
		for _, c := range group.List {
			if c.Pos() >= from && c.Pos() <= decl.End() && strings.Contains(c.Text, "SAFETY:") {
				return true
			}
		}
	}
	return false
}

func docOf(decl ast.Decl) *ast.CommentGroup {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		return d.Doc
	case *ast.GenDecl:
		return d.Doc
	}
	return nil
}

func declName(decl ast.Decl) string {
	if fn, ok := decl.(*ast.FuncDecl); ok {
		return funcName(fn)
	}
	return ""
}
