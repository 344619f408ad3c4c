package haproxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// A frontend that refuses requests, or asks what conditions of routes do not say, becomes rules, which edge runs as
// HAProxy does, one after the other:
//
//	tcp-request … reject if A        [[rules]] when A, drop
//	http-request deny if B           [[rules]] when B, deny
//	default_backend d                [[rules]] set backend = d           (where a backend has rules of its own)
//	use_backend y if D               [[rules]] when D, dest = y          the first one that holds counts: so the
//	use_backend x if C               [[rules]] when C, dest = x          last one is written first
//	    in x: deny if E              [[rules]] when backend is x and E, deny
//
// A condition that is not known counts as one that holds where a rule refuses, and as one that does not elsewhere.

// inSequence reports whether a frontend needs rules.
func (f *front) inSequence() bool {
	name := f.s.name
	if l := f.s.find("default_backend"); l != nil {
		name = l.word(1)
	}
	sections := []*section{f.s}
	for _, n := range f.targets(name) {
		if s := f.im.backends[n]; s != nil && s != f.s {
			sections = append(sections, s)
		}
	}
	for _, s := range sections {
		probe := &front{im: f.im, s: s, acls: map[string][]test{}, from: map[string][]plan.Place{}}
		probe.readACLs(s)
		answers := func(l *line) bool { return s != f.s && l.answers() }
		if slices.ContainsFunc(s.withDefaults(), probe.needsRule) || slices.ContainsFunc(s.lines, answers) {
			return true
		}
	}
	return false
}

// answers reports whether a line answers requests that it does not refuse.
func (l *line) answers() bool {
	verb := l.word(1)
	return l.words[0] == "redirect" || l.words[0] == "http-request" && (verb == "redirect" || verb == "return")
}

// needsRule reports whether routes do not say what a line does.
func (f *front) needsRule(l *line) bool {
	at := 1 + slices.IndexFunc(l.rest(1), func(w string) bool { return w == "if" || w == "unless" })
	verb := l.word(1)
	switch l.words[0] {
	case "use_backend", "redirect":
		if strings.Contains(verb, "%[") && f.im.someRefuse() {
			return true
		}
	case "http-request":
		named := strings.EqualFold(l.word(2), "X-Forwarded-Proto")
		if !slices.Contains([]string{"redirect", "return", "set-header", "add-header", "del-header"}, verb) || named {
			return l.refuses()
		}
		if strings.HasSuffix(verb, "-header") && at > 0 {
			return true
		}
	default:
		return l.refuses()
	}
	if at == 0 {
		return l.refuses()
	}
	tests, known := f.condition(l.rest(at + 1))
	if l.words[at] == "unless" {
		known = known && len(tests) == 1 && tests[0].only()
	}
	return !known || l.refuses()
}

// sequence writes the rules of a frontend, and the route for what they let through.
func (f *front) sequence() {
	f.when = f.im.byListener(f.names())
	f.ruleset()
	name, at := f.s.name, f.s.head.at
	if l := f.s.find("default_backend"); l != nil {
		name, at = l.word(1), l.at
	}
	targets := f.targets(name)
	f.many = len(targets) > 1 && slices.ContainsFunc(targets, func(n string) bool { return f.im.hasRules(n, f.s) })
	f.refusing = slices.ContainsFunc(targets, f.im.refusesSome)
	for _, n := range targets {
		f.im.upstream(n)
	}
	if f.many {
		f.put(&line{at: at}, always, usual, backendIs(name))
	}
	for _, l := range slices.Backward(f.s.all("use_backend")) {
		f.choose(l)
	}
	for _, n := range targets {
		if s := f.im.backends[n]; s != nil && s != f.s {
			f.within(s, n)
		}
	}
	b := f.im.Add("[[routes]]", at)
	b.Set("path", `"/*"`, plan.Place{})
	if names := f.names(); len(names) > 0 && !f.im.alone {
		b.Set("listener", plan.Strings(names...), plan.Place{})
	}
	dest := `"status:503"`
	if f.im.upstream(name) {
		dest = plan.String(f.im.upstreamName(name))
	}
	b.Set("dest", dest, plan.Place{})
}

// within writes the rules of a backend section.
func (f *front) within(s *section, name string) {
	own := &front{im: f.im, s: s, from: map[string][]plan.Place{}, when: f.when, changed: slices.Clone(f.changed)}
	if f.many {
		own.when = joined(own.when, "local.backend == "+strconv.Quote(name))
	}
	own.ruleset()
	if !f.im.upstream(name) {
		own.put(s.head, always, usual, plan.Field{Name: "deny", Value: "503"})
	}
}

// names returns the names of the listeners.
func (f *front) names() (names []string) {
	if f.plain != "" {
		names = append(names, f.plain)
	}
	return append(names, f.secure...)
}

