package schema

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// object is a piece of a JSON Schema.
type object = map[string]any

// JSONSchema writes the keys as a JSON Schema (draft 7), for editors. It knows every spelling of every key, and of
// values what JSON Schema can say: kinds, words and bounds. What it refuses is wrong. What it takes may be wrong too:
// only a check knows all rules.
func (s *Schema) JSONSchema(w io.Writer, title string) error {
	root := s.root.describeTable()
	root["$schema"], root["title"] = "http://json-schema.org/draft-07/schema#", title
	properties, patterns := root["properties"].(object), object{}
	for _, name := range s.Reserved.Ignored {
		none := object{"description": "Accepted and ignored."}
		if begin, star := strings.CutSuffix(name, "*"); star {
			patterns["^"+begin] = none
		} else if properties[name] == nil {
			properties[name] = none
		}
	}
	if len(patterns) > 0 {
		root["patternProperties"] = patterns
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(root)
}

func (p *place) describe() object {
	var forms []any
	if p.key != nil {
		forms = p.key.forms()
		if forms == nil && p.key.Type.Truth && len(p.children) > 0 {
			forms = []any{object{"type": "boolean"}, variable} // or the table below it
			if p.key.Type.Text {
				forms[1] = object{"type": "string"}
			}
		}
		if forms == nil {
			return object{"description": p.key.Doc}
		}
	}
	if p.section != nil {
		forms = append(forms, p.section.forms(p)...)
	} else if len(p.children) > 0 {
		forms = append(forms, p.describeTable())
	}
	o := object{}
	switch {
	case forms == nil: // any value
	case len(forms) == 1:
		o = forms[0].(object)
	default:
		o["anyOf"] = forms
	}
	if p.key != nil {
		o["description"] = p.key.Doc
		if v, ok := jsonValue(p.key.Default); ok {
			o["default"] = v
		}
	} else if p.section != nil {
		o["description"] = p.section.Doc
	}
	return o
}

func (p *place) describeTable() object {
	properties := object{}
	for name, c := range p.children {
		properties[name] = c.describe()
	}
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

// describeVariants returns an entry of s, which is of one of its kinds.
func (p *place) describeVariants(s *Section) object {
	if len(s.Variants.List) == 0 {
		return p.describeTable()
	}
	kinds := []any{}
	for _, v := range s.Variants.List {
		table := p.variants[v.Name].describeTable()
		table["description"] = v.Doc
		table["properties"].(object)[s.Variants.By] = object{"const": v.Name}
		kinds = append(kinds, table)
	}
	return object{"anyOf": kinds}
}

// forms returns how the entries of a section may be written.
func (s *Section) forms(p *place) []any {
	table := p.describeTable()
	var forms []any
	switch p.shape {
	case List:
		item := table
		if s.Bare != "" {
			item = object{"anyOf": []any{table, object{"type": "string"}}}
		}
		forms = append(forms, object{"type": "array", "items": item})
		if s.Single {
			forms = append(forms, table)
		}
	case Named:
		if p.variants != nil {
			table = p.describeVariants(s)
		}
		if bare := p.children[s.Bare]; bare != nil {
			table = object{"anyOf": []any{table, bare.describe()}}
		}
		forms = append(forms, object{"type": "object", "additionalProperties": table})
	default:
		forms = append(forms, table)
	}
	if s.Switch != "" {
		forms = append(forms, object{"type": "boolean"})
	}
	return forms
}

// variable matches a string with a variable, which may stand for a value of any kind.
var variable = object{"type": "string", "pattern": `\$\{`}

// forms returns how a value of a key may be written; nil: in any way.
func (k *Key) forms() []any {
	words := make([]any, 0, len(k.Enum))
	for _, w := range append(append([]string{}, k.Enum...), k.Words...) {
		words = append(words, w)
	}
	for w := range k.Synonyms {
		words = append(words, w)
	}
	switch {
	case len(k.Enum) > 0 && k.Type.Number == nil:
		// The type decides whether it is one of the words or a list of them, and which kinds stand for them.
		one := object{"enum": words}
		if k.Open {
			return []any{one, object{"type": "string"}}
		}
		return []any{one, object{"type": "array"}, object{"type": "boolean"}, object{"type": "number"}, variable}
	case k.Type.Name == Bool.Name:
		return []any{object{"type": "boolean"}, variable}
	case k.Type.Name == Int.Name:
		forms := []any{object{"type": "integer", "minimum": k.Lo, "maximum": k.Hi}, variable}
		if k.Min == "" {
			forms[0] = object{"type": "integer"}
		}
		if len(words) > 0 {
			forms = append(forms, object{"enum": words})
		}
		return forms
	case k.Type.Number != nil:
		return []any{object{"type": "string"}, object{"type": "number"}}
	case slices.Contains([]string{String.Name, Lines.Name, Folder.Name, Token.Name}, k.Type.Name):
		return []any{object{"type": "string"}}
	case k.Type.Name == Strings.Name:
		return []any{object{"type": "string"}, object{"type": "array", "items": object{"type": "string"}}}
	}
	return nil
}

// jsonValue returns a default, as a row has it, as JSON has it.
func jsonValue(text string) (v any, ok bool) {
	rep := &syntax.Report{}
	root, whole := syntax.ParseTOML(syntax.NewSource("schema", []byte("value = "+text), 0), rep)
	if text == "" || !whole || root.Child("value") == nil {
		return nil, false
	}
	switch n := root.Child("value"); n.Kind {
	case syntax.KindString:
		return n.Text, true
	case syntax.KindBool:
		return n.Truth, true
	case syntax.KindInt:
		return n.Integer, true
	case syntax.KindList:
		list := []any{}
		for _, c := range n.Children {
			list = append(list, c.Text)
		}
		return list, true
	}
	return nil, false
}
