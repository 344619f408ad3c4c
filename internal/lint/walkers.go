package lint

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// invariantLine is an indented line of a comment that states what always holds.
var invariantLine = regexp.MustCompile(`^(\t|   ).* (=>|<=>|==|<=) `)

// checkWalkers: where the comment of a type states an invariant, its package has a walker, tests included: a function
// whose name begins with "check", and which has the type as its receiver or a parameter, or names it in its comment.
func checkWalkers(t *tree) []finding {
	walked := map[string]map[string]bool{} // by package, by word
	for _, s := range t.sources {
		for _, d := range s.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(strings.ToLower(fn.Name.Name), "check") {
				continue
			}
			if walked[s.dir] == nil {
				walked[s.dir] = map[string]bool{}
			}
			for _, word := range wordsOf(fn) {
				walked[s.dir][word] = true
			}
		}
	}
	var found []finding
	for _, s := range t.sources {
		if s.test {
			continue
		}
		for spec, doc := range s.types {
			if name := spec.Name.Name; !walked[s.dir][name] &&
				slices.ContainsFunc(strings.Split(doc.Text(), "\n"), invariantLine.MatchString) {
				found = append(found, finding{path: s.path, line: s.line(spec.Pos()), symbol: name,
					says: fmt.Sprintf("the comment of %s states an invariant, and no function check… walks it", name)})
			}
		}
	}
	return found
}

// types goes through the types that s declares, each with its comment.
func (s *source) types(yield func(*ast.TypeSpec, *ast.CommentGroup) bool) {
	for _, d := range s.ast.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			one, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			doc := one.Doc
			if doc == nil {
				doc = group.Doc
			}
			if !yield(one, doc) {
				return
			}
		}
	}
}

// wordsOf returns the words by which a walker may tell what it walks.
func wordsOf(fn *ast.FuncDecl) []string {
	words := strings.FieldsFunc(fn.Doc.Text(), func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	for _, list := range []*ast.FieldList{fn.Recv, fn.Type.Params} {
		if list == nil {
			continue
		}
		for _, f := range list.List {
			ast.Inspect(f.Type, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					words = append(words, id.Name)
				}
				return true
			})
		}
	}
	return words
}
