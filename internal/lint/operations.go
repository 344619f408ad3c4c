package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
)

// Beyond these a type is two types.
const (
	typeOperationsMax = 100
	typeFieldsMax     = 40
)

// structType is a struct that a file without tests declares.
type structType struct {
	in   *source
	name *ast.Ident
	*ast.StructType
}

// tooMany is a finding about a struct with more than most of the parts that are called kind.
func (t structType) tooMany(n, most int, kind string) []finding {
	if n <= most {
		return nil
	}
	return []finding{{path: t.in.path, line: t.in.line(t.name.Pos()), symbol: t.name.Name,
		says: fmt.Sprintf("%s has %d %s, %d are allowed: which is the second idea?", t.name.Name, n, kind, most)}}
}

// checkOperations counts the operations of each struct, without tests: its methods, and the functions and methods of
// other types of its package that take a pointer to it first. A method that becomes a function is still an operation.
// An operation that several builds have counts once.
func checkOperations(t *tree) (found []finding) {
	types, seen, n := t.structs(), map[string]bool{}, map[string]int{}
	for _, s := range t.sources {
		for _, decl := range s.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || s.test {
				continue
			}
			of, name := []string{""}, fn.Name.Name
			if fn.Recv != nil && len(fn.Recv.List) > 0 {
				of[0] = path.Join(s.dir, typeName(fn.Recv.List[0].Type))
				name = of[0] + "." + name
			}
			if list := fn.Type.Params.List; len(list) > 0 {
				if star, ok := list[0].Type.(*ast.StarExpr); ok {
					of = append(of, path.Join(s.dir, typeName(star.X)))
				}
			}
			for _, typ := range of {
				if op := typ + " " + name; types[typ].in != nil && !seen[op] {
					seen[op] = true
					n[typ]++
				}
			}
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(types)) {
		found = append(found, types[typ].tooMany(n[typ], typeOperationsMax, "operations")...)
	}
	return found
}

// checkFields counts the fields of each struct, with the fields of the structs of its package that it embeds.
func checkFields(t *tree) (found []finding) {
	types := t.structs()
	var fields func(typ string) int
	fields = func(typ string) (n int) {
		for _, f := range types[typ].Fields.List {
			embedded := path.Join(path.Dir(typ), typeName(f.Type))
			if _, own := f.Type.(*ast.Ident); own && len(f.Names) == 0 && types[embedded].in != nil {
				n += fields(embedded)
				continue
			}
			n += max(len(f.Names), 1)
		}
		return n
	}
	for _, typ := range slices.Sorted(maps.Keys(types)) {
		found = append(found, types[typ].tooMany(fields(typ), typeFieldsMax, "fields")...)
	}
	return found
}

// structs returns the structs of the tree, without tests, by their paths.
func (t *tree) structs() map[string]structType {
	types := map[string]structType{}
	for _, s := range t.sources {
		if s.test {
			continue
		}
		for _, decl := range s.ast.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range gen.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					if typ, ok := spec.Type.(*ast.StructType); ok {
						types[path.Join(s.dir, spec.Name.Name)] = structType{s, spec.Name, typ}
					}
				}
			}
		}
	}
	return types
}
