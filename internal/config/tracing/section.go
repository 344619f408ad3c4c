package tracing

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/message"
)

func init() {
	config.Register[Tracing](keyTypes, schema.Section{
		Path: tracingPath, Resolve: resolve,
		Doc: "[Traces](tracing.md) of requests: where their spans go, and which are recorded. Without the section " +
			"none are. `tracing` of listeners and routes goes before it.",
		Codes: []schema.Code{
			{Name: codeWideName, Doc: "`name` of `[tracing]`, of a listener or of a route has a value that a client " +
				"may fill with anything: a name of spans is for few values, as collectors count by it."},
			{Name: codeInClear, Doc: "`headers` of a collector go to another machine without TLS: anybody in " +
				"between can read them."},
		},
	})
	config.Register[listenerEntry](keyTypes, schema.Section{
		Path: listenersPath, Switch: "enabled", Defaults: tracingPath,
		Doc: "Traces of the requests of this listener, by keys that go before those of `[tracing]`. " +
			"`tracing = false` turns them off.",
	})
	config.Register[routeEntry](keyTypes, schema.Section{
		Path: routesPath, Switch: "enabled", Defaults: tracingPath,
		Doc: "Traces of the requests of this route, by keys that go before those of `[tracing]`; where the route has " +
			"the table, `tracing` of listeners says no more than `accept`, or `false`. `tracing = false`: no request " +
			"of the route is recorded.",
	})
	config.RegisterCheck(check)
}

func keyTypes() *schema.Tags {
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"plugin.Rate":    {Type: plugins.TypeRate, Plain: true},
		"*float64":       {Type: config.TypeSample},
		"tracing.Always": language.Compiled(config.TypeAlways),
		"*lang.Template": language.Compiled(language.TypeTemplate),
		"[]value.Text":   {Type: typeAttributes},
		"field_names":    {Type: value.TypeFieldNames(wrongField)},
	}}
}

// typeAttributes is the type of tables of attributes: []value.Text.
var typeAttributes = schema.Type{Name: "table of [templates](DSL.md)", Parse: parseAttributes}

const nameMax = 128

func parseAttributes(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	all, right := value.ParseTexts(d, n, func(c *syntax.Node) (wrong, hint string) {
		switch {
		case otlp.HasAttribute(c.Key):
			return "spans have an attribute " + syntax.Quote(c.Key) + " of their own",
				"write another name, such as " + syntax.Quote("app."+c.Key)
		case c.Key == "" || len(c.Key) > nameMax:
			return fmt.Sprintf("the name of an attribute has 1 to %d bytes", nameMax), ""
		}
		return "", ""
	})
	if len(all) > observe.MembersMax {
		d.Report.Errorf(n.Head, "", "%d attributes, %d are the most", len(all), observe.MembersMax)
		right = false
	}
	return all, right
}

func wrongField(name string) (wrong, hint string) {
	if !message.ValidName(name) {
		return syntax.Quote(name) + " is not the name of a field", `a name has letters, digits and "-"`
	}
	return "", ""
}
