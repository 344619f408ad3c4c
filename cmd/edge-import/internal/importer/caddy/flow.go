package caddy

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// flow is the way of some requests of a site through its directives, in the order in which Caddy runs them.
//
//	header X-A 1             a step of the site
//	handle /api/* {          ── a flow of its own: inner directives, then those after the group
//	    uri strip_prefix /v1     a step before what comes next in it
//	    reverse_proxy a          a branch
//	}
//	respond 404              a branch for what is left
type flow struct {
	*importer
	site   *site
	out    *plan.Site
	secure *plan.Cond // the request came by TLS
	made   map[string]*plan.Target
	again  *int // directives that were run more than once

	when   *plan.Cond
	what   string
	from   []plan.Place
	pre    []plan.Step  // of all branches that come
	limits []plan.Step  // of those to backends
	rest   []*directive // that come after the directive that is run
	open   bool         // steps belong to the site: no branch was made, and no filter is asked
	kind   string       // Content-Type of answers

	path     string // that is sent on, as matchers see it, in the language; "": unknown
	template string // the same as a template
	query    string // that rewrite has written: "?…"
	changed  string // what directives have changed: fields of the request, "method"; each between spaces

	files folder

	passed map[*group]*plan.Cond     // that a directive of a group has been run
	held   map[*directive]*plan.Cond // of directives that come
}

// againMax is how many directives of a site are run more than once, for requests under other conditions.
const againMax = 1000

func (f flow) run(program []*directive) {
	var before *plan.Cond // of the directive before
	for i, d := range program {
		f.rest = program[i+1:]
		if d.used {
			*f.again++
		}
		if d.used = true; *f.again > againMax {
			break
		}
		first := f.looksFirst(d)
		if first {
			d.when = nil
		}
		c := cmp.Or(f.held[d], f.cond(d.when))
		f.hold(d, c)
		if passed := f.passed[d.group]; d.joined {
			c = before
		} else if passed != nil {
			c = plan.All(c, plan.Not(passed))
		}
		fields := d.onlyFields()
		if d.group != nil && (fields || d.do != nil) {
			f.passed = maps.Clone(f.passed)
			c = f.kept(d, c)
			f.passed[d.group] = plan.Any(cmp.Or(f.passed[d.group], plan.Never), c)
		}
		before = c
		from := slices.Concat(f.from, f.places(&directive{at: d.at, when: d.when}))
		switch {
		case c == plan.Never:
		case fields:
			f.from = from
			for _, o := range d.program {
				o.used = true
				o.do(&f, o, plan.All(c, f.cond(o.when)))
			}
		case d.do == nil:
			after := slices.DeleteFunc(slices.Clone(f.rest), func(o *directive) bool {
				return d.group != nil && o.group == d.group
			})
			inner := f
			if inner.from = from; c != plan.Always {
				inner.when, inner.what, inner.open = plan.All(f.when, c), d.text, false
			}
			if d.name == "handle_path" && d.when != nil {
				prefix := strings.TrimSuffix(d.when.path(), "*")
				inner.cut(d, plan.Always, "^/+", strings.Trim(prefix, "/"), "/*", `"/")`)
			}
			inner.run(slices.Concat(d.program, after))
			if c == plan.Always {
				return
			}
			f.open = false
		case d.do(&f, d, c) && c == plan.Always:
			if first {
				f.filesBefore(d)
			}
			return
		}
	}
	end := &directive{at: f.site.at}
	if *f.again <= againMax {
		f.ends(end, plan.Always, plan.Answer(200, "", ""))
		return
	}
	f.Lose(end.at, "some directives", "there are too many conditions: the rest is closed")
	f.ends(end, plan.Always, plan.Deny(403))
}

// hold notes c for the directives that follow d with the same matcher, so that they run for the same requests: Caddy
// asks once, before d changes the path.
func (f *flow) hold(d *directive, c *plan.Cond) {
	f.held = maps.Clone(f.held)
	for _, o := range f.rest {
		if d.when == nil || o.group != d.group || !o.when.same(d.when) {
			return
		}
		f.held[o] = cmp.Or(f.held[o], c)
	}
}

