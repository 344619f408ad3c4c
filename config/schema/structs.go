package schema

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/syntax"
)

// FieldType is how fields of one Go type are read from a file.
type FieldType struct {
	Type
	Plain  bool                             // defaults and examples stand in tags without quotes
	Secret bool                             // values are hidden
	Set    func(field reflect.Value, v any) // nil: v is converted
}

// fieldTypes are those of Go types that have one type of values. Other kinds are in fieldTypeOf.
var fieldTypes = map[reflect.Type]FieldType{
	reflect.TypeFor[time.Duration]():     {Type: Duration, Plain: true},
	reflect.TypeFor[[]string]():          {Type: Strings, Plain: true},
	reflect.TypeFor[[]netip.Prefix]():    {Type: Prefixes, Plain: true},
	reflect.TypeFor[map[string]string](): {Type: Texts},
}

// Held is a Target for the keys of Struct. Their values go to a struct.
type Held struct {
	Given
	Struct any // a pointer to it; nil: the values go nowhere
}

func (h *Held) held() any { return h.Struct }

// holder is a Target that embeds Held.
type holder interface{ held() any }

// Struct returns the keys of a struct: one for each field with the tag "edge", which is its name in a file, and those
// of a struct inside it, as a table of that name; an embedded one has none. types returns further types of fields.
//
// Other tags say what a Key has: doc, default, required:"true", example, min and max, enum:"a b", words:"off",
// unit:"size" of an int64, unit:"lines" of a string, secret:"true" and local:"true". A default and an example stand as
// a file has them, but a text without its quotes. A bool has no default that is true: in a program nothing tells it
// from one that is not set. A *bool may have one.
func Struct(of reflect.Type, types func(reflect.StructField) (FieldType, bool)) ([]*Key, error) {
	s := structKeys{types: types}
	err := s.add(of, nil, "")
	return s.keys, err
}

type structKeys struct {
	types func(reflect.StructField) (FieldType, bool)
	keys  []*Key
}

// add adds the keys of the fields of a struct, which is at index in the outermost one.
func (s *structKeys) add(of reflect.Type, index []int, table string) error {
	if of.Kind() != reflect.Struct {
		return fmt.Errorf("%v is no struct", of)
	}
	for i := range of.NumField() {
		f := of.Field(i)
		at := append(append([]int(nil), index...), i)
		name, tagged := f.Tag.Lookup("edge")
		var err error
		switch {
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct:
			err = s.add(f.Type, at, table)
		case !tagged:
		case !f.IsExported() || !syntax.IsBareKey(name):
			err = errors.New("a key is an exported field, and its name has letters, digits, \"_\" and \"-\"")
		case f.Type.Kind() == reflect.Struct && !s.known(f):
			err = s.add(f.Type, at, syntax.JoinKey(table, name))
		default:
			err = s.field(f, at, syntax.JoinKey(table, name))
		}
		if err != nil {
			return fmt.Errorf("%s.%s: %w", of.Name(), f.Name, err)
		}
	}
	return nil
}

func (s *structKeys) known(f reflect.StructField) bool {
	_, found := s.types(f)
	return found
}

// field adds the key of one field.
func (s *structKeys) field(f reflect.StructField, index []int, path string) error {
	if err := checkTags(f.Tag); err != nil {
		return err
	}
	tag := f.Tag.Get
	of, err := s.typeOf(f)
	if err != nil {
		return err
	}
	k := &Key{
		Path: path, Type: of.Type, Doc: tag("doc"), Min: tag("min"), Max: tag("max"),
		Enum: strings.Fields(tag("enum")), Words: strings.Fields(tag("words")),
		Required: tag("required") == "true", Local: tag("local") == "true",
		Secret:  of.Secret || tag("secret") == "true",
		Default: of.literal(f.Type, tag("default")), Example: of.literal(f.Type, tag("example")),
		Into: fieldAt(index, of.Set),
	}
	if f.Type.Kind() == reflect.Bool && k.Default == "" {
		k.Default = "false"
	}
	switch {
	case slices.ContainsFunc(s.keys, func(other *Key) bool { return other.Path == path }):
		return fmt.Errorf("there are two keys %q", path)
	case k.Required && k.Default != "":
		return errors.New("it is required, and has a default")
	case f.Type.Kind() == reflect.Bool && k.Default == "true":
		return errors.New("a bool cannot be true by default: turn its meaning around, or make it a *bool")
	case k.Min != "" && of.Number == nil:
		return errors.New("it has no bounds: it is no number")
	}
	if err := k.prepare(nil); err != nil {
		return err
	}
	if k.Example != "" {
		if _, rep := k.parseText(k.Example); !rep.OK() {
			return errors.New("example: " + rep.Errors[0].Message)
		}
	}
	s.keys = append(s.keys, k)
	return nil
}

// knownTags are those of fields with keys.
var knownTags = map[string]bool{"edge": true, "doc": true, "default": true, "required": true, "example": true,
	"min": true, "max": true, "enum": true, "words": true, "unit": true, "secret": true, "local": true, "phase": true,
	"json": true}

// checkTags finds a misspelt tag, which Go does not.
func checkTags(tag reflect.StructTag) error {
	for rest := string(tag); rest != ""; {
		name, after, found := strings.Cut(strings.TrimLeft(rest, " "), ":")
		if !found || !knownTags[name] {
			return fmt.Errorf("tag %q: known are default, doc, edge, enum, example, local, max, min, phase, "+
				"required, secret, unit and words, each as name:\"value\"", name)
		}
		value, err := strconv.QuotedPrefix(after)
		if err != nil {
			return fmt.Errorf("tag %q: its value stands in quotes", name)
		}
		rest = strings.TrimLeft(after[len(value):], " ")
	}
	for _, name := range []string{"required", "secret", "local"} {
		if v, given := tag.Lookup(name); given && v != "true" {
			return fmt.Errorf("tag %q: it is \"true\", or is left out", name)
		}
	}
	return nil
}