// byListener returns the condition that a request came by one of the listeners; "" where there are no others.
func (im *importer) byListener(names []string) string {
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, strconv.Quote(n))
	}
	switch {
	case im.alone:
		return ""
	case len(quoted) == 1:
		return "listener == " + quoted[0]
	}
	return "listener in {" + strings.Join(quoted, " ") + "}"
}

// targets returns the backends of a frontend, the default one first.
func (f *front) targets(name string) []string {
	list := []string{name}
	for _, l := range f.s.all("use_backend") {
		if n := l.word(1); !slices.Contains(list, n) && !strings.Contains(n, "%[") {
			list = append(list, n)
		}
	}
	return list
}

// hasRules reports whether a backend section does something with requests by itself.
func (im *importer) hasRules(name string, front *section) bool {
	s := im.backends[name]
	if s == nil || s == front {
		return false
	}
	return len(s.all("server")) == 0 || slices.ContainsFunc(s.withDefaults(), func(l *line) bool {
		return slices.Contains([]string{"http-request", "http-response", "redirect", "tcp-request"}, l.words[0])
	})
}

// refusesSome reports whether a backend section may refuse requests.
func (im *importer) refusesSome(name string) bool {
	s := im.backends[name]
	return s == nil || slices.ContainsFunc(s.withDefaults(), (*line).refuses)
}

func backendIs(name string) plan.Field {
	return plan.Field{Name: "set", Value: plan.Table([]plan.Field{{Name: "backend", Value: name}})}
}

// choose writes the rule of a use_backend line.
func (f *front) choose(l *line) {
	l.used = true
	name := l.word(1)
	if strings.Contains(name, "%[") {
		f.im.missed[""] = true
		f.lost(l, "edge does not know this form", f.im.someRefuse())
		return
	}
	c := f.conditionOfLine(l)
	if !c.known() {
		f.im.missed[name] = true
		f.lost(l, "edge does not know the condition", f.im.refusesSome(name))
		return
	}
	if f.refusing && c.loosely() {
		f.im.missed[name] = true
		f.lost(l, "a line before it changes the path that it asks for", f.im.refusesSome(name))
		return
	}
	var keys []plan.Field
	if f.im.upstream(name) {
		keys = append(keys, plan.Field{Name: "dest", Value: plan.String(f.im.upstreamName(name))})
	}
	if f.many {
		keys = append(keys, backendIs(name))
	} else if keys == nil {
		keys = append(keys, plan.Field{Name: "deny", Value: "503"})
	}
	as := usual
	if f.refusing {
		as = exact
	}
	f.put(l, c, as, keys...)
}

// lost adds the finding about a use_backend line that is not carried. refuses says that a backend to which it leads
// refuses requests.
func (f *front) lost(l *line, why string, refuses bool) {
	if refuses {
		f.put(l, f.conditionOfLine(l), refusal, plan.Field{Name: "deny", Value: yes})
		f.im.Lose(l.at, l.text(), why+", and the backend refuses requests: all that may go there are refused")
		return
	}
	f.im.Lose(l.at, l.text(), why+"; its requests go on to the rules after it")
}

// someRefuse reports whether any backend section refuses requests.
func (im *importer) someRefuse() bool {
	return slices.ContainsFunc(im.sections, func(s *section) bool {
		return s.kind == "backend" && im.refusesSome(s.name)
	})
}

// conditionOfLine returns what a line asks after if or unless.
func (f *front) conditionOfLine(l *line) *condition {
	at := 1 + slices.IndexFunc(l.rest(1), func(w string) bool { return w == "if" || w == "unless" })
	switch {
	case at == 0:
		return always
	case l.words[at] == "unless":
		return negated(f.conditionOf(l.rest(at + 1)))
	}
	return f.conditionOf(l.rest(at + 1))
}

// put writes a rule.
func (f *front) put(l *line, c *condition, s sense, keys ...plan.Field) {
	all := &condition{kind: and}
	for _, passed := range f.skip {
		all.kids = append(all.kids, negated(passed))
	}
	all.kids = append(all.kids, c)
	text, kind := all.in(s)
	if text == no {
		return
	}
	from := []plan.Place{l.at}
	if len(l.words) > 0 {
		from = append(from, f.fromACLs(l.words)...)
	}
	b := f.im.Add("[[rules]]", from...)
	if kind == or && f.when != "" {
		text = "(" + text + ")"
	}
	if when := joined(f.when, text); when != "" {
		b.Set("when", plan.Literal(when), l.at)
	}
	for _, k := range keys {
		b.Set(k.Name, k.Value, l.at)
	}
}

// joined returns the condition that all of some hold; "" where all hold in any case.
func joined(conditions ...string) string {
	return strings.Join(slices.DeleteFunc(conditions, func(c string) bool { return c == "" || c == yes }), " and ")
}
