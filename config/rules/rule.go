package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy/location"
)

// Rule is a rule of a configuration.
type Rule struct {
	Name     string             `json:",omitempty"`
	When     *lang.Condition    `json:",omitempty"` // nil: always
	Set      []Text             `json:",omitempty"` // local.NAME
	Tag      string             `json:",omitempty"`
	NoLog    bool               `json:",omitempty"`
	Filters  []string           `json:",omitempty"` // added, and "!name" taken out
	Timeout  time.Duration      `json:",omitzero"`
	Dest     string             `json:",omitempty"` // the name of an upstream; "": where the route leads
	Request  []Text             `json:",omitempty"` // fields
	Response []Text             `json:",omitempty"` // fields
	Rewrite  *lang.Template     `json:",omitempty"`
	QueryDel []string           `json:",omitempty"`
	QuerySet []Text             `json:",omitempty"`
	QueryAdd []Text             `json:",omitempty"`
	Limit    plugins.Definition `json:",omitzero"` // of type rate_limit, without a name; the zero one: there is none

	Respond  Respond       `json:",omitzero"`
	Redirect Redirect      `json:",omitzero"`
	Deny     int           `json:",omitzero"` // a status; 0: it does not deny
	Drop     bool          `json:",omitempty"`
	Tarpit   time.Duration `json:",omitzero"` // before Deny, or Drop

	Pos syntax.Pos
}

// Text is a template with a name.
type Text = value.Text

// Respond is an answer.
type Respond struct {
	On     bool
	Status int
	Body   *lang.Template `json:",omitempty"` // nil: empty
	Type   string
}

// Redirect is an answer that sends the client elsewhere.
type Redirect struct {
	To     *lang.Template // nil: there is none
	Status int
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

// Read returns the rules that entries of a file have. dest returns the upstream that a text at a place leads to, ""
// where it leads to none, which it reports.
func Read(
	doc *schema.Document, entries []schema.Target, c Compiler, dest func(text string, at syntax.Span) string,
) []Rule {
	var all []Rule
	var last *Entry // that takes every request
	for _, e := range schema.All[*Entry](entries) {
		doc.Fill(e)
		e.Pos = e.Node().Head.Pos()
		e.compile(doc.Report, c)
		if e.Has("dest") && !e.Failed("dest") {
			e.Dest = dest(e.dest, e.At("dest"))
		}
		e.Limit = limits().Resolve(doc.Report, &e.Held, c)
		e.NoLog = !e.log
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

// compile compiles the texts of e.
func (e *Entry) compile(rep *syntax.Report, c Compiler) {
	template := func(key string, in lang.Phases) *lang.Template {
		if !e.Has(key) || e.Failed(key) {
			return nil
		}
		return c.Template(rep, e.KeyNode(key), in)
	}
	if e.Has("when") && !e.Failed("when") {
		e.When = c.Condition(rep, e.KeyNode("when"), lang.Request)
	}
	if e.Rewrite = template("rewrite", lang.Request); e.Rewrite != nil {
		if _, err := location.Path(e.Rewrite); err != nil {
			rep.Errorf(e.At("rewrite"), "", "rewrite to %s: %v", syntax.Quote(e.rewrite), err)
		}
	}
	e.Respond.Body = template("respond.body", lang.Request)
	if e.Redirect.To = template("redirect.to", lang.Request); e.Redirect.To != nil {
		if _, err := location.Location(e.Redirect.To); err != nil {
			rep.Errorf(e.At("redirect.to"), "", "redirect to %s: %v", syntax.Quote(e.to), err)
		}
	}
	for key, list := range map[string][]Text{
		"set": e.Set, "headers.request": e.Request, "headers.response": e.Response, "query.set": e.QuerySet,
		"query.add": e.QueryAdd,
	} {
		in := lang.Request
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
		e.Respond = Respond{}
	}
	if !e.HasAny("redirect.") {
		e.Redirect = Redirect{}
	}
}

// Keys that end a request, and those that only one that goes on has any use for.
var (
	ending  = []string{"respond", "redirect", "deny", "drop"}
	sending = []string{"limit", "timeout", "dest", "headers.request", "rewrite", "query"}
	noting  = []string{"set", "tag", "log", "filters", "headers.response"}
)

// has reports whether the file gave a key, or one in the table of that name.
func (e *Entry) has(key string) bool {
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
func (e *Entry) spot(key string) syntax.Span {
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
func (e *Entry) ends() string {
	for _, key := range append(ending[:len(ending):len(ending)], "tarpit") {
		if e.has(key) {
			return key
		}
	}
	return ""
}

// check reports what the types of the keys cannot say.
func (e *Entry) check(rep *syntax.Report) {
	end := e.ends()
	for _, key := range ending {
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
		for _, key := range sending {
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
	if end == "" && !e.HasUnknown() && !slices.ContainsFunc(slices.Concat(sending, noting), e.has) {
		rep.Errorf(e.Node().Head, "one of "+strings.Join(slices.Concat(ending, sending, noting), ", "),
			"this rule does nothing")
	}
}

// How many names all rules of a configuration may have.
const (
	TextsMax   = 16 // of set
	FiltersMax = 64
)

// Names are the names that rules have so far.
type Names []string

// add adds a name, unless there are too many: then it reports false.
func (l *Names) add(name string, most int) bool {
	switch {
	case slices.Contains(*l, name):
	case len(*l) == most:
		return false
	default:
		*l = append(*l, name)
	}
	return true
}

// Share adds the names of e to those of the rules before it, and reports the first one that is too many.
func (e *Entry) Share(rep *syntax.Report, texts, filters *Names) {
	for _, t := range e.Set {
		if !texts.add(t.Name, TextsMax) {
			rep.Errorf(e.KeyNode("set").Child(t.Name).Head, "set one that no other rule needs any more",
				"a request has %d texts at most, by all rules together: %s is one more", TextsMax, syntax.Quote(t.Name))
			break
		}
	}
	for i, name := range e.Filters {
		if name = strings.TrimPrefix(name, "!"); !filters.add(name, FiltersMax) {
			rep.Errorf(e.ElementAt("filters", i, len(e.Filters)), "give filters a \"when\" of their own",
				"rules name %d filters at most, all together: %s is one more", FiltersMax, syntax.Quote(name))
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
	add(r.Tarpit > 0, "tarpit %s", r.Tarpit)
	add(r.Respond.On, "respond %d", r.Respond.Status)
	add(r.Redirect.To != nil, "redirect %d to %s", r.Redirect.Status, r.Redirect.To)
	add(r.Deny > 0, "deny %d", r.Deny)
	add(r.Drop, "drop")
	return list
}
