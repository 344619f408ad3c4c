package tags

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Row is what the tags of a field say of its key.
type Row struct {
	Path     string   // below its section: "limits.header_size"
	Default  string   // as a file would write it; "" is none
	Min      string   // the least number, size or duration, as a file would write it; "" is no bound
	Max      string   // the largest one; "" is no bound
	Enum     []string // the words that a choice allows
	Words    []string // words that stand for 0 beside numbers, for -1 beside durations
	Later    []string // words of later versions: an error of its own
	Restart  bool     // a new value waits until the process starts again; in sections of shape One
	Required bool     // an entry without it is wrong; in a table inside it, where that has another key
	Secret   bool     // schema.Document.Written hides its values
	Local    bool     // its texts name something of this machine, such as files: see schema.Document.Sent
	Doc      string   // Markdown without bars
	Example  string   // a value, as a file would write it
	Pool     bool     // a new value replaces a pool of connections to backends
	Show     []string // when it is told though no file gives it: see schema.Section.Told
	Aliases  []string // ".name" is beside the key, "..a.b" in its section, "a.b" and "a" at the top

	Name  string // of the field: "Limits.HeaderSize"
	Field reflect.StructField
	Index []int  // of the field in the outermost struct
	Type  any    // of the values, as the caller of Of knows it; nil: Kind says it
	Kind  string // one of those that kindOf returns

	Preset any   // the value of Default
	Lo, Hi int64 // the bounds as numbers
}

// Hidden stands for a secret wherever values are shown.
const Hidden = "(hidden)"

// Of returns the rows of a struct, in the order of its fields. types returns the Type of a field whose values are of a
// type that the caller knows, nil for others.
func Of(of reflect.Type, types func(reflect.StructField) any) ([]*Row, error) {
	w := walk{types: types}
	err := w.add(of, nil, "")
	return w.rows, err
}

type walk struct {
	types func(reflect.StructField) any
	rows  []*Row
}

// add adds the rows of the fields of a struct, which is at index in the outermost one.
func (w *walk) add(of reflect.Type, index []int, table string) error {
	if of.Kind() != reflect.Struct {
		return fmt.Errorf("%v is no struct", of)
	}
	for i := range of.NumField() {
		f, before := of.Field(i), len(w.rows)
		at := append(slices.Clip(index), i)
		name, tagged := f.Tag.Lookup("edge")
		path := table
		if name != "" {
			path = strings.TrimPrefix(table+"."+name, ".")
		}
		isTable := f.Type.Kind() == reflect.Struct
		set, err := readTags(f.Tag)
		switch {
		case f.Anonymous && !tagged && isTable:
			err = w.add(f.Type, at, table)
		case !tagged: // its tags are of others
			err = nil
		case err != nil:
		case !f.IsExported() || name != "" && !isPath(name):
			err = errors.New("a key is an exported field, and its name has letters, digits, \"_\" and \"-\"")
		case isTable && w.types(f) == nil:
			err = w.add(f.Type, at, path)
		default:
			if err = w.field(of, f, set, at, path); err == nil && isTable {
				err = w.add(f.Type, at, path) // the keys of the table that the value stands for
			}
		}
		for _, r := range w.rows[before:] {
			r.Pool = set["pool"] == "true" || r.Pool
		}
		if err == nil {
			err = w.move(before, set["after"], table)
		}
		if err != nil {
			return fmt.Errorf("%s.%s: %w", of.Name(), f.Name, err)
		}
	}
	return nil
}

func isPath(name string) bool {
	const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	return !slices.ContainsFunc(strings.Split(name, "."), func(part string) bool {
		return part == "" || strings.Trim(part, bare) != ""
	})
}

// move puts the rows from index from on after the one of that name.
func (w *walk) move(from int, after, table string) error {
	if after == "" {
		return nil
	}
	path := strings.TrimPrefix(table+"."+after, ".")
	to := 1 + slices.IndexFunc(w.rows[:from], func(r *Row) bool { return r.Path == path })
	if to == 0 {
		return fmt.Errorf("there is no key %q before it", path)
	}
	moved := slices.Clone(w.rows[from:])
	w.rows = slices.Insert(w.rows[:from], to, moved...)
	return nil
}

