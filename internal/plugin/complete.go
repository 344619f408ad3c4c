package plugin

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// checker is a configuration with rules that the types of its keys cannot say.
type checker interface{ Check(r *Report) }

// Check calls Check of config, which has the values of a table of t without other mistakes.
func (t *Type) Check(config any, f File) {
	if checked, ok := config.(checker); ok {
		checked.Check(&Report{rows: t.Rows, has: f.Has, file: f})
	}
}

// Completed returns c as a file would give it: fields that are zero have their defaults, and all is checked, by Check
// too where *C has it. It is what New of a type begins with. A c that is from a file, as b knows, is returned as it is;
// a nil c is an empty one. c itself is not changed.
//
// In a program a zero stands for the default: a key whose 0 means something else than its default takes that from a
// file alone.
func Completed[C any](c *C, b *Build) (*C, error) {
	if b != nil && b.complete && c != nil {
		return c, nil
	}
	whole := new(C)
	if c != nil {
		*whole = *c
	}
	rows, err := rowsOf(reflect.TypeFor[C]())
	if err != nil {
		return nil, err
	}
	given := cmp.Or(c, new(C))
	r := &Report{rows: rows, has: func(path string) bool {
		return slices.ContainsFunc(rows, func(r *tags.Row) bool { return r.Path == path && !r.In(whole).IsZero() })
	}}
	for _, row := range rows {
		switch field := row.In(whole); {
		case !field.IsZero():
			if err := row.Allows(field.Interface()); err != nil {
				r.At(row.Path).Errorf("", "%v", err)
			}
		case row.Preset != nil:
			tags.Set(field, row.Preset)
		case row.Required && tableIsSet(rows, given, row.Path):
			r.At(row.Path).Errorf("", "it is required")
		}
	}
	if checked, ok := any(whole).(checker); ok && r.Err() == nil {
		checked.Check(r)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return whole, nil
}

// tableIsSet reports whether a field of the table around path is not zero. The outermost table counts as set.
func tableIsSet(rows []*tags.Row, of any, path string) bool {
	dot := strings.LastIndexByte(path, '.')
	return dot < 0 || slices.ContainsFunc(rows, func(r *tags.Row) bool {
		return strings.HasPrefix(r.Path, path[:dot+1]) && !r.In(of).IsZero()
	})
}
