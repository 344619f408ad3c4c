package schema

import (
	"bytes"
	"cmp"
	"embed"
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

// FieldType is how the values of a field are read from a file.
type FieldType struct {
	Type
	Plain    bool                             // defaults and examples stand in tags without quotes
	Secret   bool                             // values are hidden
	Set      func(field reflect.Value, v any) // nil: v is converted
	Enum     []string                         // the words of a choice, where no tag has them
	Open     bool                             // see Key
	Synonyms map[string]string                // see Key
}

// ownKinds are those of this package that no Go type tells, by the tags "kind" and "unit".
var ownKinds = map[string]FieldType{
	"size": {Type: Size, Plain: true}, "rate": {Type: Rate, Plain: true}, "lines": {Type: Lines, Plain: true}, // units
	"name": {Type: Token, Plain: true}, "folder": {Type: Folder, Plain: true},
	"optional": {Type: Optional, Plain: true},
}

// fieldTypes are those of Go types that have one type of values. Others are in typeOf.
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
// of a struct inside it, as a table of that name; one with the name "", and an embedded one, has no table of its own. A
// key of the name "" is what may stand in place of the table. types returns further types of fields.
//
// Other tags say what a Key has: doc, default, required:"true", example, min and max, enum:"a b", words:"off",
// unit:"size" of an int64, unit:"lines" of a string, secret:"true" and local:"true". A default and an example stand as
// a file has them, but a text without its quotes. A bool has no default that is true: in a program nothing tells it
// from one that is not set. A *bool may have one.
func Struct(of reflect.Type, types func(reflect.StructField) (FieldType, bool)) ([]*Key, error) {
	s := structKeys{types: types, held: true}
	return s.all(of)
}

// Tags say what the tags of a package mean beyond those of this one.
type Tags struct {
	// Kinds are types of fields, by the tag "kind" or by the Go type: "value.Endpoint".
	Kinds map[string]FieldType
	// Comments are those of the fields: see Comments.
	Comments map[string][]string
}

// Of returns the keys of E, the targets of a section, from its tags: see Struct. The comment above a field is the doc
// of its key; a line of it that begins with "Example:" or "Also:" has what the tags of these names have. There are
// further tags: file:"read" of a key that names a file, by what is done with it, later:"h3", restart:"true",
// also:"..a.b .c" for Aliases, and after:"a", which puts the keys of a field after the one of a field above it. A
// mistake in the tags panics. t may be nil.
func Of[E any](t *Tags) []*Key {
	if t == nil {
		t = new(Tags)
	}
	s := structKeys{comments: t.Comments, types: func(f reflect.StructField) (FieldType, bool) {
		of, found := t.Kinds[f.Tag.Get("kind")]
		if !found {
			of, found = t.Kinds[f.Type.String()]
		}
		return of, found
	}}
	keys, err := s.all(reflect.TypeFor[E]())
	if err != nil {
		panic(fmt.Sprintf("schema: %v", err))
	}
	return keys
}

// Table returns s with the keys of E, its targets, before those that it has: see Of. Without a New of its own each
// entry is a new E.
func Table[E any, T interface {
	*E
	Target
}](t *Tags, s Section) *Section {
	keys := Of[E](t)
	if s.Keep != nil {
		keys = slices.DeleteFunc(keys, func(k *Key) bool { return !s.Keep(k) })
	}
	s.Keys = append(keys, s.Keys...)
	if s.New == nil {
		s.New = Make[E, T]
	}
	return &s
}

type structKeys struct {
	types func(reflect.StructField) (FieldType, bool)
	held  bool // the struct is one of a program too
	keys  []*Key

	comments map[string][]string
}

func (s *structKeys) all(of reflect.Type) ([]*Key, error) {
	if err := s.add(of, nil, ""); err != nil {
		return nil, err
	}
	for _, k := range s.keys {
		if !s.held {
			break // New prepares the keys of sections
		}
		err := k.prepare(nil)
		if err == nil && k.Example != "" {
			if _, rep := k.parseText(k.Example); !rep.OK() {
				err = errors.New("example: " + rep.Errors[0].Message)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.field, err)
		}
	}
	return s.keys, nil
}

// add adds the keys of the fields of a struct, which is at index in the outermost one.
func (s *structKeys) add(of reflect.Type, index []int, table string) error {
	if of.Kind() != reflect.Struct {
		return fmt.Errorf("%v is no struct", of)
	}
	for i := range of.NumField() {
		f, before := of.Field(i), len(s.keys)
		at := append(slices.Clip(index), i)
		name, tagged := f.Tag.Lookup("edge")
		path := table
		if name != "" {
			path = strings.TrimPrefix(table+"."+name, ".")
		}
		var err error
		switch {
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct:
			err = s.add(f.Type, at, table)
		case !tagged:
		case !f.IsExported() || name != "" && !isPath(name):
			err = errors.New("a key is an exported field, and its name has letters, digits, \"_\" and \"-\"")
		case f.Type.Kind() == reflect.Struct && !s.known(f):
			err = s.add(f.Type, at, path)
		default:
			if err = s.field(of, f, at, path); err == nil && f.Type.Kind() == reflect.Struct {
				err = s.add(f.Type, at, path) // the keys of the table that the value stands for
			}
		}
		if err == nil {
			err = s.move(before, f.Tag.Get("after"), table)
		}
		if err != nil {
			return fmt.Errorf("%s.%s: %w", of.Name(), f.Name, err)
		}
	}
	return nil
}

func isPath(name string) bool {
	return !slices.ContainsFunc(strings.Split(name, "."), func(part string) bool { return !syntax.IsBareKey(part) })
}

// move puts the keys from index from on after the one of that name.
func (s *structKeys) move(from int, after, table string) error {
	if after == "" {
		return nil
	}
	path := strings.TrimPrefix(table+"."+after, ".")
	to := 1 + slices.IndexFunc(s.keys[:from], func(k *Key) bool { return k.Path == path })
	if to == 0 {
		return fmt.Errorf("there is no key %q before it", path)
	}
	moved := slices.Clone(s.keys[from:])
	s.keys = slices.Insert(s.keys[:from], to, moved...)
	return nil
}

func (s *structKeys) known(f reflect.StructField) bool {
	_, found := s.types(f)
	return found
}

// field adds the key of one field.
func (s *structKeys) field(in reflect.Type, f reflect.StructField, index []int, path string) error {
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
		Enum: slices.Concat(strings.Fields(tag("enum")), of.Enum), Open: of.Open, Synonyms: of.Synonyms,
		Words: strings.Fields(tag("words")), Later: strings.Fields(tag("later")), Aliases: strings.Fields(tag("also")),
		Required: tag("required") == "true", Restart: tag("restart") == "true",
		Local:   tag("local") == "true" || tag("file") != "",
		Secret:  of.Secret || tag("secret") == "true",
		Default: of.literal(f.Type, tag("default")), Example: of.literal(f.Type, tag("example")),
		Into: s.fieldAt(index, of.Set), field: in.Name() + "." + f.Name,
	}
	_, preset := f.Tag.Lookup("default")
	if f.Type.Kind() == reflect.Bool && !preset {
		k.Default = "false"
	}
	switch {
	case slices.ContainsFunc(s.keys, func(other *Key) bool { return other.Path == path }):
		return fmt.Errorf("there are two keys %q", path)
	case k.Required && k.Default != "":
		return errors.New("it is required, and has a default")
	case s.held && f.Type.Kind() == reflect.Bool && k.Default == "true":
		return errors.New("a bool cannot be true by default: turn its meaning around, or make it a *bool")
	case k.Min != "" && of.Number == nil:
		return errors.New("it has no bounds: it is no number")
	}
	k.comment(s.comments[k.field])
	s.keys = append(s.keys, k)
	return nil
}