func (w *walk) field(in reflect.Type, f reflect.StructField, set tagSet, index []int, path string) (err error) {
	r := &Row{
		Path: path, Default: set["default"], Min: set["min"], Max: set["max"], Enum: strings.Fields(set["enum"]),
		Words: strings.Fields(set["words"]), Later: strings.Fields(set["later"]), Aliases: strings.Fields(set["also"]),
		Required: set["required"] == "true", Restart: set["restart"] == "true",
		Local:  set["local"] == "true" || set["file"] != "",
		Secret: set["secret"] == "true", Doc: set["doc"], Example: set["example"], Show: strings.Fields(set["show"]),
		Name: in.Name() + "." + f.Name, Field: f, Index: index, Type: w.types(f),
	}
	if r.Type == nil {
		if r.Kind, err = kindOf(f, set); err != nil {
			return err
		}
	}
	if _, preset := set["default"]; f.Type.Kind() == reflect.Bool && !preset {
		r.Default = "false"
	}
	switch {
	case slices.ContainsFunc(w.rows, func(other *Row) bool { return other.Path == path }):
		return fmt.Errorf("there are two keys %q", path)
	case r.Required && r.Default != "":
		return errors.New("it is required, and has a default")
	}
	w.rows = append(w.rows, r)
	return nil
}

// known are the tags of fields with keys.
var known = []string{"after", "also", "default", "doc", "edge", "enum", "example", "file", "kind", "later", "local",
	"max", "min", "phase", "pool", "required", "restart", "secret", "show", "unit", "words"}

// tagSet has the values of the tags of a field by their names. reflect reads all tags again for each of them.
type tagSet map[string]string

// readTags finds a misspelt tag, which Go does not.
func readTags(tag reflect.StructTag) (tagSet, error) {
	set := make(tagSet)
	for rest := string(tag); rest != ""; {
		name, after, found := strings.Cut(strings.TrimLeft(rest, " "), ":")
		if !found || !slices.Contains(known, name) && name != "json" {
			return nil, fmt.Errorf("tag %q: known are %s, each as name:\"value\"", name, strings.Join(known, ", "))
		}
		value, err := strconv.QuotedPrefix(after)
		if set[name], _ = strconv.Unquote(value); err != nil {
			return nil, fmt.Errorf("tag %q: its value stands in quotes", name)
		}
		rest = strings.TrimLeft(after[len(value):], " ")
	}
	if use, given := set["file"]; given && !slices.Contains([]string{"read", "write", "log", "page"}, use) {
		return nil, fmt.Errorf("tag \"file\": it is read, write, log or page, not %q", use)
	}
	for _, name := range []string{"required", "secret", "local", "restart", "pool"} {
		if v, given := set[name]; given && v != "true" {
			return nil, fmt.Errorf("tag %q: it is \"true\", or is left out", name)
		}
	}
	return set, nil
}

// named are the kinds of values that the tags "kind" and "unit" name.
var named = []string{"size", "rate", "lines", "name", "folder", "optional"}

// typed are the kinds of values of Go types.
var typed = map[string]string{"bool": "bool", "*bool": "bool", "int": "int", "int64": "int", "string": "string",
	"time.Duration": "duration", "[]string": "strings", "[]netip.Prefix": "prefixes", "map[string]string": "texts"}

// kindOf returns what the values of a field are. Where a tag has their words, strings are choices.
func kindOf(f reflect.StructField, set tagSet) (string, error) {
	goKind, name := f.Type.Kind().String(), cmp.Or(set["kind"], set["unit"])
	of := map[bool]string{true: "int", false: "string"}[values[name].Number != nil]
	kind := cmp.Or(typed[f.Type.String()], typed[goKind])
	_, words := set["enum"]
	switch {
	case slices.Contains(named, name) && typed[goKind] == of:
		return name, nil
	case name != "" || kind == "":
		return "", fmt.Errorf("there are no values of kind %q of type %v", name, f.Type)
	case words && !strings.HasPrefix(kind, "string"):
		return "", fmt.Errorf("an enum has strings, not values of type %v", f.Type)
	case words:
		kind = strings.Replace(kind, "string", "choice", 1)
	}
	return kind, nil
}

// In returns the field of r in the struct which of points to.
func (r *Row) In(of any) reflect.Value { return reflect.ValueOf(of).Elem().FieldByIndex(r.Index) }

