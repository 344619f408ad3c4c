package rules

import (
	"slices"
	"strings"
	"sync"
	"time"

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
	when, rewrite, to, body string
	dest                    string
	log                     bool
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
	return &schema.Section{
		Path: path, Shape: schema.List, Doc: doc, New: newEntry,
		Keys: slices.Concat(keys(), endKeys(), limits().Keys()), Later: []string{"cache"},
	}
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

// keys are those of what a rule is for, and of what it does with a request that goes on.
func keys() []*schema.Key {
	return []*schema.Key{
		{Path: "name", Type: schema.Token, Example: `"no-bots"`,
			Into: schema.Into(func(e *Entry) *string { return &e.Name }),
			Doc:  "Its name. The access log has it as `rule` where the rule ended the request."},
		{Path: "when", Type: language.TypeCondition, Example: `'path ~ "/\.git"'`,
			Into: schema.Into(func(e *Entry) *string { return &e.when }),
			Doc:  "The requests that it is for: a text of [the language](DSL.md). Without it, all."},
		{Path: "set", Type: typeTexts, Example: `{ tenant = "{header.x-tenant.lower()}" }`,
			Into: schema.Into(func(e *Entry) *[]Text { return &e.Set }),
			Doc: "Texts of the request, which later rules and all other texts know as `local.NAME`. All rules " +
				"together set 16 names at most."},
		{Path: "tag", Type: schema.Token, Example: `"bot"`,
			Into: schema.Into(func(e *Entry) *string { return &e.Tag }),
			Doc:  "A word that the access log has among the `tags` of the request."},
		{Path: "log", Type: schema.Bool, Default: "true", Example: "false",
			Into: schema.Into(func(e *Entry) *bool { return &e.log }),
			Doc:  "With `false` no access log has the request."},
		{Path: "filters", Type: schema.Strings, Example: `["mine"]`,
			Into: schema.Into(func(e *Entry) *[]string { return &e.Filters }),
			Doc: "Filters that run for the request as well, after the rules. `!name` takes one out that would run. " +
				"The last rule that names a filter counts. 64 filters at most are named by rules."},
		{Path: "timeout", Type: schema.Duration, Min: "1ms", Max: "24h", Example: `"30s"`,
			Into: schema.Into(func(e *Entry) *time.Duration { return &e.Timeout }),
			Doc:  "How long all of the request may take, tunnels aside: in place of `timeouts.total`."},
		{Path: "dest", Type: schema.String, Example: `"10.0.0.12:8080"`,
			Into: schema.Into(func(e *Entry) *string { return &e.dest }),
			Doc: "Where the request goes, in place of where its route leads: an upstream, or addresses as in a " +
				"route."},
		{Path: "headers.request", Type: typeFields(true), Example: `{ X-Real-IP = "{client.ip}" }`,
			Into: schema.Into(func(e *Entry) *[]Text { return &e.Request }),
			Doc: "Fields of the request that is sent on. An empty text, or one that becomes empty, removes the " +
				"field. What the client says under that name is not sent on. Rules after it see the request " +
				"without them."},
		{Path: "headers.response", Type: typeFields(false), Example: `{ X-Cache-Status = "{answer.source}" }`,
			Into: schema.Into(func(e *Entry) *[]Text { return &e.Response }),
			Doc: "Fields of the answer, of edge's own answers too: their texts know the answer. `match.1` is what it " +
				"was when the rule held."},
		{Path: "rewrite", Type: language.TypeTemplate, Example: `'/new{path.cut_prefix("/old")}'`,
			Into: schema.Into(func(e *Entry) *string { return &e.rewrite }),
			Doc: "The path that takes the place of the one asked for. The query is kept unless there is a `?`, " +
				"`{query}` or `{target}`; a `?` at the end takes it away."},
		{Path: "query.del", Type: schema.Strings, Example: `["utm_source", "utm_medium"]`,
			Into: schema.Into(func(e *Entry) *[]string { return &e.QueryDel }),
			Doc:  "Parameters that are taken out of the query."},
		{Path: "query.set", Type: typeTexts, Example: `{ lang = "{header.accept-language}" }`,
			Into: schema.Into(func(e *Entry) *[]Text { return &e.QuerySet }),
			Doc:  "Parameters that take the place of all of their name. Values are encoded."},
		{Path: "query.add", Type: typeTexts, Example: `{ from = "edge" }`,
			Into: schema.Into(func(e *Entry) *[]Text { return &e.QueryAdd }),
			Doc:  "Parameters that are put after the others."},
	}
}

// endKeys are the keys of what ends a request.
func endKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "respond.status", Type: schema.Int, Default: "200", Min: "200", Max: "599", Example: "200",
			Into: schema.Into(func(e *Entry) *int { return &e.Respond.Status }),
			Doc:  "The rule answers: with this status."},
		{Path: "respond.body", Type: language.TypeLines, Example: `"hello {client.ip}"`,
			Into: schema.Into(func(e *Entry) *string { return &e.body }),
			Doc: "The body of the answer. Values are escaped where `type` is HTML, XML, JSON or JavaScript, as for " +
				"between quotation marks."},
		{Path: "respond.type", Type: schema.String, Default: `"text/plain; charset=utf-8"`,
			Example: `"text/html; charset=utf-8"`,
			Into:    schema.Into(func(e *Entry) *string { return &e.Respond.Type }),
			Doc:     "The type of the body."},
		{Path: "redirect.to", Type: language.TypeTemplate, Example: `"https://{host}{target}"`, Required: true,
			Into: schema.Into(func(e *Entry) *string { return &e.to }),
			Doc: "Where the client is sent. The query is kept as `rewrite` says. A request does not choose the host, " +
				"but where `{host}` is written."},
		{Path: "redirect.status", Type: schema.Int, Default: "308", Min: "301", Max: "308", Example: "301",
			Into: schema.Into(func(e *Entry) *int { return &e.Redirect.Status }),
			Doc:  "Its status: 301, 302, 303, 307 or 308."},
		{Path: "deny", Type: typeDeny, Example: "404",
			Into: schema.Into(func(e *Entry) *int { return &e.Deny }),
			Doc:  "The request is refused: with this status, 400 to 599, and the page for it; `true` is 403."},
		{Path: "drop", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *Entry) *bool { return &e.Drop }),
			Doc:  "The connection is closed without an answer; in HTTP/2 the stream is reset."},
		{Path: "tarpit", Type: schema.Duration, Min: "1s", Max: "10m", Example: `"20s"`,
			Into: schema.Into(func(e *Entry) *time.Duration { return &e.Tarpit }),
			Doc: "How long the client waits before `deny` or `drop`; with neither it is `deny`. 1000 requests wait " +
				"at a time in the process; more are not kept waiting."},
	}
}

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
