package rules

import (
	"embed"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
)

// Entry is a table of rules.
type Entry struct {
	schema.Held // of the keys of limit
	Rule

	// With `false` no access log has the request.
	Logged bool `edge:"log" after:"tag" default:"true" example:"false"`
	// Where the request goes, in place of where its route leads: an upstream, or addresses as in a route.
	DestText string `edge:"dest" after:"timeout" example:"10.0.0.12:8080"`
}

// Paths of the sections.
const (
	OfAll       = "rules"
	OfListeners = "listeners.rules"
	OfRoutes    = "routes.rules"
)

// Sections returns [[rules]], [[listeners.rules]] and [[routes.rules]].
func Sections() []*schema.Section {
	return []*schema.Section{
		section(OfAll, "Rules for all requests, which run before a route is chosen, in their order, until one "+
			"answers: see [rules](rules.md). A rewrite there is what routes see."),
		section(OfListeners, "Rules for the requests that come by a listener, before those of `[[rules]]`."),
		section(OfRoutes, "Rules for the requests of a route, which run once it is chosen, before its filters. A "+
			"rewrite changes what is sent on."),
	}
}

func section(path, doc string) *schema.Section {
	return schema.Table[Entry](tags(), schema.Section{
		Path: path, Shape: schema.List, Doc: doc, New: newEntry, Keys: limits().Keys(), Later: []string{"cache"},
	})
}

func newEntry(_ schema.Target, n *syntax.Node) schema.Target {
	return &Entry{Held: schema.Held{Struct: limits().New(n)}}
}

// limits is the table limit, which has the keys of filters of type rate_limit but for those of delays: a rule cannot
// hold a request back, since the rules after it run at once.
var limits = sync.OnceValue(func() *plugins.Inside {
	return plugins.Filters.In("limit", "rate_limit", func(k *schema.Key) bool {
		switch k.Path {
		case "limit.rate":
			k.Doc = "The rule limits its requests: how many of a key get through. What is beyond it is refused."
		case "limit.mode":
			k.Enum = []string{"reject", "log"}
		case "limit.max_delay", "limit.max_delayed":
			return false
		}
		return true
	})
})

//go:embed rule.go section.go
var source embed.FS

// tags say what the tags of fields mean.
var tags = sync.OnceValue(func() *schema.Tags {
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"*lang.Condition": language.Compiled(language.TypeCondition),
		"*lang.Template":  language.Compiled(language.TypeTemplate),
		"answer_fields":   {Type: typeFields(false)},
		"deny":            {Type: typeDeny},
		"lines":           language.Compiled(language.TypeLines),
		"request_fields":  {Type: typeFields(true)},
		"texts":           {Type: typeTexts},
	}}
})

// Types of keys. The comment after each is the Go type of its values.
var (
	typeDeny  = schema.Type{Name: "status or true", Parse: parseDeny, Truth: true}   // int
	typeTexts = schema.Type{Name: "table of [templates](DSL.md)", Parse: parseNames} // []Text
)

// typeFields is the type of a table of fields: []Text.
func typeFields(ofRequest bool) schema.Type {
	parse := func(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
		return value.ParseTexts(d, n, func(c *syntax.Node) (wrong, hint string) {
			if !ofRequest && strings.EqualFold(c.Key, "host") {
				return "an answer has no Host", "headers.request sets that of the request"
			}
			return value.WrongField(c.Key)
		})
	}
	return schema.Type{Name: "table of [templates](DSL.md)", Parse: parse}
}

func parseDeny(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	switch {
	case n.Kind == syntax.KindBool && n.Truth:
		return 403, true
	case n.Kind == syntax.KindBool:
		d.Report.Errorf(n.Value, "leave it out", "a rule denies, or does not name it")
	case n.Kind != syntax.KindInt:
		d.WrongKind(n, "a status or true", "")
	case n.Integer < 400 || n.Integer > 599:
		d.Report.Errorf(n.Value, "respond has any status", "the status of a refusal is 400 to 599, not %d", n.Integer)
	default:
		return int(n.Integer), true
	}
	return nil, false
}

func parseNames(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	return value.ParseTexts(d, n, func(c *syntax.Node) (wrong, hint string) {
		if k.Path == "set" && !isName(c.Key) {
			return syntax.Quote(c.Key) + " is no name: it begins with a letter and has letters, digits, \"_\" and " +
				"\"-\" alone, 64 at most", ""
		}
		return "", ""
	})
}

func isName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= 64
}