// comment takes what the comment above a field says.
func (k *Key) comment(lines []string) {
	for _, line := range lines {
		if example, found := strings.CutPrefix(line, "Example: "); found {
			k.Example = example
		} else if also, found := strings.CutPrefix(line, "Also: "); found {
			k.Aliases = strings.Fields(also)
		} else {
			k.Doc = strings.TrimSpace(k.Doc + " " + line)
		}
	}
}

// Comments returns the comments above fields with keys in files of Go, by "Type.Field" and line by line. The files are
// as gofmt writes them.
func Comments(files ...embed.FS) map[string][]string {
	all := make(map[string][]string)
	for _, f := range files {
		names, _ := f.ReadDir(".") // what is embedded can be read
		for _, file := range names {
			text, _ := f.ReadFile(file.Name())
			addComments(all, text)
		}
	}
	return all
}

func addComments(all map[string][]string, text []byte) {
	var of string
	var comment [][]byte
	for line := range bytes.Lines(text) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if words, found := bytes.CutPrefix(line, []byte("\t// ")); found {
			comment = append(comment, words)
			continue
		}
		if name, found := bytes.CutSuffix(line, []byte(" struct {")); found && bytes.HasPrefix(name, []byte("type ")) {
			of = string(name[len("type "):])
		} else if name, _, found := bytes.Cut(line, []byte(" ")); found && bytes.Contains(line, []byte("`edge:")) {
			key := of + "." + string(bytes.TrimPrefix(name, []byte("\t")))
			for _, words := range comment {
				all[key] = append(all[key], string(words)) // nothing keeps the whole text
			}
		}
		comment = comment[:0]
	}
}