// literal returns a default or an example as a file has it.
func (t *FieldType) literal(of reflect.Type, text string) string {
	quoted := strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "'")
	if text == "" || !t.Plain || quoted || of.Kind() == reflect.Slice && text[0] == '[' {
		return text
	}
	return quoteTOML(text)
}

// typeOf returns how the values of a field are read.
func (s *structKeys) typeOf(f reflect.StructField) (FieldType, error) {
	t := f.Type
	if of, found := s.types(f); found {
		return of, nil
	}
	_, words := f.Tag.Lookup("enum")
	of, found := fieldTypes[t]
	switch kind := t.Kind(); {
	case found && words && t.Kind() == reflect.Slice:
		return FieldType{Type: Choices, Plain: true}, nil
	case found:
		return of, nil
	case kind == reflect.String && words:
		return FieldType{Type: Choice, Plain: true}, nil
	case kind == reflect.String && f.Tag.Get("unit") == "lines":
		return FieldType{Type: Lines, Plain: true}, nil
	case kind == reflect.String:
		return FieldType{Type: String, Plain: true}, nil
	case kind == reflect.Bool, kind == reflect.Pointer && t.Elem().Kind() == reflect.Bool:
		return FieldType{Type: Bool}, nil
	case kind == reflect.Int64 && f.Tag.Get("unit") == "size":
		return FieldType{Type: Size, Plain: true}, nil
	case kind == reflect.Int || kind == reflect.Int64 && f.Tag.Get("unit") == "":
		return FieldType{Type: Int}, nil
	}
	return of, fmt.Errorf("there are no values of type %v", t)
}

// fieldAt returns the field at index of the struct of a Held.
func fieldAt(index []int, set func(reflect.Value, any)) Field {
	field := func(t Target) (v reflect.Value, found bool) {
		of := t.(holder).held()
		if of == nil {
			return v, false
		}
		return reflect.ValueOf(of).Elem().FieldByIndex(index), true
	}
	return Field{
		set: func(t Target, v any) {
			to, found := field(t)
			switch {
			case !found:
			case set != nil:
				set(to, v)
			case to.Kind() == reflect.Pointer:
				to.Set(reflect.New(to.Type().Elem()))
				to.Elem().Set(reflect.ValueOf(v).Convert(to.Type().Elem()))
			default:
				to.Set(reflect.ValueOf(v).Convert(to.Type()))
			}
		},
		get: func(t Target) any {
			if of, found := field(t); found {
				return of.Interface()
			}
			return nil
		},
	}
}

// Store stores v in the field of k: a value of its Go type, or one that its Set takes.
func (k *Key) Store(t Target, v any) { k.Into.set(t, v) }

// Value returns what the field of k has.
func (k *Key) Value(t Target) any { return k.Into.get(t) }

// Preset returns the default of k, nil when it has none.
func (k *Key) Preset() any { return k.preset }

// Allows returns what is wrong with a value that a program has stored in the field of k, or nil. A file is read by the
// Type of the key.
func (k *Key) Allows(v any) error {
	of := reflect.ValueOf(v)
	switch {
	case of.CanInt():
		return k.AllowsNumber(of.Int())
	case len(k.Enum) == 0:
	case of.Kind() == reflect.String && !slices.Contains(k.Enum, of.String()):
		return fmt.Errorf("it must be %s, not %q", syntax.Alternatives(k.Enum), of.String())
	case of.Kind() == reflect.Slice:
		for _, s := range of.Interface().([]string) {
			if !slices.Contains(k.Enum, s) {
				return fmt.Errorf("it must be %s, not %q", syntax.Alternatives(k.Enum), s)
			}
		}
	}
	return nil
}

// AllowsNumber returns an error unless v, in the unit of the bounds of k, is between them.
func (k *Key) AllowsNumber(v int64) error {
	if k.Min != "" && (v < k.lo || v > k.hi) {
		return fmt.Errorf("it must be between %s and %s", k.Min, k.Max)
	}
	return nil
}

// Prefixes and Texts are types of keys.
var (
	Prefixes = Type{Name: "addresses", Parse: parsePrefixes} // []netip.Prefix, none an IPv4 one written as IPv6
	Texts    = Type{Name: "table of strings", Parse: parseTexts}
)

func parsePrefixes(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
	var all []netip.Prefix
	right := d.Each(n, "an address or a prefix", func(c *syntax.Node, s string) bool {
		p, err := netip.ParsePrefix(s)
		if a, e := netip.ParseAddr(s); e == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			d.Report.Errorf(c.Value, `write it as "10.0.0.0/8" or "2001:db8::1"`,
				"%s is no address, and no prefix of some", syntax.Quote(s))
			return false
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		all = append(all, p.Masked())
		return true
	})
	return all, right
}

func parseTexts(d *Decoder, _ *Key, n *syntax.Node) (any, bool) {
	if n.Kind != syntax.KindTable {
		d.WrongKind(n, "a table", TableHint)
		return nil, false
	}
	all, right := make(map[string]string, len(n.Children)), true
	for _, c := range n.Children {
		s, ok := d.String(c, "a string")
		all[c.Key] = s
		right = right && ok
	}
	return all, right
}
