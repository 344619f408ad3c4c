package lint

import (
	"bytes"
	"go/ast"
	"unicode/utf8"
)

// Beyond these there is a second idea in it.
const (
	funcLinesMax   = 70
	fileLinesMax   = 600 // tests aside
	lineColumnsMax = 120
	tabColumns     = 4
)

// checkFuncLength: a function has at most 70 lines, from func to the last brace. In a test the
// lines of composite literals do not count: a long table is still one idea.
func checkFuncLength(s *source, report report) {
	for _, decl := range s.ast.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := s.line(fn.End()) - s.line(fn.Pos()) + 1
		if s.test {
			lines -= s.tableLines(fn)
		}
		if lines > funcLinesMax {
			report(s.line(fn.Pos()), funcName(fn), "%s has %d lines, %d are allowed", funcName(fn), lines, funcLinesMax)
		}
	}
}

// tableLines counts the lines that the outermost composite literals of fn add.
func (s *source) tableLines(fn *ast.FuncDecl) int {
	lines := 0
	ast.Inspect(fn, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if ok {
			lines += s.line(lit.End()) - s.line(lit.Pos())
		}
		return !ok
	})
	return lines
}

// checkFileLength: a file has at most 600 lines.
func checkFileLength(s *source, report report) {
	lines := bytes.Count(s.text, []byte("\n"))
	if !s.test && lines > fileLinesMax {
		report(fileLinesMax+1, "", "%d lines, %d are allowed", lines, fileLinesMax)
	}
}

// checkLineLength: a line has at most 120 columns, a tab being 4.
func checkLineLength(s *source, report report) {
	eachLine(s.text, func(n int, line string) {
		tabs := bytes.Count([]byte(line), []byte("\t"))
		if columns := utf8.RuneCountInString(line) + tabs*(tabColumns-1); columns > lineColumnsMax {
			report(n, "", "%d columns, %d are allowed", columns, lineColumnsMax)
		}
	})
}
