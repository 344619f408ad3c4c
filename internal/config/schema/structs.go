package schema

import (
	"bytes"
	"embed"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
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

// fieldTypes are the field types of the kinds of package tags.
var fieldTypes = map[string]FieldType{
	"size": {Type: Size, Plain: true}, "rate": {Type: Rate, Plain: true}, "duration": {Type: Duration, Plain: true},
	"name": {Type: Token, Plain: true}, "folder": {Type: Folder, Plain: true}, "lines": {Type: Lines, Plain: true},
	"string": {Type: String, Plain: true}, "strings": {Type: Strings, Plain: true}, "texts": {Type: Texts},
	"choice": {Type: Choice, Plain: true}, "choices": {Type: Choices, Plain: true}, "bool": {Type: Bool},
	"optional": {Type: Optional, Plain: true}, "prefixes": {Type: Prefixes, Plain: true}, "int": {Type: Int},
}

// Held is a Target for the keys of Struct. Their values go to a struct.
type Held struct {
	Given
	Struct any // a pointer to it; nil: the values go nowhere
}

func (h *Held) held() any { return h.Struct }

// holder is a Target that embeds Held.
type holder interface{ held() any }

// Struct returns the keys of a struct of programs, whose rows these are: see tags.Held. The targets of their entries
// embed Held. types returns the FieldType of a field whose values are of a type of the caller, nil for others.
func Struct(rows []*tags.Row, types func(reflect.StructField) any) (keys []*Key) {
	for _, r := range rows {
		k := newKey(r, types(r.Field))
		k.held = true
		if err := k.prepare(nil); err != nil {
			panic(fmt.Sprintf("schema: %s: %v", k.Name, err))
		}
		keys = append(keys, k)
	}
	return keys
}

// Tags say what the tags of a package mean beyond the tags of this one.
type Tags struct {
	// Kinds are types of fields, by the tag "kind" or by the Go type: "value.Endpoint".
	Kinds map[string]FieldType
	// Comments are the comments of the fields: see Comments.
	Comments map[string][]string
}

// Of returns the keys of E, the targets of a section, from its tags: see package tags. The comment above a field is the
// doc of its key; a line of it that begins with "Example:" or "Also:" has what the tags of these names have. A mistake
// in the tags panics. t may be nil.
func Of[E any](t *Tags) (keys []*Key) {
	if t == nil {
		t = new(Tags)
	}
	rows, err := tags.Of(reflect.TypeFor[E](), func(f reflect.StructField) any {
		for _, name := range []string{f.Tag.Get("kind"), f.Type.String()} {
			if of, found := t.Kinds[name]; found {
				return of
			}
		}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("schema: %v", err))
	}
	for _, r := range rows {
		k := newKey(r, r.Type)
		k.comment(t.Comments[k.Name])
		keys = append(keys, k)
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

// newKey returns the key of a row whose values are of a FieldType, nil for the one of its Kind.
func newKey(r *tags.Row, typ any) *Key {
	of, found := typ.(FieldType)
	if !found {
		of = fieldTypes[r.Kind]
	}
	k := &Key{Row: *r, Type: of.Type, Open: of.Open, Synonyms: of.Synonyms, set: of.Set}
	if k.set == nil {
		k.set = tags.Set
	}
	k.Enum, k.Secret = slices.Concat(k.Enum, of.Enum), k.Secret || of.Secret
	k.Default, k.Example = of.literal(r.Field.Type, k.Default), of.literal(r.Field.Type, k.Example)
	return k
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

// literal returns a default or an example as a file has it.
func (t *FieldType) literal(of reflect.Type, text string) string {
	quoted := strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "'")
	if text == "" || !t.Plain || quoted || of.Kind() == reflect.Slice && text[0] == '[' {
		return text
	}
	return quoteTOML(text)
}

// Store stores v in the field of k: a value of its Go type, or a value that its Set takes.
func (k *Key) Store(t Target, v any) {
	if of := k.structIn(t); of != nil {
		k.set(k.In(of), v)
	}
}

// Value returns what the field of k has.
func (k *Key) Value(t Target) any {
	if of := k.structIn(t); of != nil {
		return k.In(of).Interface()
	}
	return nil
}

// structIn returns a pointer to the struct with the field of k: t, or what the Held in t has.
func (k *Key) structIn(t Target) any {
	if k.held {
		return t.(holder).held()
	}
	return t
}

// Prefixes and Texts are types of keys.
var (
	Prefixes = Type{Name: "addresses", Parse: ListOf("an address or a prefix", prefixOf)}
	Texts    = Type{Name: "table of strings", Parse: parseTexts}
)

// prefixOf reads a prefix, never an IPv4 one written as IPv6.
func prefixOf(_ []netip.Prefix, s string) (p netip.Prefix, wrong, hint string) {
	p, err := tags.ParsePrefix(s)
	if err != nil {
		return p, syntax.Quote(s) + " is no address, and no prefix of some", `write it as "10.0.0.0/8" or "2001:db8::1"`
	}
	return p, "", ""
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
