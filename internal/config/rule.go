package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/lang"
)

// Rule is a condition of the language, and what is done with the requests that it holds for. Immutable once it was
// read; package internal/filter/rules runs what package server makes of it.
//
//	[[rules]]                 of all requests          before a route is chosen
//	[[listeners.rules]]       of a listener            before those
//	[[routes.rules]]          of a route               once it is chosen, before its filters
type Rule struct {
	// Name of the rule. The access log has it as `rule` where the rule ended the request.
	Name string `edge:"name" kind:"name" example:"no-bots" json:",omitempty"`
	// Condition of [the language](DSL.md) on requests that the rule is for. Without it, all requests.
	// Example: 'path ~ "/\.git"'
	When *lang.Condition `edge:"when" json:",omitempty"`
	// Texts of the request by name, which later rules and all other texts know as `local.NAME`. All rules together set
	// 16 names at most.
	// Example: { tenant = "{header.x-tenant.lower()}" }
	Set []Text `edge:"set" kind:"texts" json:",omitempty"`
	// Word that the access log has among the `tags` of the request.
	Tag string `edge:"tag" kind:"name" example:"bot" json:",omitempty"`
	// Filters that run for the request as well, after the rules. `!name` takes out a filter that would run. The last
	// rule that names a filter counts. 64 filters at most are named by rules.
	// Example: ["mine"]
	Filters []string `edge:"filters" json:",omitempty"`
	// Time that all of the request may take, tunnels aside, in place of `timeouts.total`.
	Timeout time.Duration `edge:"timeout" min:"1ms" max:"24h" example:"30s" json:",omitzero"`
	// Fields of the request that is sent on. An empty text, or a text that becomes empty, removes the field. The
	// client's own fields of that name are not sent on. Later rules see the request without these changes.
	// Example: { X-Real-IP = "{client.ip}" }
	Request []Text `edge:"headers.request" kind:"request_fields" json:",omitempty"`
	// Fields of the answer, of edge's own answers too: their texts may use the answer. `match.1` is as when the rule
	// held.
	// Example: { X-Cache-Status = "{answer.source}" }
	Response []Text `edge:"headers.response" kind:"answer_fields" json:",omitempty"`
	// Path in place of the path of the request. The query is kept unless there is a `?`, `{query}` or `{target}`; a `?`
	// at the end takes it away.
	// Example: '/new{path.cut_prefix("/old")}'
	Rewrite *lang.Template `edge:"rewrite" json:",omitempty"`
	// Parameters to take out of the query.
	// Example: ["utm_source", "utm_medium"]
	QueryDel []string `edge:"query.del" json:",omitempty"`
	// Parameters of the query to set, in place of all with the same name. Values are encoded.
	// Example: { lang = "{header.accept-language}" }
	QuerySet []Text `edge:"query.set" kind:"texts" json:",omitempty"`
	// Parameters to add at the end of the query.
	// Example: { from = "edge" }
	QueryAdd []Text       `edge:"query.add" kind:"texts" json:",omitempty"`
	Respond  RuleRespond  `edge:"respond" json:",omitzero"`
	Redirect RuleRedirect `edge:"redirect" json:",omitzero"`
	// Refuse the request: with this status, 400 to 599, and the page for it; `true` is 403.
	Deny int `edge:"deny" kind:"deny" example:"404" json:",omitzero"`
	// Close the client's connection without an answer; in HTTP/2, reset the stream.
	Drop bool `edge:"drop" example:"true" json:",omitempty"`
	// Time the client waits before `deny` or `drop`; with neither it is `deny`. 1000 requests wait at a time in the
	// process; further requests do not wait.
	Tarpit time.Duration `edge:"tarpit" min:"1s" max:"10m" example:"20s" json:",omitzero"`

	NoLog    bool               `json:",omitempty"`
	Dest     string             `json:",omitempty"` // the name of an upstream; "": where the route leads
	Limit    plugins.Definition `json:",omitzero"`  // of type rate_limit, without a name; the zero one: there is none
	Features []schema.Target    `json:",omitempty"` // see Register
	Pos      syntax.Pos
}

// Text is a template with a name.
type Text = value.Text

