package lint

import (
	"go/ast"
	"path"
)

// Beyond these a type is two types.
const (
	typeOperationsMax = 100
	typeFieldsMax     = 40
)

// countOperations counts the operations of each struct, without tests: its methods, and the functions and methods of
// other types of its package that take a pointer to it first. A method that becomes a function is still an operation.
// What several builds have counts once.
func countOperations(t *tree) map[string]int {
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
				if op := typ + " " + name; types[typ] != nil && !seen[op] {
					seen[op] = true
					n[typ]++
				}
			}
		}
	}
	return n
}

// countFields counts the fields of each struct, with the fields of the structs of its package that it embeds.
func countFields(t *tree) map[string]int {
	types, n := t.structs(), map[string]int{}
	var fields func(typ string) int
	fields = func(typ string) (n int) {
		for _, f := range types[typ].Fields.List {
			embedded := path.Join(path.Dir(typ), typeName(f.Type))
			if _, own := f.Type.(*ast.Ident); own && len(f.Names) == 0 && types[embedded] != nil {
				n += fields(embedded)
				continue
			}
			n += max(len(f.Names), 1)
		}
		return n
	}
	for typ := range types {
		n[typ] = fields(typ)
	}
	return n
}

// structs returns the structs of the tree, without tests, by their paths.
func (t *tree) structs() map[string]*ast.StructType {
	types := map[string]*ast.StructType{}
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
						types[path.Join(s.dir, spec.Name.Name)] = typ
					}
				}
			}
		}
	}
	return types
}
