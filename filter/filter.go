package filter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/edge-proxy/edge/proxy"
)

// Type is a registered type of filters. Immutable.
type Type struct {
	Name string
	Doc  string // one sentence

	make func(config any, b *Build) (*proxy.Filter, error)
}

// types are written by init functions alone.
var types = map[string]*Type{}

// Register adds a type of filters whose tables are decoded into a C, a struct. It is for init functions. A name that is
// taken panics.
func Register[C any](name, doc string, create func(c *C, b *Build) (*proxy.Filter, error)) {
	if types[name] != nil {
		panic(fmt.Sprintf("filter: there are two types %q", name))
	}
	types[name] = &Type{Name: name, Doc: doc, make: func(config any, b *Build) (*proxy.Filter, error) {
		return create(config.(*C), b)
	}}
}

// Types returns the registered types, by name.
func Types() []*Type {
	return slices.SortedFunc(maps.Values(types), func(a, b *Type) int { return cmp.Compare(a.Name, b.Name) })
}