// Respond is an answer.
type RuleRespond struct {
	// Status with which the rule answers the request.
	Status int `edge:"status" default:"200" min:"200" max:"599" example:"200"`
	// Body of the answer. Values are escaped where `type` is HTML, XML, JSON or JavaScript, as for between quotation
	// marks.
	// Example: "hello {client.ip}"
	Body *lang.Template `edge:"body" kind:"lines" json:",omitempty"`
	// Content type of the body.
	Type string `edge:"type" default:"text/plain; charset=utf-8" example:"text/html; charset=utf-8"`

	On bool
}

// Redirect is an answer that sends the client elsewhere.
type RuleRedirect struct {
	// URL to send the client to. The query is kept as `rewrite` says. A request does not choose the host, except by a
	// `{host}` in the text.
	// Example: "https://{host}{target}"
	To *lang.Template `edge:"to" required:"true"`
	// Status with which the rule redirects: 301, 302, 303, 307 or 308.
	Status int `edge:"status" default:"308" min:"301" max:"308" example:"301"`
}

type ruleEntry struct {
	schema.Held // of the keys of limit
	Rule

	// Write the request to access logs; with `false` none has it.
	Logged bool `edge:"log" after:"tag" default:"true" example:"false"`
	// Destination of the request, in place of its route's: an upstream, or addresses as in a route.
	DestText string `edge:"dest" after:"timeout" example:"10.0.0.12:8080"`
}

// ruleLimits is the table limit, which has the keys of filters of type rate_limit but for the keys of delays: a rule
// cannot hold a request back, since the rules after it run at once.
var ruleLimits = sync.OnceValue(func() *plugins.Inside {
	return plugins.Filters.In("limit", "rate_limit", func(k *schema.Key) bool {
		switch k.Path {
		case "limit.rate":
			k.Doc = "Rate of requests that each key may keep up; requests over it are refused."
		case "limit.mode":
			k.Enum = []string{"reject", "log"}
		case "limit.max_delay", "limit.max_delayed":
			return false
		}
		return true
	})
})

// readRules returns the rules that entries of a file have. dest returns the upstream that a text at a place leads to;
// "" where the text leads to none, which it reports. in is when they are asked.
func readRules(
	doc *schema.Document, entries []schema.Target, c *language.Language, in lang.Phases,
	dest func(text string, at syntax.Span) string,
) []Rule {
	var all []Rule
	var last *ruleEntry // that takes every request
	for _, e := range schema.All[*ruleEntry](entries) {
		doc.Fill(e)
		e.Pos = e.Node().Head.Pos()
		e.compile(doc.Report, c, in)
		if e.Has("dest") && !e.Failed("dest") {
			e.Dest = dest(e.DestText, e.At("dest"))
		}
		e.Limit = ruleLimits().Resolve(doc.Report, &e.Held, c)
		e.NoLog = !e.Logged
		e.check(doc.Report)
		if last != nil {
			doc.Report.Warnf(schema.CodeNoEffect, e.Node().Head, "give that one a when, or put this one before it",
				"no request gets here: the rule at %s answers all of them", last.Node().Head.RelativeTo(e.Node().Head))
			last = nil
		} else if e.ends() != "" && !e.Has("when") && !e.HasUnknown() {
			last = e
		}
		all = append(all, e.Rule)
	}
	return all
}

func (e *ruleEntry) compile(rep *syntax.Report, c *language.Language, in lang.Phases) {
	template := func(key string) *lang.Template {
		if !e.Has(key) || e.Failed(key) {
			return nil
		}
		return c.Template(rep, e.KeyNode(key), in)
	}
	if e.Has("when") && !e.Failed("when") {
		e.When = c.Condition(rep, e.KeyNode("when"), in)
	}
	if e.Rewrite = template("rewrite"); e.Rewrite != nil {
		if _, err := location.Path(e.Rewrite); err != nil {
			rep.Errorf(e.At("rewrite"), "", "rewrite to %s: %v", syntax.Quote(e.Rewrite.String()), err)
		}
	}
	e.Respond.Body = template("respond.body")
	if e.Redirect.To = template("redirect.to"); e.Redirect.To != nil {
		if _, err := location.Location(e.Redirect.To); err != nil {
			rep.Errorf(e.At("redirect.to"), "", "redirect to %s: %v", syntax.Quote(e.Redirect.To.String()), err)
		}
	}
	for key, list := range map[string][]Text{
		"set": e.Set, "headers.request": e.Request, "headers.response": e.Response, "query.set": e.QuerySet,
		"query.add": e.QueryAdd,
	} {
		in := in
		if key == "headers.response" {
			in = lang.Answer
		}
		for i := range list {
			if n := e.KeyNode(key).Child(list[i].Name); n.Text != "" {
				list[i].Value = c.Template(rep, n, in)
			}
		}
	}
	if e.Respond.On = e.HasAny("respond."); !e.Respond.On {
		e.Respond = RuleRespond{}
	}
	if !e.HasAny("redirect.") {
		e.Redirect = RuleRedirect{}
	}
}