// kept returns a condition for c that holds whatever becomes of the path, where directives of the group of d ask later.
func (f *flow) kept(d *directive, c *plan.Cond) *plan.Cond {
	if !f.open || c == plan.Always || c == plan.Never || !c.Known() ||
		!slices.ContainsFunc(f.rest, func(o *directive) bool { return o.group == d.group }) {
		return c
	}
	return plan.Test("has(" + f.local(d, c, "yes") + ")")
}

// onlyFields reports whether d is a block of directives that set fields and no more: requests go on after it.
func (d *directive) onlyFields() bool {
	return d.do == nil && d.name != "handle_path" && !slices.ContainsFunc(d.program, func(o *directive) bool {
		return o.name != "header" && o.name != "request_header"
	})
}

// places are the lines of directives, of their matchers and of their programs.
func (f *flow) places(list ...*directive) (all []plan.Place) {
	for _, d := range list {
		if all = append(all, d.at); d.when != nil {
			all = append(all, d.when.from...)
		}
		all = append(all, f.places(d.program...)...)
	}
	return all
}

func (f *flow) put(d *directive, c *plan.Cond, do plan.Action) {
	one := plan.Step{When: c, Do: []plan.Action{do}, What: d.text, From: append(f.places(d), do.At)}
	if c == plan.Always {
		one.When = nil
	}
	to := &f.pre
	if f.open {
		to = &f.out.Steps
	}
	*to = append(slices.Clip(*to), one)
}

// ends adds a branch for the requests for which c holds.
func (f *flow) ends(d *directive, c *plan.Cond, end plan.Action, keys ...plan.Setting) bool {
	moves := func(o *directive) bool { return o.name == "rewrite" || o.name == "uri" }
	if f.open && end.Name != "dest" && slices.ContainsFunc(f.rest, moves) {
		f.put(d, c, end) // the path that it asks for is that before the move
		return true
	}
	what := d.text
	if c == plan.Always && f.what != "" {
		what = f.what
	}
	matcher := strings.Fields(what + " - -")[1] // "-": it has none
	end.At = d.at
	t := &plan.Target{Name: cmp.Or(plan.Name(matcher), d.name), End: end, Keys: keys, From: []plan.Place{d.at},
		Steps: slices.Concat(f.pre, f.limits)}
	if end.Name != "dest" { // no backend sees what is done to requests
		t.Steps = slices.DeleteFunc(slices.Clone(f.pre), func(o plan.Step) bool {
			return slices.Contains([]string{"headers.request", "rewrite"}, o.Do[0].Name)
		})
	}
	for _, key := range f.site.keys {
		if len(f.logs) == 1 && key.Value != "false" {
			f.Block("[log]").Set("output", "["+key.Value+"]", key.At) // all sites that log do so there
			break
		}
		t.Keys, t.From = append(slices.Clip(t.Keys), key), append(t.From, key.At)
	}
	id := fmt.Sprint(t.End, t.Keys, t.Steps)
	t = cmp.Or(f.made[id], t)
	f.made[id] = t
	f.out.Branches = append(f.out.Branches, plan.Branch{When: plan.All(f.when, c), To: t, What: what,
		From: slices.Concat(f.places(d), f.from, []plan.Place{f.site.at})})
	f.open = false
	return true
}

// close refuses the requests for which c holds, before all that comes after d.
func (f *flow) close(d *directive, c *plan.Cond) bool {
	f.put(d, c, plan.Close(d.name+" is not carried"))
	return false
}

