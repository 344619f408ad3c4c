package plan

import (
	"slices"
	"strconv"
	"strings"
)

// Site is what a program does with the requests for some hosts that come by some listeners: all of Steps, one after the
// other, then what the first branch leads to whose condition holds.
type Site struct {
	Listeners []string // by their names; nil: all
	Hosts     []string // "*.example.com" is all below one; nil: hosts of no other site
	Steps     []Step
	Branches  []Branch
	At        Place
}

// Branch leads the requests for which When holds to a target. Several may lead to one.
type Branch struct {
	When *Cond
	To   *Target
	What string  // the line that has the condition, for findings
	From []Place // of the condition; the first is the place of What
}

// Target is what becomes of requests: Steps, then End.
type Target struct {
	Name  string // that its label has; "": "route"
	Steps []Step
	End   Action
	Keys  []Setting // of its route
	From  []Place
	Notes []string // comments

	Routed  bool // End is a dest that routes have and rules have not
	guarded bool // filters of a site run before it
	asked   bool // a step of a site leads there
}

// Step does something with the requests for which When holds, nil: with all.
type Step struct {
	When *Cond
	Do   []Action // one, where requests end with it that it does not refuse
	What string   // the line, for findings
	From []Place  // the first is the place of What

	to *Target // that has what it does: a route answers
}

// Setting is a line of a route.
type Setting struct {
	Name, Value string // as TOML has them
	At          Place
}

// Action is what a rule does.
type Action struct {
	Setting
	fields  []Field // that it sets
	ends    bool    // the request goes no further
	refuses bool    // some requests, or all
	status  string  // of an answer, which a route may have as its dest
	body    bool    // the answer has a text, which a dest has not
	note    string  // a comment
}

// Deny answers with a page for the status.
func Deny(status int) Action {
	text := strconv.Itoa(status)
	return Action{Setting: Setting{Name: "deny", Value: text}, ends: true, refuses: true, status: text}
}

// Close is Deny in place of a guard that edge has not, as why says: an operator deletes the rule.
func Close(why string) Action {
	a := Deny(403)
	a.note = "closed, since " + why + ": delete this rule once what it closes is guarded otherwise"
	return a
}

// Fail is Deny where no client is kept from anything: there is nothing to answer with.
func Fail(status int) Action {
	a := Deny(status)
	a.refuses = false
	return a
}

// Drop closes the connection.
func Drop() Action {
	return Action{Setting: Setting{Name: "drop", Value: yes}, ends: true, refuses: true}
}

// Answer is an answer with a body; kind is its Content-Type, "" stands for plain text.
func Answer(status int, body, kind string) Action { return Respond(status, Text(body), kind) }

// Respond is Answer with a template.
func Respond(status int, body, kind string) Action {
	text := strconv.Itoa(status)
	value := "{ status = " + text
	if body != "" {
		value += ", body = " + String(body)
	}
	if kind != "" {
		value += ", type = " + String(kind)
	}
	return Action{Setting: Setting{Name: "respond", Value: value + " }"}, ends: true, refuses: status >= 400,
		status: text, body: body != ""}
}

// Text returns a text as a template of the language.
func Text(s string) string { return strings.NewReplacer("{", "{{", "}", "}}").Replace(s) }

// Redirect sends clients elsewhere; to is a template.
func Redirect(to string, status int) Action {
	value := "{ to = " + String(to) + ", status = " + strconv.Itoa(status) + " }"
	return Action{Setting: Setting{Name: "redirect", Value: value}, ends: true}
}

// Dest sends requests on: to an upstream, or to addresses, as dest of a route says.
func Dest(to string) Action {
	return Action{Setting: Setting{Name: "dest", Value: String(to)}, ends: true}
}

// Rewrite puts another path in place of the one asked for; to is a template.
func Rewrite(to string) Action {
	return Action{Setting: Setting{Name: "rewrite", Value: String(to)}}
}

// RequestFields sets fields of the request, to templates; an empty one removes the field.
func RequestFields(fields ...Field) Action {
	return Action{Setting: Setting{Name: "headers.request"}, fields: fields}
}

