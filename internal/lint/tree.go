package lint

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// module is the path that every import of our own starts with.
const module = "github.com/edge-proxy/edge"

// report adds a finding about a line of a source. symbol is the name that allow.txt may have for it.
type report func(line int, symbol, format string, args ...any)

// finding is one breach of one rule.
type finding struct {
	rule   string
	path   string // from the root of the module, with slashes
	line   int
	symbol string // what an exception may name: a function, an import, a word
	says   string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.path, f.line, f.rule, f.says) }

// source is one Go file. immutable after parseSource.
type source struct {
	path    string // from the root, with slashes
	dir     string // its package: the directory of path, "." for the root
	text    []byte
	fset    *token.FileSet
	ast     *ast.File
	test    bool              // _test.go
	imports map[string]string // name in this file -> import path
}

// tree is the module as it lies on disk. immutable after readTree.
type tree struct {
	root    string
	sources []*source
	texts   map[string][]byte // every other text file, by path
	broken  []finding         // Go files that do not parse
}

// loadTree reads and parses the module once for all rules.
var loadTree = sync.OnceValues(func() (*tree, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	return readTree(root)
})

func readTree(root string) (*tree, error) {
	t := &tree{root: root, texts: map[string][]byte{}}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // a temporary file of another process
			}
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if skipDir(rel) {
				return filepath.SkipDir
			}
			return nil
		}
		return t.read(rel, d)
	})
	return t, err
}

func skipDir(rel string) bool {
	switch base := path.Base(rel); {
	case rel == ".", rel == ".ci", rel == ".github":
		return false
	case rel == "bin", rel == "dist", base == "testdata", base == "node_modules":
		return true
	default:
		return strings.HasPrefix(base, ".")
	}
}

func (t *tree) read(rel string, d fs.DirEntry) error {
	if !d.Type().IsRegular() || rel == ".git" { // in a worktree of git it is a file with a path of its machine
		return nil
	}
	text, err := os.ReadFile(filepath.Join(t.root, filepath.FromSlash(rel)))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !strings.HasSuffix(rel, ".go") {
		if isText(rel, text) {
			t.texts[rel] = text
		}
		return nil
	}
	t.add(rel, text)
	return nil
}

// add parses one Go file. A file that does not parse is a finding, and the others are still checked.
func (t *tree) add(rel string, text []byte) {
	s, err := parseSource(rel, text)
	if err != nil {
		t.broken = append(t.broken, finding{path: rel, line: 1, says: err.Error()})
		return
	}
	t.sources = append(t.sources, s)
}

// isText leaves out what git ignores here and what is not text.
func isText(rel string, text []byte) bool {
	switch path.Ext(rel) {
	case ".out", ".pprof", ".test":
		return false
	}
	return bytes.IndexByte(text, 0) < 0
}

func parseSource(rel string, text []byte) (*source, error) {
	s := &source{
		path: rel, dir: path.Dir(rel), text: text,
		fset: token.NewFileSet(), test: strings.HasSuffix(rel, "_test.go"),
		imports: map[string]string{},
	}
	file, err := parser.ParseFile(s.fset, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s.ast = file
	for _, spec := range file.Imports {
		p := importPath(spec)
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		s.imports[name] = p
	}
	return s, nil
}

func importPath(spec *ast.ImportSpec) string { return strings.Trim(spec.Path.Value, `"`) }

func (s *source) line(pos token.Pos) int { return s.fset.Position(pos).Line }

// under reports whether the file belongs to one of the packages, or lies below one of them.
func (s *source) under(dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return within(s.dir, d) })
}

func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

// selected returns the import path and the name when n is pkg.Name, a package's member.
func (s *source) selected(n ast.Node) (pkg, name string, ok bool) {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", "", false
	}
	pkg, ok = s.imports[id.Name]
	return pkg, sel.Sel.Name, ok
}

// inFuncs calls visit for every node, with the name of the top-level function around it.
func (s *source) inFuncs(visit func(n ast.Node, within string)) {
	for _, decl := range s.ast.Decls {
		name := ""
		if fn, ok := decl.(*ast.FuncDecl); ok {
			name = funcName(fn)
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			if n != nil {
				visit(n, name)
			}
			return true
		})
	}
}

// funcName writes a function as Name, a method as T.Name or (*T).Name.
func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	typ, format := fn.Recv.List[0].Type, "%s.%s"
	if star, ok := typ.(*ast.StarExpr); ok {
		typ, format = star.X, "(*%s).%s"
	}
	return fmt.Sprintf(format, typeName(typ), fn.Name.Name)
}

// typeName returns the name of a receiver's type without its type parameters.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	}
	return "?"
}

// eachLine calls visit with every line of text and its number.
func eachLine(text []byte, visit func(n int, line string)) {
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, len(text)+1)
	for n := 1; in.Scan(); n++ {
		visit(n, in.Text())
	}
}
