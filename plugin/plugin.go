package plugin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// Type is a registered type. Immutable.
type Type struct {
	Kind    *plugins.Kind
	Name    string
	Doc     string        // one sentence
	Package string        // the path of the package that registered it
	Keys    []*schema.Key // of its table

	make func(config any, b *Build) (any, error)
}

// name is what no two types share.
type name struct {
	kind *plugins.Kind
	name string
}

// types are written by init functions alone.
var types = map[name]*Type{}

// Register adds a type of a kind whose tables are decoded into a C, a struct, and of which create makes a T. It is for
// init functions. A mistake in the tags of C panics, and a name that is taken, with the two packages.
func Register[C, T any](kind *plugins.Kind, typ, doc string, create func(c *C, b *Build) (T, error)) {
	of := reflect.TypeFor[C]()
	from := packageOf(create)
	if t := types[name{kind, typ}]; t != nil {
		panic(fmt.Sprintf("plugin: two packages register a type of %s named %q: %s and %s", kind.Section, typ,
			t.Package, from))
	}
	keys, err := keysOf(of)
	switch {
	case err != nil:
	case typ == "" || doc == "" || create == nil:
		err = errNameless
	default:
		err = checkReserved(kind, keys)
	}
	if err != nil {
		panic(fmt.Sprintf("plugin: type %q of %s: %v", typ, kind.Section, err))
	}
	keys = owned(keys)
	types[name{kind, typ}] = &Type{Kind: kind, Name: typ, Doc: doc, Package: from, Keys: keys,
		make: func(config any, b *Build) (any, error) { return create(config.(*C), b) }}
	kind.Register(&plugins.Type{Name: typ, Doc: doc, Keys: keys, New: func() any { return new(C) },
		Try: func(d *plugins.Definition) ([]string, error) { return Try(d, func(T) {}) },
		Check: func(rep *syntax.Report, g *schema.Given, table string, config any) {
			if checked, ok := config.(checker); ok {
				has := func(path string) bool { return g.Has(table + path) }
				checked.Check(&Report{keys: keys, has: has, given: g, table: table, file: rep})
			}
		}})
}

// owned returns copies of keys: a key belongs to the one section whose tables have it, and types may share a struct.
func owned(keys []*schema.Key) (all []*schema.Key) {
	for _, k := range keys {
		all = append(all, new(*k))
	}
	return all
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

// Types returns the registered types, by their kinds in the order of plugins.Kinds, and by name.
func Types() (all []*Type) {
	for _, t := range types {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Type) int {
		return cmp.Or(slices.Index(plugins.Kinds, a.Kind)-slices.Index(plugins.Kinds, b.Kind),
			cmp.Compare(a.Name, b.Name))
	})
	return all
}

// TypeNamed returns the type of a kind with that name, or nil.
func TypeNamed(kind *plugins.Kind, typ string) *Type { return types[name{kind, typ}] }

// Make makes what a table of a configuration stands for, a value of the kind of the table. A panic is an error.
func Make[T any](d *plugins.Definition, b *Build) (made T, err error) {
	t := TypeNamed(d.Kind, d.Type)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s of type %q: panic: %v", d.Kind.Section, d.Type, p)
		}
	}()
	whole := *b
	whole.Kind, whole.Name, whole.Type, whole.complete = d.Kind, d.Name, d.Type, true
	v, err := t.make(d.Config, &whole)
	if err != nil {
		return made, err
	}
	if isNil(v) {
		return made, fmt.Errorf("%s of type %q: New has returned neither a %s nor an error", d.Kind.Section, d.Type,
			d.Kind.Name)
	}
	return v.(T), nil
}

// Try makes what a table stands for as Make does, has use look at it, and closes what it keeps: there is no server. It
// returns the warnings that were logged.
func Try[T any](d *plugins.Definition, use func(made T)) (warned []string, err error) {
	var store Store
	defer store.Close()
	w := &warnings{Handler: slog.DiscardHandler}
	made, err := Make[T](d, &Build{Kept: store.Claim(), Logger: slog.New(w)})
	if err == nil {
		use(made)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines, err
}

// warnings keeps the warnings and errors that are logged. Safe for any goroutine.
type warnings struct {
	slog.Handler
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
	return nil
}

// isNil reports whether v is nothing, or a pointer or a function that is nil.
func isNil(v any) bool {
	of := reflect.ValueOf(v)
	switch of.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return of.IsNil()
	}
	return false
}
