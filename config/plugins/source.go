package plugins

import (
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// Source is the value of a key for a *lang.Condition or a *lang.Template: a text that is compiled once it is known what
// it may name.
type Source struct {
	Text     string
	Phases   lang.Phases
	Template bool
}

// ConditionType is the type of keys for conditions that are asked in some phases. Its values are Sources.
func ConditionType(in lang.Phases) schema.Type { return sourceType("condition", in, false) }

// TemplateType is ConditionType for templates.
func TemplateType(in lang.Phases) schema.Type { return sourceType("template", in, true) }

func sourceType(name string, in lang.Phases, template bool) schema.Type {
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
			return Source{n.Text, in, template}, true
		}}
}

// Compile returns a *lang.Condition or a *lang.Template.
func (s Source) Compile(in *lang.Scope) (any, error) {
	if s.Template {
		return in.Template(s.Text, s.Phases)
	}
	return in.Condition(s.Text, s.Phases)
}

// Compiler compiles the texts of a configuration, and reports what is wrong with them: *language.Language.
type Compiler interface {
	// Condition compiles the string n; nil: it is wrong.
	Condition(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Condition
	// Template is Condition for a template.
	Template(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Template
	// Scope returns what texts may name.
	Scope() *lang.Scope
}