// knownTags are those of fields with keys.
var knownTags = []string{"after", "also", "default", "doc", "edge", "enum", "example", "file", "kind", "later", "local",
	"max", "min", "phase", "required", "restart", "secret", "unit", "words"}

// checkTags finds a misspelt tag, which Go does not.
func checkTags(tag reflect.StructTag) error {
	for rest := string(tag); rest != ""; {
		name, after, found := strings.Cut(strings.TrimLeft(rest, " "), ":")
		if !found || !slices.Contains(knownTags, name) && name != "json" {
			return fmt.Errorf("tag %q: known are %s, each as name:\"value\"", name, strings.Join(knownTags, ", "))
		}
		value, err := strconv.QuotedPrefix(after)
		if err != nil {
			return fmt.Errorf("tag %q: its value stands in quotes", name)
		}
		rest = strings.TrimLeft(after[len(value):], " ")
	}
	for _, name := range []string{"required", "secret", "local", "restart"} {
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
	t, kind := f.Type, cmp.Or(f.Tag.Get("kind"), f.Tag.Get("unit"))
	if of, found := s.types(f); found {
		return of, nil
	}
	if of, found := ownKinds[kind]; found && (t.Kind() == reflect.String) != (of.Number != nil) {
		return of, nil
	}
	_, words := f.Tag.Lookup("enum")
	of, found := fieldTypes[t]
	switch {
	case kind != "":
		return of, fmt.Errorf("there are no values of kind %q of type %v", kind, t)
	case found && words && t.Kind() == reflect.Slice:
		return FieldType{Type: Choices, Plain: true}, nil
	case found:
		return of, nil
	case t.Kind() == reflect.String && words:
		return FieldType{Type: Choice, Plain: true}, nil
	case t.Kind() == reflect.String:
		return FieldType{Type: String, Plain: true}, nil
	case t.Kind() == reflect.Bool, t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Bool:
		return FieldType{Type: Bool}, nil
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		return FieldType{Type: Int}, nil
	}
	return of, fmt.Errorf("there are no values of type %v", t)
}

// fieldAt returns the field at index of a target, or of the struct of a Held.
func (s *structKeys) fieldAt(index []int, set func(reflect.Value, any)) Field {
	held := s.held
	field := func(t Target) (v reflect.Value, found bool) {
		of := any(t)
		if held {
			of = t.(holder).held()
		}
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
			case to.Kind() == reflect.Pointer && !reflect.TypeOf(v).AssignableTo(to.Type()):
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
