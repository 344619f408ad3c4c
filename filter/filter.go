package filter

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/filters"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/proxy"
)

// Type is a registered type of filters. Immutable.
type Type struct {
	Name    string
	Doc     string        // one sentence
	Package string        // the path of the package that registered it
	Keys    []*schema.Key // of its table

	make func(config any, b *Build) (*proxy.Filter, error)
}

// types are written by init functions alone.
var types = map[string]*Type{}

// Register adds a type of filters whose tables are decoded into a C, a struct. It is for init functions. A mistake in
// the tags of C panics, and a name that is taken, with the two packages.
func Register[C any](name, doc string, create func(c *C, b *Build) (*proxy.Filter, error)) {
	of := reflect.TypeFor[C]()
	from := packageOf(create)
	if t := types[name]; t != nil {
		panic(fmt.Sprintf("filter: two packages register a type of filters named %q: %s and %s", name, t.Package, from))
	}
	keys, err := keysOf(of)
	switch {
	case err != nil:
	case name == "" || doc == "" || create == nil:
		err = errNameless
	default:
		err = checkReserved(keys)
	}
	if err != nil {
		panic(fmt.Sprintf("filter: type %q: %v", name, err))
	}
	t := &Type{Name: name, Doc: doc, Package: from, Keys: keys,
		make: func(config any, b *Build) (*proxy.Filter, error) { return create(config.(*C), b) }}
	types[name] = t
	filters.Register(&filters.Type{Name: name, Doc: doc, Keys: keys, New: func() any { return new(C) },
		Try: func(name string, config any) error {
			_, err := t.Try(name, config)
			return err
		},
		Check: func(rep *syntax.Report, g *schema.Given, table string, config any) {
			if checked, ok := config.(checker); ok {
				has := func(path string) bool { return g.Has(table + path) }
				checked.Check(&Report{keys: keys, has: has, given: g, table: table, file: rep})
			}
		}})
}

// packageOf returns the path of the package that a function of a package, or one inside such a function, is in.
func packageOf(function any) string {
	v := reflect.ValueOf(function)
	if v.IsNil() {
		return ""
	}
	name := runtime.FuncForPC(v.Pointer()).Name() // such as "example.com/yaml%2ev3.New"
	last := strings.LastIndexByte(name, '/') + 1
	base, _, _ := strings.Cut(name[last:], ".")
	return name[:last] + strings.ReplaceAll(base, "%2e", ".")
}

// Types returns the registered types, by name.
func Types() []*Type {
	return slices.SortedFunc(maps.Values(types), func(a, b *Type) int { return cmp.Compare(a.Name, b.Name) })
}

// TypeNamed returns the type of that name, or nil.
func TypeNamed(name string) *Type { return types[name] }

// Make makes a filter of a configuration of t that was read from a file: filters.Filter has it. A panic is an error.
// The filter has the name of b.
func (t *Type) Make(config any, b *Build) (f *proxy.Filter, err error) {
	defer func() {
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("filters of type %q: panic: %v", t.Name, p)
		}
	}()
	whole := *b
	whole.Type, whole.complete = t.Name, true
	made, err := t.make(config, &whole)
	if err != nil {
		return nil, err
	}
	if made == nil {
		return nil, fmt.Errorf("filters of type %q: New has returned neither a filter nor an error", t.Name)
	}
	named := *made
	named.Name = b.Name
	return &named, nil
}

// Try makes a filter of a configuration as Make does, and closes what it keeps: there is no server. It returns the
// names of the functions that the filter has, in the order in which they run.
func (t *Type) Try(name string, config any) (phases []string, err error) {
	var store Store
	defer store.Close()
	f, err := t.Make(config, &Build{Name: name, Kept: store.Claim()})
	if err != nil {
		return nil, err
	}
	return Phases(f), nil
}

// Phases returns the names of the functions that f has, in the order in which they run.
func Phases(f *proxy.Filter) (names []string) {
	for _, phase := range []struct {
		name string
		has  bool
	}{
		{"BeforeRoute", f.BeforeRoute != nil}, {"Request", f.Request != nil},
		{"UpstreamRequest", f.UpstreamRequest != nil}, {"ConnectFailed", f.ConnectFailed != nil},
		{"Connected", f.Connected != nil}, {"RequestBody", f.RequestBody != nil},
		{"UpstreamResponse", f.UpstreamResponse != nil}, {"Response", f.Response != nil},
		{"ResponseBody", f.ResponseBody != nil}, {"Trailers", f.Trailers != nil}, {"Error", f.Error != nil},
		{"Log", f.Log != nil},
	} {
		if phase.has {
			names = append(names, phase.name)
		}
	}
	return names
}