// move changes the path for the requests for which c holds, to path, a value of the language, and template.
func (f *flow) move(d *directive, c *plan.Cond, path, template, query string) {
	either := map[bool]string{true: query, false: "?{query}"}[query == f.query] // which of both, if not known
	switch {
	case c != plan.Always && (!c.Known() || f.path == ""):
		f.path, f.query = "", either
	case f.open && (len(f.rest) == 0 || f.held[f.rest[0]] == nil): // rules and routes see the path that the rule makes
		f.path = "path"
	case c == plan.Always:
		f.pre = slices.DeleteFunc(slices.Clone(f.pre), func(o plan.Step) bool {
			return o.When == nil && o.Do[0].Name == "rewrite"
		})
		f.path, f.template, f.query = path, template, query
	default:
		f.open = false // what comes asks for the path that it had
		f.path = "(" + f.local(d, c, template) + " ?? " + f.path + ")"
		f.template, f.query = "{"+f.path+"}", either
	}
	f.put(d, c, plan.Rewrite(template+query))
}

// local adds a rule that makes a text for the requests for which c holds, and returns its name in the language.
func (f *flow) local(d *directive, c *plan.Cond, template string) string {
	f.moves++
	name := fmt.Sprint("rewritten", f.moves)
	f.out.Steps = append(f.out.Steps, plan.Step{When: c, Do: []plan.Action{plan.Local(name, template)},
		What: d.text, From: f.places(d)})
	return "local." + name
}

// change changes the path by functions of the language.
func (f *flow) change(d *directive, c *plan.Cond, functions string, ok bool) {
	if !ok || f.path == "" {
		f.Lose(d.at, d.text, "edge does not change this path so")
		f.path = ""
		return
	}
	f.move(d, c, f.path+functions, "{"+f.path+functions+"}", f.query)
}

// cut replaces a text in the path, and what the expressions around it match; rest is the end of that call. The text is
// found in any case, with several slashes for one, and encoded.
func (f *flow) cut(d *directive, c *plan.Cond, before, text, after, rest string) {
	if text != "" {
		spelled := strings.NewReplacer("/", "(?:/+|%2f)", "@", "(?:@|%40)", ":", "(?::|%3a)")
		quoted, ok := plan.Quote("(?i)" + before + spelled.Replace(regexp.QuoteMeta(sent(text))) + after)
		f.change(d, c, ".re_replace("+quoted+", "+rest, ok && !strings.ContainsAny(text, "*{%!$&'()+,;="))
	}
}

// deed does what a directive does with the requests of f for which c holds. It reports whether they are answered.
type deed func(f *flow, d *directive, c *plan.Cond) (ends bool)

// deedOf returns what a directive does; nil: it is a block of others.
func deedOf(name string) (do deed, known bool) {
	do, known = map[string]deed{
		"handle": nil, "handle_path": nil, "route": nil,
		"respond": (*flow).respond, "error": (*flow).respond, "redir": (*flow).redirect, "header": (*flow).header,
		"rewrite": (*flow).rewrite, "uri": (*flow).uri, "reverse_proxy": (*flow).proxy,
		"request_body": (*flow).requestBody, "basic_auth": (*flow).password, "basicauth": (*flow).password,
		"abort": (*flow).other, "log_skip": (*flow).other, "skip_log": (*flow).other, "request_header": (*flow).other,
		"forward_auth": (*flow).other, "php_fastcgi": (*flow).other, "invoke": (*flow).other,
		"root": (*flow).folderOf, "try_files": (*flow).folderOf, "file_server": (*flow).fileServer,
		"encode": (*flow).encode, "metrics": (*flow).other, "acme_server": (*flow).other, "method": (*flow).other,
	}[name]
	return do, known
}

// group counts the directives of a name in a block.
type group int

// matcher is what a request has to be like: all of its lines hold. A nil one holds always.
type matcher struct {
	lines []*directive
	from  []plan.Place
}

// same reports whether both ask for the same, whatever their names.
func (m *matcher) same(o *matcher) bool {
	return m == o || m != nil && o != nil && m.words() == o.words()
}

