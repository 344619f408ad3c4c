package plugin

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
)

// checker is a configuration with rules that the types of its keys cannot say.
type checker interface{ Check(r *Report) }

var errNameless = errors.New("it needs a name, a sentence and a function New")

// checkReserved finds keys that tables of every type of a kind have.
func checkReserved(kind *plugins.Kind, keys []*schema.Key) error {
	for _, k := range keys {
		if table, _, _ := strings.Cut(k.Path, "."); kind.Reserves(table) {
			return fmt.Errorf("key %q: %s of every type have it", k.Path, kind.Section)
		}
	}
	return nil
}

// Completed returns c as a file would give it: fields that are zero have their defaults, and all is checked, by Check
// too where *C has it. It is what New of a type begins with. A c that is from a file, as b knows, is returned as it is;
// one that is nil is an empty one. c itself is not changed.
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
	keys, err := keysOf(reflect.TypeFor[C]())
	if err != nil {
		return nil, err
	}
	t := &schema.Held{Struct: whole}
	r := &Report{keys: keys, has: func(path string) bool { return isSet(keys, t, path) }}
	given := &schema.Held{Struct: orNew(c)}
	for _, k := range keys {
		if err := complete(k, t); err != nil {
			r.At(k.Path).Errorf("", "%v", err)
		} else if k.Required && !isSet(keys, t, k.Path) && tableIsSet(keys, given, k.Path) {
			r.At(k.Path).Errorf("", "it is required")
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

func orNew[C any](c *C) *C {
	if c == nil {
		return new(C)
	}
	return c
}

// complete stores the default of k where its field is zero, and checks what the field has.
func complete(k *schema.Key, t schema.Target) error {
	v := reflect.ValueOf(k.Value(t))
	if !v.IsZero() {
		return k.Allows(v.Interface())
	}
	switch preset := k.Preset().(type) {
	case nil:
	case plugins.Source:
		v, err := preset.Compile(scope())
		if err != nil {
			return err
		}
		k.Store(t, v)
	default:
		k.Store(t, preset)
	}
	return nil
}

// isSet reports whether the field of the key at path is not zero.
func isSet(keys []*schema.Key, t schema.Target, path string) bool {
	return slices.ContainsFunc(keys, func(k *schema.Key) bool {
		return k.Path == path && !reflect.ValueOf(k.Value(t)).IsZero()
	})
}

// tableIsSet reports whether a field of the table around path is not zero. The outermost table counts as set.
func tableIsSet(keys []*schema.Key, t schema.Target, path string) bool {
	dot := strings.LastIndexByte(path, '.')
	return dot < 0 || slices.ContainsFunc(keys, func(k *schema.Key) bool {
		return strings.HasPrefix(k.Path, path[:dot+1]) && isSet(keys, t, k.Path)
	})
}