// ResponseFields is RequestFields for the answer.
func ResponseFields(fields ...Field) Action {
	return Action{Setting: Setting{Name: "headers.response"}, fields: fields}
}

// Local makes a text that templates and conditions know as local.NAME.
func Local(name, template string) Action {
	return Action{Setting: Setting{Name: "set", Value: Table([]Field{{name, template}})}}
}

// Use runs filters, which may refuse requests.
func Use(names ...string) Action {
	return Action{Setting: Setting{Name: "filters", Value: List(names...)}, refuses: true}
}

// Limit refuses requests beyond a rate; value is the table of its keys.
func Limit(value string) Action {
	return Action{Setting: Setting{Name: "limit", Value: value}, refuses: true}
}

// Do is another key of a rule, by what TOML has.
func Do(name, value string) Action { return Action{Setting: Setting{Name: name, Value: value}} }

// refuses reports whether t answers some requests with an error of its own, or may.
func (t *Target) refuses() bool { return t.End.refuses || slices.ContainsFunc(t.Steps, Step.refuses) }

// refuses reports whether s answers some requests with an error, or may.
func (s *Site) refuses() bool {
	return slices.ContainsFunc(s.Steps, Step.refuses) ||
		slices.ContainsFunc(s.Branches, func(b Branch) bool { return b.To.refuses() })
}

func (s Step) filters() bool {
	return slices.ContainsFunc(s.Do, func(a Action) bool { return a.Name == "filters" })
}

// moves reports whether conditions after s look at something else than before.
func (s Step) moves() bool {
	return slices.ContainsFunc(s.Do, func(a Action) bool { return a.Name == "rewrite" || a.Name == "set" })
}

// passes reports whether requests end with s that it does not refuse.
func (s Step) passes() bool {
	return slices.ContainsFunc(s.Do, func(a Action) bool { return a.ends && !a.refuses })
}

func (s Step) refuses() bool {
	return slices.ContainsFunc(s.Do, func(a Action) bool { return a.refuses })
}

func (a Action) set(b *Block) {
	if a.note != "" {
		b.Comment(a.note)
	}
	if a.fields != nil {
		a.Value = Table(a.fields)
	}
	b.Set(a.Name, a.Value, a.At)
}

// ofRoute reports whether a route has a key for an action, which does the same there: in its fields braces are not
// written twice.
func (a Action) ofRoute() bool {
	return a.Name == "filters" || a.fields != nil && !slices.ContainsFunc(a.fields, func(f Field) bool {
		return strings.Contains(f.Value, "{{") || strings.Contains(f.Value, "}}")
	})
}

// joined returns steps where one after another that sets fields for the same requests, or runs filters for them, is
// one with it.
func joined(steps []Step) (list []Step) {
	var at map[string]int // the fields of the last one; nil: it is about something else
	for _, s := range steps {
		n := len(list) - 1
		if n >= 0 && s.When == nil && s.filters() && list[n].When == nil && list[n].filters() {
			one, more := list[n].Do[0], s.Do[0]
			one.Value = strings.TrimSuffix(one.Value, "]") + ", " + strings.TrimPrefix(more.Value, "[")
			one.refuses = one.refuses || more.refuses
			list[n].Do, list[n].From = []Action{one}, slices.Concat(list[n].From, s.From)
			continue
		}
		if len(s.Do) != 1 || s.Do[0].fields == nil {
			at, list = nil, append(list, s)
			continue
		}
		if at == nil || list[n].When != s.When || list[n].Do[0].Name != s.Do[0].Name {
			a := Action{Setting: s.Do[0].Setting}
			at, n = map[string]int{}, n+1
			list = append(list, Step{When: s.When, Do: []Action{a}, What: s.What})
		}
		own := &list[n].Do[0].fields
		for _, f := range s.Do[0].fields {
			i, found := at[strings.ToLower(f.Name)]
			if !found {
				i, *own = len(*own), append(*own, f)
				at[strings.ToLower(f.Name)] = i
			}
			(*own)[i] = f
		}
		list[n].From = append(list[n].From, s.From...)
	}
	return list
}

func (s Step) when() *Cond {
	if s.When == nil {
		return Always
	}
	return s.When
}
