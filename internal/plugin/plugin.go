package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// Type is a registered type. Immutable.
type Type struct {
	Kind    *Kind
	Name    string
	Doc     string      // one sentence
	Package string      // the path of the package that registered it
	Rows    []*tags.Row // of the keys of its tables
	New     func() any  // makes a struct for their values: a pointer to it

	// Try makes what a table stands for and gives it up again: see Try. What is made may log warnings.
	Try func(d *Table) (warned []string, err error)

	make func(config any, b *Build) (any, error)
}

// types are written by init functions alone. No two types of a kind have one name.
var types []*Type

// Register adds a type of a kind whose tables are decoded into a C, a struct, and of which create makes a T. It is for
// init functions. A mistake in the tags of C panics, and a name that is taken, with the two packages.
func Register[C, T any](kind *Kind, typ, doc string, create func(c *C, b *Build) (T, error)) {
	of := reflect.TypeFor[C]()
	from := packageOf(create)
	if t := TypeNamed(kind, typ); t != nil {
		panic(fmt.Sprintf("plugin: two packages register a type of %s named %q: %s and %s", kind.Section, typ,
			t.Package, from))
	}
	rows, err := rowsOf(of)
	switch {
	case err != nil:
	case typ == "" || doc == "" || create == nil:
		err = errors.New("it needs a name, a sentence and a function New")
	default:
		err = checkReserved(kind, rows)
	}
	if err != nil {
		panic(fmt.Sprintf("plugin: type %q of %s: %v", typ, kind.Section, err))
	}
	types = append(types, &Type{Kind: kind, Name: typ, Doc: doc, Package: from, Rows: rows,
		New:  func() any { return new(C) },
		Try:  func(d *Table) ([]string, error) { return Try(d, func(T) {}) },
		make: func(config any, b *Build) (any, error) { return create(config.(*C), b) }})
}

// checkReserved finds keys that tables of every type of a kind have.
func checkReserved(kind *Kind, rows []*tags.Row) error {
	for _, r := range rows {
		if table, _, _ := strings.Cut(r.Path, "."); kind.reserves(table) {
			return fmt.Errorf("key %q: %s of every type have it", r.Path, kind.Section)
		}
	}
	return nil
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

// Types returns the registered types, by their kinds in the order of Kinds, and by name.
func Types() []*Type {
	return slices.SortedFunc(slices.Values(types), func(a, b *Type) int {
		return cmp.Or(slices.Index(Kinds, a.Kind)-slices.Index(Kinds, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// TypeNamed returns the type of a kind with that name, or nil.
func TypeNamed(kind *Kind, typ string) *Type {
	for _, t := range types {
		if t.Kind == kind && t.Name == typ {
			return t
		}
	}
	return nil
}

// Make makes what a table of a configuration stands for, a value of the kind of the table. A panic is an error.
func Make[T any](d *Table, b *Build) (made T, err error) {
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

// Try makes what a table stands for as Make does, calls use with it, and closes what it keeps: there is no server. It
// returns the warnings that were logged.
func Try[T any](d *Table, use func(made T)) (warned []string, err error) {
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
