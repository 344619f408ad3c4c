package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"unicode/utf8"
)

// Beyond these there is a second idea in it.
const (
	funcLinesMax   = 70
	fileLinesMax   = 600 // tests aside
	folderFilesMax = 26  // tests aside
	typeMethodsMax = 50  // tests aside
	lineColumnsMax = 120
	tabColumns     = 4
)

// checkFuncLength: a function has at most 70 lines, from func to the last brace. In a test the
// lines of composite literals do not count: a long table is still one idea.
func checkFuncLength(s *source) []finding {
	var found []finding
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
			found = append(found, finding{path: s.path, line: s.line(fn.Pos()), symbol: funcName(fn),
				says: fmt.Sprintf("%s has %d lines, %d are allowed", funcName(fn), lines, funcLinesMax)})
		}
	}
	return found
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
func checkFileLength(s *source) []finding {
	lines := bytes.Count(s.text, []byte("\n"))
	if s.test || lines <= fileLinesMax {
		return nil
	}
	return []finding{{path: s.path, line: fileLinesMax + 1,
		says: fmt.Sprintf("%d lines, %d are allowed", lines, fileLinesMax)}}
}

// checkLineLength: a line has at most 120 columns, a tab being 4.
func checkLineLength(s *source) []finding {
	var found []finding
	eachLine(s.text, func(n int, line string) {
		tabs := bytes.Count([]byte(line), []byte("\t"))
		if columns := utf8.RuneCountInString(line) + tabs*(tabColumns-1); columns > lineColumnsMax {
			found = append(found, finding{path: s.path, line: n,
				says: fmt.Sprintf("%d columns, %d are allowed", columns, lineColumnsMax)})
		}
	})
	return found
}

// checkFiles: a folder has at most 26 Go files.
func checkFiles(t *tree) []finding {
	files := map[string]int{}
	for _, s := range t.sources {
		if !s.test {
			files[s.dir]++
		}
	}
	var found []finding
	for _, dir := range slices.Sorted(maps.Keys(files)) {
		if files[dir] > folderFilesMax {
			found = append(found, finding{path: dir, line: 1, symbol: fmt.Sprint(files[dir]),
				says: fmt.Sprintf("%d files, %d are allowed", files[dir], folderFilesMax)})
		}
	}
	return found
}

// checkMethods: a type has at most 50 methods. A method that several builds have counts once. The symbol of a finding
// is type=methods: an exception holds for that number alone, so that it has to be lowered when the number falls.
func checkMethods(t *tree) []finding {
	methods := map[string]map[string]bool{} // by the path of the type
	for _, s := range t.sources {
		for _, decl := range s.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || s.test || fn.Recv == nil || len(fn.Recv.List) == 0 {
				continue
			}
			typ := path.Join(s.dir, typeName(fn.Recv.List[0].Type))
			if methods[typ] == nil {
				methods[typ] = map[string]bool{}
			}
			methods[typ][fn.Name.Name] = true
		}
	}
	var found []finding
	for _, typ := range slices.Sorted(maps.Keys(methods)) {
		if n := len(methods[typ]); n > typeMethodsMax {
			dir, name := path.Split(typ)
			found = append(found, finding{path: path.Clean(dir), line: 1, symbol: fmt.Sprintf("%s=%d", name, n),
				says: fmt.Sprintf("%s has %d methods, %d are allowed", name, n, typeMethodsMax)})
		}
	}
	return found
}
