package plugin

import (
	"errors"
	"fmt"

	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// Report takes what Check finds wrong in a configuration: rules that the types of its keys cannot say.
// Owned by the caller of Check.
type Report struct {
	rows []*tags.Row
	has  func(path string) bool
	file File    // nil: a program has made the struct
	errs []error // where there is no file
}

// File is a table of a file, for a Report of the struct that has its values.
type File interface {
	// Has reports whether the file gives a key.
	Has(path string) bool
	// Report reports what is wrong with a key, or with an element of its elements; both are below 0 for the key.
	Report(path string, element, elements int, hint, message string)
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
	return Place{report: r, path: path, element: -1, of: -1}
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
	for _, k := range r.rows {
		if k.Path == path {
			return
		}
	}
	panic(fmt.Sprintf("plugin: there is no key %q", path))
}

// Errorf reports what is wrong at p. hint says what was probably meant, or what to do; "" is none.
func (p Place) Errorf(hint, format string, args ...any) {
	r := p.report
	text := fmt.Sprintf(format, args...)
	if r.file != nil {
		r.file.Report(p.path, p.element, p.of, hint, text)
		return
	}
	at := p.path
	if p.element >= 0 {
		at += fmt.Sprintf("[%d]", p.element)
	}
	if hint != "" {
		text += " (" + hint + ")"
	}
	r.errs = append(r.errs, fmt.Errorf("%s: %s", at, text))
}
