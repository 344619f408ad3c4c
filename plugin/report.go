package plugin

import (
	"errors"
	"fmt"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
)

// Report takes what Check finds wrong in a configuration: rules that the types of its keys cannot say.
// Owned by the caller of Check.
type Report struct {
	keys  []*schema.Key
	has   func(path string) bool
	given *schema.Given  // what a file says; nil: a program has made the struct
	table string         // that the paths of the keys begin with in given
	file  *syntax.Report // of the file
	errs  []error        // where there is no file
}

// Place is where a Report has an error: a key, or an element of its list.
type Place struct {
	report  *Report
	path    string
	element int // below 0: the key
	of      int // elements
}

// At returns the place of a key, "table.key" of one in a table.
func (r *Report) At(path string) Place {
	r.mustKnow(path)
	return Place{report: r, path: path, element: -1}
}

// Element returns the place of element i of the n elements of a list.
func (r *Report) Element(path string, i, n int) Place {
	r.mustKnow(path)
	return Place{r, path, i, n}
}

// Has reports whether a key was given: by the file, or by a program as a field that is not zero. A key with a default
// has been given to a program's struct in any case.
func (r *Report) Has(path string) bool {
	r.mustKnow(path)
	return r.has(path)
}

// Err returns all that is wrong with a struct of a program, or nil.
func (r *Report) Err() error { return errors.Join(r.errs...) }

// mustKnow panics for a key that there is not: a mistake in a Check, which any test of it finds.
func (r *Report) mustKnow(path string) {
	for _, k := range r.keys {
		if k.Path == path {
			return
		}
	}
	panic(fmt.Sprintf("plugin: there is no key %q", path))
}

// Errorf reports what is wrong at p. hint says what was probably meant, or what to do; "" is none.
func (p Place) Errorf(hint, format string, args ...any) {
	r := p.report
	if r.file != nil {
		r.file.Errorf(p.span(), hint, format, args...)
		return
	}
	at := p.path
	if p.element >= 0 {
		at += fmt.Sprintf("[%d]", p.element)
	}
	text := fmt.Sprintf(format, args...)
	if hint != "" {
		text += " (" + hint + ")"
	}
	r.errs = append(r.errs, fmt.Errorf("%s: %s", at, text))
}

// span returns where p is in the file: the key, or the table where that does not have it.
func (p Place) span() syntax.Span {
	g, path := p.report.given, p.report.table+p.path
	switch {
	case !g.Has(path):
		return g.Node().Head
	case p.element >= 0:
		return g.ElementAt(path, p.element, p.of)
	}
	return g.At(path)
}