// Set stores v, a value of a key, in a field: one of its type, a value that converts to it, or what it shall point to.
func Set(field reflect.Value, v any) {
	if field.Kind() == reflect.Pointer && !reflect.TypeOf(v).AssignableTo(field.Type()) {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	field.Set(reflect.ValueOf(v).Convert(field.Type()))
}

// Bound reads the bounds of r. number reads one of them; nil: the values are no numbers.
func (r *Row) Bound(number func(text string) (int64, bool)) error {
	switch {
	case (r.Min == "") != (r.Max == ""):
		return errors.New("one bound without the other")
	case r.Min == "":
		return nil
	case number == nil:
		return errors.New("it has no bounds: it is no number")
	}
	var lowest, highest bool
	r.Lo, lowest = number(r.Min)
	r.Hi, highest = number(r.Max)
	if !lowest || !highest || r.Lo > r.Hi {
		return fmt.Errorf("bounds %q and %q", r.Min, r.Max)
	}
	return nil
}

// AllowsNumber returns an error unless v, in the unit of the bounds of r, is between them.
func (r *Row) AllowsNumber(v int64) error {
	if r.Min != "" && (v < r.Lo || v > r.Hi) {
		return fmt.Errorf("it must be between %s and %s", r.Min, r.Max)
	}
	return nil
}

// Held returns the rows of a struct that a program may fill in without a file, checked: see Of. What types returns are
// Values.
func Held(of reflect.Type, types func(reflect.StructField) any) ([]*Row, error) {
	rows, err := Of(of, types)
	for _, r := range rows {
		v, found := r.Type.(Values)
		if !found {
			v = values[r.Kind]
		}
		if wrong := r.prepare(v); wrong != nil {
			err = cmp.Or(err, fmt.Errorf("%s: %w", r.Name, wrong))
		}
	}
	return rows, err
}

func (r *Row) prepare(v Values) (err error) {
	err = r.Bound(v.Number)
	switch isTable := r.Kind == "texts"; {
	case err != nil:
	case r.Doc == "":
		err = errors.New("no doc")
	case r.Field.Type.Kind() == reflect.Bool && r.Default == "true":
		err = errors.New("a bool cannot be true by default: turn its meaning around, or make it a *bool")
	case r.Default != "" && isTable:
		err = errors.New("a table has no default")
	case !isTable:
		if r.Preset, err = r.read(v, r.Default); err != nil {
			err = fmt.Errorf("default: %w", err)
		}
		if _, wrong := r.read(v, r.Example); err == nil && wrong != nil {
			err = fmt.Errorf("example: %w", wrong)
		}
	}
	return err
}

// read returns the value of a default or an example, nil for a zero one. A text may stand in quotes.
func (r *Row) read(v Values, text string) (value any, err error) {
	if strings.HasPrefix(text, "'") {
		text = strings.Trim(text, "'")
	} else if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	isWord := slices.Contains(r.Words, text)
	if text == "" || isWord && r.Kind != "duration" {
		return nil, nil
	} else if isWord {
		return -1, nil
	}
	value = text
	if v.Number != nil {
		n, right := v.Number(text)
		if !right {
			return nil, fmt.Errorf("%q is not one of its values", text)
		}
		value, err = n, r.AllowsNumber(n)
	}
	if v.Parse != nil && err == nil {
		value, err = v.Parse(text)
	}
	if err == nil {
		err = r.Allows(value)
	}
	return value, err
}

// Allows returns what is wrong with a value that a program has stored in the field of r, or nil.
func (r *Row) Allows(v any) error {
	var words []string
	switch of := reflect.ValueOf(v); {
	case of.CanInt():
		return r.AllowsNumber(of.Int())
	case len(r.Enum) == 0:
	case of.Kind() == reflect.String:
		words = []string{of.String()}
	case of.Kind() == reflect.Slice:
		words = of.Interface().([]string)
	}
	for _, word := range words {
		if !slices.Contains(r.Enum, word) {
			return fmt.Errorf("it must be %s, not %q", alternatives(r.Enum), word)
		}
	}
	return nil
}

// alternatives joins words as a sentence does: "a", "b" or "c".
func alternatives(words []string) string {
	text := `"` + strings.Join(words, `", "`) + `"`
	if at := strings.LastIndex(text, ", "); at >= 0 {
		text = text[:at] + " or " + text[at+2:]
	}
	return text
}
