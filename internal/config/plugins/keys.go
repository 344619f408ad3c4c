package plugins

import (
	"reflect"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
)

// keys are the keys of the registered types.
var keys = sync.OnceValue(func() map[*plugin.Type][]*schema.Key {
	all := make(map[*plugin.Type][]*schema.Key)
	for _, t := range plugin.Types() {
		all[t] = schema.Struct(t.Rows, fieldType)
	}
	return all
})

// keysOf returns the keys of a type: the same in each call, since a key belongs to one section.
func keysOf(t *plugin.Type) []*schema.Key { return keys()[t] }

// fieldType returns the schema.FieldType of fields of types that package plugin adds to the types of package tags.
func fieldType(f reflect.StructField) any {
	switch s, isSource := plugin.SourceOf(f); {
	case isSource:
		return schema.FieldType{Type: sourceType(s), Plain: true, Set: func(field reflect.Value, v any) {
			if _, isText := v.(plugin.Source); !isText { // that one is compiled later
				field.Set(reflect.ValueOf(v))
			}
		}}
	case f.Type == reflect.TypeFor[plugin.Rate]():
		return schema.FieldType{Type: TypeRate, Plain: true}
	case f.Type == reflect.TypeFor[plugin.Text]():
		return schema.FieldType{Type: schema.String, Plain: true, Secret: true}
	}
	return nil
}

// sourceType is the type of keys for texts of the language that are evaluated in the phases of s. Its values are
// Sources.
func sourceType(s plugin.Source) schema.Type {
	name := "condition"
	if s.Template {
		name = "template"
	}
	return schema.Type{Name: "[" + name + "](DSL.md)",
		Parse: func(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
			if n.Kind != syntax.KindString {
				d.WrongKind(n, "a "+name, "")
				return nil, false
			}
			if strings.TrimSpace(n.Text) == "" {
				d.Report.Errorf(n.Value, "leave it out, or say which", "%q must not be empty", n.Key)
				return nil, false
			}
			return plugin.Source{Text: n.Text, Phases: s.Phases, Template: s.Template}, true
		}}
}

// TypeRate is the type of keys for a plugin.Rate.
var TypeRate = schema.Type{Name: "rate", Number: plugin.ParsePerDay,
	Parse: func(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
		const want = `a rate, as "100/s"`
		if n.Kind == syntax.KindInt {
			d.WrongKind(n, want, "write "+syntax.Quote(n.Text+"/s"))
			return nil, false
		}
		s, ok := d.String(n, want)
		if !ok {
			return nil, false
		}
		rate, err := plugin.ParseRate(s)
		if err != nil {
			d.Report.Errorf(n.Value, `write it as "100/s", "5/m" or "1000/h"`, "%q must be a rate, not %s", n.Key,
				syntax.Quote(s))
			return nil, false
		}
		if err := k.AllowsNumber(rate.PerDay()); err != nil {
			d.Report.Errorf(n.Value, "", "%q: %v", n.Key, err)
			return nil, false
		}
		return rate, true
	}}

// Compiler compiles the texts of a configuration, and reports what is wrong with them: *language.Language.
type Compiler interface {
	// Condition compiles the string n; nil: it is wrong.
	Condition(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Condition
	// Template is Condition for a template.
	Template(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Template
	// Scope returns what texts may name.
	Scope() *lang.Scope
}