// words are what m is made of, in another order than its lines.
func (m *matcher) words() string {
	of := map[string]string{}
	for _, l := range m.lines {
		of[l.name] += strings.Join(l.args, " ") + " " + (&matcher{lines: l.block}).words()
	}
	return fmt.Sprint(of)
}

// path returns the pattern of a matcher that has one path, or "".
func (m *matcher) path() string {
	if m == nil {
		return ""
	}
	var paths []string
	for _, l := range m.lines {
		if l.name == "path" {
			paths = append(paths, l.args...)
		}
	}
	if len(paths) != 1 {
		return ""
	}
	return paths[0]
}

// compile prepares the directives of a block, and returns those that it knows; where sorted is set in Caddy's order.
// around has the matchers with names.
func (im *importer) compile(block []*directive, around map[string]*matcher, sorted bool) (program []*directive) {
	around = maps.Clone(around)
	for _, d := range block {
		if strings.HasPrefix(d.name, "@") {
			lines := d.block
			if len(d.args) > 0 { // an expression alone is no name of a condition
				lines = []*directive{d.as(d.args)}
			}
			d.known, around[d.name] = true, &matcher{lines: lines, from: d.places()}
		}
	}
	var known []*directive
	groups := map[string]*group{}
	for _, d := range block {
		if !d.known && im.prepare(d, around, groups) {
			known = append(known, d)
		}
	}
	if sorted {
		slices.SortStableFunc(known, im.compare)
	}
	for _, d := range known { // Caddy joins directives of a group that have the same matcher, one after the other
		if d.group != nil && *d.group == 1 && d.do == nil {
			d.group = nil // as in Caddy, where a rewrite has one always: the path is another one after it
		}
		last := len(program) - 1
		joins := last >= 0 && d.group != nil && d.group == program[last].group && d.when.same(program[last].when)
		if d.joined = joins && d.do != nil; d.joined || !joins {
			program = append(program, d)
			continue
		}
		program[last].program, d.used = append(program[last].program, d.program...), true
	}
	return program
}

// prepare reads the matcher of a directive, and reports whether the directive is known.
func (im *importer) prepare(d *directive, around map[string]*matcher, groups map[string]*group) bool {
	kind := strings.TrimSuffix(d.name, "_path")
	if d.do, d.known = deedOf(d.name); !d.known {
		im.word("site", d, nil)
		return false
	}
	first := d.arg(0)
	path := (first == "*" || strings.HasPrefix(first, "/")) &&
		(len(d.args) > 1 || !slices.Contains([]string{"rewrite", "redir", "respond", "root"}, d.name))
	if path || strings.HasPrefix(first, "@") {
		if d.when = around[first]; !path && d.when == nil {
			im.lose(d, "no matcher has the name "+first)
			return false
		} else if path && first != "*" {
			line := d.as([]string{"path", first})
			line.used, line.block, d.when = true, nil, &matcher{lines: []*directive{line}}
		}
		d.args = d.args[1:]
	}
	if kind == "handle" || kind == "rewrite" {
		d.group = cmp.Or(groups[kind], new(group))
		*d.group++
		groups[kind] = d.group
	}
	if d.do == nil {
		d.program = im.compile(d.block, around, kind == "handle")
	}
	return true
}

// compare says which of two directives Caddy runs first. The order of all directives counts first; within a kind the
// longest path comes first, and then directives with a matcher.
func (im *importer) compare(a, b *directive) int {
	rank := func(d *directive) int {
		return slices.Index(im.order, strings.Replace(d.name, "handle_path", "handle", 1))
	}
	first, second := a.when.path(), b.when.path()
	one, two := strings.TrimSuffix(first, "*"), strings.TrimSuffix(second, "*")
	switch {
	case rank(a) != rank(b):
		return rank(a) - rank(b)
	case (a.when == nil) != (b.when == nil):
		return map[bool]int{true: 1, false: -1}[a.when == nil]
	case first == "" || second == "":
		return 0
	}
	return cmp.Or(len(two)-len(one), strings.Compare(one, two), len(first)-len(second))
}