// Keys that end a request, and keys that only a request that goes on has any use for.
var (
	ruleEnds  = []string{"respond", "redirect", "deny", "drop"}
	ruleSends = []string{"limit", "timeout", "dest", "headers.request", "rewrite", "query", "cache"}
	ruleNotes = []string{"set", "tag", "log", "filters", "headers.response"}
)

// has reports whether the file gave a key, or one in the table of that name.
func (e *ruleEntry) has(key string) bool {
	if key == "drop" && !e.Failed(key) {
		return e.Drop
	}
	if key == "log" && !e.Failed(key) {
		return e.NoLog
	}
	if key == "filters" && !e.Failed(key) {
		return len(e.Filters) > 0
	}
	return e.Has(key) || e.HasAny(key+".") || e.Node().Child(key) != nil
}

// spot returns where a key stands, or the first one in the table of that name.
func (e *ruleEntry) spot(key string) syntax.Span {
	for _, name := range []string{
		key, key + ".status", key + ".to", key + ".body", key + ".type", key + ".del", key + ".set", key + ".add",
	} {
		if e.Has(name) {
			return e.Head(name)
		}
	}
	if n := e.Node().Child(key); n != nil {
		return n.Head
	}
	return e.Node().Head
}

// ends returns the key by which e ends a request; "": by none.
func (e *ruleEntry) ends() string {
	for _, key := range append(ruleEnds[:len(ruleEnds):len(ruleEnds)], "tarpit") {
		if e.has(key) {
			return key
		}
	}
	return ""
}

// check reports what the types of the keys cannot say.
func (e *ruleEntry) check(rep *syntax.Report) {
	end := e.ends()
	for _, key := range ruleEnds {
		if key != end && e.has(key) {
			rep.Conflictf(e.spot(key), e.spot(end), "leave one of them out", "a rule answers once: %q is at %s", end,
				e.spot(end).RelativeTo(e.spot(key)))
		}
	}
	if e.Has("tarpit") && (end == "respond" || end == "redirect") {
		rep.Conflictf(e.spot("tarpit"), e.spot(end), "use deny or drop",
			"what follows a tarpit is a refusal, not %q", end)
	}
	for _, f := range e.Response {
		if end == "respond" && strings.EqualFold(f.Name, "Content-Type") {
			rep.Conflictf(e.KeyNode("headers.response").Child(f.Name).Head, e.spot(end), "write it as respond.type",
				"values in the body are escaped for the type that %q says: no other one is sent", "respond.type")
		}
	}
	if end != "" {
		for _, key := range ruleSends {
			if e.has(key) {
				rep.Conflictf(e.spot(key), e.spot(end), "put it into a rule of its own",
					"%q has no effect: the rule does not send the request on, because of %q", key, end)
			}
		}
	}
	if s := e.Redirect.Status; e.Has("redirect.status") && !e.Failed("redirect.status") &&
		!slices.Contains([]int{301, 302, 303, 307, 308}, s) {
		rep.Errorf(e.At("redirect.status"), "the default is 308",
			"the status of a redirect is 301, 302, 303, 307 or 308, not %s", strconv.Itoa(s))
	}
	if e.HasAny("redirect.") && e.Lacks("redirect.to") {
		rep.Errorf(e.spot("redirect"), `write redirect = { to = "https://{host}{target}" }`,
			"a redirect says where to: %q is missing", "redirect.to")
	}
	if end == "" && !e.HasUnknown() && !slices.ContainsFunc(slices.Concat(ruleSends, ruleNotes), e.has) {
		rep.Errorf(e.Node().Head, "one of "+strings.Join(slices.Concat(ruleEnds, ruleSends, ruleNotes), ", "),
			"this rule does nothing")
	}
}

// How many names all rules of a configuration may have.
const (
	RuleTextsMax   = 16 // of set: as many as an exchange has room for
	ruleFiltersMax = 64
)

// ruleNames are the names that rules have so far.
type ruleNames []string

// add adds a name, unless there are too many: then it reports false.
func (l *ruleNames) add(name string, most int) bool {
	switch {
	case slices.Contains(*l, name):
	case len(*l) == most:
		return false
	default:
		*l = append(*l, name)
	}
	return true
}

// Share adds the names of e to the names of the rules before it, and reports the first name that is too many.
func (e *ruleEntry) Share(rep *syntax.Report, texts, filters *ruleNames) {
	for _, t := range e.Set {
		if !texts.add(t.Name, RuleTextsMax) {
			rep.Errorf(e.KeyNode("set").Child(t.Name).Head, "set a text that no other rule needs any more",
				"a request has %d texts at most, by all rules together: %s is one more", RuleTextsMax,
				syntax.Quote(t.Name))
			break
		}
	}
	for i, name := range e.Filters {
		if name = strings.TrimPrefix(name, "!"); !filters.add(name, ruleFiltersMax) {
			rep.Errorf(e.ElementAt("filters", i, len(e.Filters)), "give filters a \"when\" of their own",
				"rules name %d filters at most, all together: %s is one more", ruleFiltersMax, syntax.Quote(name))
			break
		}
	}
}

// Ends reports whether r ends the requests that it holds for.
func (r *Rule) Ends() bool {
	return r.Respond.On || r.Redirect.To != nil || r.Deny > 0 || r.Drop || r.Tarpit > 0
}

// Actions says what the rule does, in the words of a file.
func (r *Rule) Actions() (list []string) {
	add := func(on bool, format string, values ...any) {
		if on {
			list = append(list, fmt.Sprintf(format, values...))
		}
	}
	texts := func(key string, all []Text) {
		for _, t := range all {
			if t.Value == nil {
				add(true, "%s %s is removed", key, t.Name)
			} else {
				add(true, "%s %s = %s", key, t.Name, t.Value)
			}
		}
	}
	texts("set", r.Set)
	add(r.Tag != "", "tag %s", r.Tag)
	add(r.NoLog, "log = false")
	add(len(r.Filters) > 0, "filters %s", strings.Join(r.Filters, " "))
	if r.Limit.Type != "" {
		add(true, "limit %s", strings.Join(r.Limit.Settings(), ", "))
	}
	add(r.Timeout > 0, "timeout %s", r.Timeout)
	add(r.Dest != "", "dest %s", r.Dest)
	texts("headers.request", r.Request)
	texts("headers.response", r.Response)
	add(r.Rewrite != nil, "rewrite %s", r.Rewrite)
	add(len(r.QueryDel) > 0, "query.del %s", strings.Join(r.QueryDel, " "))
	texts("query.set", r.QuerySet)
	texts("query.add", r.QueryAdd)
	for _, f := range r.Features {
		if of, ok := f.(interface{ Action() string }); ok {
			add(true, "%s", of.Action())
		}
	}
	add(r.Tarpit > 0, "tarpit %s", r.Tarpit)
	add(r.Respond.On, "respond %d", r.Respond.Status)
	add(r.Redirect.To != nil, "redirect %d to %s", r.Redirect.Status, r.Redirect.To)
	add(r.Deny > 0, "deny %d", r.Deny)
	add(r.Drop, "drop")
	return list
}

// Types of keys. The comment after each is the Go type of its values.
var (
	typeDeny  = schema.Type{Name: "status or true", Parse: parseDeny, Truth: true}   // int
	typeTexts = schema.Type{Name: "table of [templates](DSL.md)", Parse: parseNames} // []Text
)

// ruleFields is the type of a table of fields: []Text.
func ruleFields(ofRequest bool) schema.Type {
	parse := func(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
		return value.ParseTexts(d, n, func(c *syntax.Node) (wrong, hint string) {
			if !ofRequest && strings.EqualFold(c.Key, "host") {
				return "an answer has no Host", "headers.request sets the Host of the request"
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
		if k.Path == "set" && !language.IsName(c.Key) {
			return syntax.Quote(c.Key) + " is no name: it begins with a letter and has letters, digits, \"_\" and " +
				"\"-\" alone, 64 at most", ""
		}
		return "", ""
	})
}
