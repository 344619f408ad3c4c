package caddy

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// region is a class of paths: one path, or all that begin with it and that no narrower region has.
type region struct {
	path   string // of a prefix it ends with "/"
	prefix bool
}

// pattern returns the region as a route has it.
func (r region) pattern() string {
	path := sent(r.path)
	switch {
	case r.prefix:
		return strings.TrimSuffix(path, "/") + "/*"
	case strings.HasSuffix(path, "/") || strings.HasSuffix(path, "*"):
		return "=" + path
	}
	return path
}

// within reports whether r is inside another region.
func (r region) within(outer region) bool {
	if r == outer || !outer.prefix {
		return false
	}
	return strings.HasPrefix(r.path, outer.path) || !r.prefix && r.path+"/" == outer.path
}

// Limits of what is walked, for all of a file and for each host and path.
const (
	stepsMax   = 200000
	regionsMax = 200
	hostsMax   = 200
	atomsMax   = 4
	methodsMax = 8
)

// survey collects the paths and hosts that the walks for one host have found, and that have to be walked too.
type survey struct {
	regions []region
	hosts   *[]string
	lost    map[*atom]bool // conditions that routes cannot have beside others
}

// want adds regions, unless they are there. It reports whether all of them are.
func (v *survey) want(list ...region) bool {
	for _, r := range list {
		switch {
		case slices.Contains(v.regions, r):
		case len(v.regions) >= regionsMax || strings.Contains(r.path, "//"):
			return false
		default:
			v.regions = append(v.regions, r)
		}
	}
	return true
}

// walk is one way through the directives of a site, for requests of one host and region, where some conditions hold.
//
//	the path is cur; where rest is set, what the request has after the path of region follows
type walk struct {
	im     *importer
	on     *listener
	host   string // "": any that no place names
	region region
	survey *survey

	set     []*atom  // conditions that hold
	method  string   // "": one that is not among known
	known   []string // methods that are walked
	assumed []*test  // the unknown tests that this walk takes to hold

	asked    []*atom // conditions that were looked at
	methods  []string
	unknowns []*test

	site    *site
	cur     string
	rest    bool
	query   string // "": that of the request; else "?…"
	ended   bool
	out     outcome
	guard   *directive // requests have to pass this, and edge does not have it
	filters []string   // that requests pass
	replies []field
	asks    []field
	logging string
}

// field is a field that is set, or removed where the value is empty.
type field struct {
	name, value string
	at          plan.Place
}

// setField sets a field, in place of one of that name.
func setField(list []field, f field) []field {
	list = slices.DeleteFunc(slices.Clone(list), func(o field) bool { return strings.EqualFold(o.name, f.name) })
	return append(list, f)
}

// run walks the steps of a list, and reports whether the request was answered. Of the steps of a group, the first
// runs whose test holds.
func (w *walk) run(list []*step) bool {
	groups := map[string]bool{}
	for i, s := range list {
		if w.im.steps++; w.im.steps > stepsMax {
			w.im.Lose(plan.Place{File: w.im.File, Line: 1}, "some directives", "there are too many conditions")
			w.passOver(list[i:])
			return true
		}
		if s.group != "" && groups[s.group] || s.when != nil && !s.when.holds(w) {
			w.passOver(list[i : i+1])
			continue
		}
		groups[s.group] = s.group != ""
		w.out.from = append(w.out.from, s.d.at)
		if s.when != nil {
			w.out.from = append(w.out.from, s.when.lines...)
		}
		if s.do != nil && s.do(w) {
			w.passOver(s.inner)
			w.passOver(list[i+1:])
			return true
		}
		if w.run(s.inner) {
			w.passOver(list[i+1:])
			return true
		}
	}
	return false
}

// passOver notes the lines of steps that do not run. After a test that is not known a request may come to them: where
// no other walk runs them, leftOver says that they are lost.
func (w *walk) passOver(list []*step) {
	if len(w.unknowns) == 0 && w.im.steps <= stepsMax {
		return
	}
	for _, s := range list {
		w.im.unsure[s.d.at] = true
		if s.when != nil {
			for _, at := range s.when.lines {
				w.im.unsure[at] = true
			}
		}
		w.passOver(s.inner)
	}
}

// assume returns what a test that is not known is taken for.
func (w *walk) assume(t *test) bool {
	why := t.text
	switch {
	case t.kind == testAtom:
		why = "routes do not have this condition beside the others"
	case t.kind != testUnknown:
		why = "routes compare paths by their beginnings"
	}
	return w.assumeSince(t, why)
}

// assumeSince is assume for a test that is not known for a reason.
func (w *walk) assumeSince(t *test, why string) bool {
	if !slices.Contains(w.unknowns, t) {
		w.unknowns = append(w.unknowns, t)
	}
	w.im.Lose(t.at, t.what, why)
	return slices.Contains(w.assumed, t)
}

// tooMany is why a test is not known that routes could have.
const tooMany = "there are more of its kind than are looked at"

// matchHost reports whether the host is that of a test. Where the walk is for several hosts and the test names one of
// them, that one is walked later.
func (w *walk) matchHost(t *test) bool {
	switch {
	case t.text == w.host || t.text == "*" || w.host != "" && covers(t.text, w.host):
		return true
	case w.host != "" && !covers(w.host, t.text):
		return false
	}
	switch {
	case slices.Contains(*w.survey.hosts, t.text):
	case len(*w.survey.hosts) >= hostsMax:
		return w.assumeSince(t, tooMany)
	default:
		*w.survey.hosts = append(*w.survey.hosts, t.text)
	}
	return false
}

func (w *walk) matchMethod(t *test) bool {
	if w.method != "" {
		return slices.Contains(t.list, w.method)
	}
	unknown := false
	for _, m := range t.list {
		switch {
		case slices.Contains(w.known, m), slices.Contains(w.methods, m):
		case len(w.known) > methodsMax:
			unknown = true
		default:
			w.methods = append(w.methods, m)
		}
	}
	return unknown && w.assumeSince(t, tooMany)
}

func (w *walk) matchAtom(t *test) bool {
	a := t.atom
	if w.query != "" && slices.ContainsFunc(a.list, func(c condition) bool { return c.query }) {
		if strings.Contains(w.query, "{") {
			return w.assume(t)
		}
		if a = w.onFields(a); a == nil || len(a.list) == 0 {
			return a != nil
		}
	}
	if w.survey.lost[a] {
		return w.assume(t)
	}
	if !slices.Contains(w.asked, a) {
		w.asked = append(w.asked, a)
	}
	return slices.Contains(w.set, a)
}

// onFields returns the conditions on fields of a where those on parameters hold for the query that rewrite has written,
// which routes do not see; else nil.
func (w *walk) onFields(a *atom) *atom {
	var fields []condition
	values, err := url.ParseQuery(w.query[1:])
	for _, c := range a.list {
		if !c.query {
			fields = append(fields, c)
			continue
		}
		expr, matches := strings.CutPrefix(c.value, "~")
		if err != nil || !slices.ContainsFunc(values[c.name], func(v string) bool {
			if matches {
				ok, err := regexp.MatchString(expr, v)
				return ok && err == nil
			}
			return c.value == "" || c.value == v
		}) {
			return nil
		}
	}
	return w.im.atomOf(fields)
}

// matchPath reports whether the path is like a pattern. Where only some paths of the region are, these are walked
// later.
func (w *walk) matchPath(t *test) bool { return w.matchPattern(t, t.text) }

// matchPattern is matchPath for the pattern that stands for a test.
func (w *walk) matchPattern(t *test, pattern string) bool {
	w.noteCase(t, pattern)
	if !w.rest {
		return globMatches(pattern, w.cur)
	}
	before, star := strings.CutSuffix(pattern, "*")
	literal, _, _ := strings.Cut(pattern, "*")
	if at := strings.IndexAny(literal, "?[\\"); at >= 0 {
		literal = literal[:at]
	}
	switch {
	case pattern == "*" || star && literal == before && hasPrefixFold(w.cur, before):
		return true
	case strings.HasPrefix(pattern, "*"):
		return w.assume(t)
	case !hasPrefixFold(literal, w.cur) && !hasPrefixFold(w.cur, literal):
		return false
	case literal != before: // a star or another sign inside
		return w.assume(t)
	case len(literal) < len(w.cur):
		return false
	}
	path := w.region.path + literal[len(w.cur):]
	below, slash := strings.CutSuffix(path, "/")
	found := true
	switch {
	case !star:
		found = w.survey.want(region{path: path})
	case slash:
		found = w.survey.want(region{path: below}, region{path: path, prefix: true})
	default:
		found = w.survey.want(region{path: path}, region{path: path + "/", prefix: true})
		w.im.Lose(t.at, t.what+" for paths such as "+path+"x",
			"edge compares whole segments: "+sent(path)+"/* takes "+sent(path)+" and all below it")
	}
	return !found && w.assumeSince(t, tooMany)
}

// matchWhen is matchAtom for a condition in the language about the path, where that is still the one of the client; "":
// there is no such condition.
func (w *walk) matchWhen(t *test, text string) bool {
	if text == "" || w.cur != w.region.path || w.rest != w.region.prefix {
		return w.assume(t)
	}
	a := w.im.atomOf([]condition{{when: true, name: text}})
	return w.matchAtom(&test{kind: testAtom, atom: a, at: t.at, what: t.what, lines: t.lines})
}

var plainText = plan.Expr(`^[A-Za-z0-9_/.~-]+$`)

// patternText returns the condition that a path ends with a text, or has it anywhere: "*.php", "*x*".
func patternText(pattern string) string {
	text, open := strings.CutSuffix(pattern[1:], "*")
	switch {
	case !plainText().MatchString(text):
		return ""
	case open:
		return `lower(url_decode(path)) contains "` + strings.ToLower(text) + `"`
	}
	return `lower(url_decode(path)) ends_with "` + strings.ToLower(text) + `"`
}

// expressionText returns the condition that a path matches a regular expression.
func expressionText(expr string) string {
	if strings.ContainsAny(expr, "\"`\n") || strings.HasSuffix(expr, `\`) {
		return ""
	}
	return `url_decode(path) ~ "` + expr + `"`
}

// noteCase says once that edge compares paths as they stand.
func (w *walk) noteCase(t *test, pattern string) {
	if !w.im.cased && strings.ToLower(pattern) != strings.ToUpper(pattern) {
		w.im.cased = true
		w.im.Note(t.at, t.what, "Caddy compares paths in any case, edge as they stand: /API is not /api")
	}
}

// hasPrefixFold is strings.HasPrefix in any case.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// plainExpr are regular expressions that are a path, or a text that paths begin with.
var plainExpr = plan.Expr(`^\^(/(?:[A-Za-z0-9_/~-]|\\[./-])*)(\$|/?\.\*\$?|/?\(\.\*\)\$?|)$`)

func (w *walk) matchExpression(t *test) bool {
	if !w.rest {
		return t.expr.MatchString(w.cur)
	}
	m := plainExpr().FindStringSubmatch(t.expr.String())
	if m == nil {
		return w.matchWhen(t, expressionText(t.expr.String()))
	}
	path := strings.ReplaceAll(m[1], `\`, "")
	if m[2] != "$" {
		if strings.HasPrefix(m[2], "/") {
			path = strings.TrimSuffix(path, "/") + "/"
		}
		path += "*"
	}
	return w.matchPattern(t, path)
}

// outcome is how a walk ended. Two walks whose outcomes have the same id do the same with a request.
type outcome struct {
	dest     string // where a request goes; "": status or redirect
	to       string // of a redirect
	status   int
	settings []setting
	from     []plan.Place
	comments []string
	denies   bool
	// certified: clients have to show a certificate, which not all sites of the listener ask for.
	certified bool

	cur   string // the path of requests for dest
	rest  bool
	query string
}

// setting is a line of a route.
type setting struct {
	name, value string
	at          plan.Place
}

// id returns what an outcome does, except to the paths of requests.
func (o *outcome) id() string {
	var b strings.Builder
	fmt.Fprint(&b, o.certified, o.dest, "\n", o.to, "\n", o.status, "\n", strings.Join(o.comments, " "))
	for _, s := range o.settings {
		b.WriteString("\n" + s.name + "=" + s.value)
	}
	return b.String()
}

// whole returns the id with the path.
func (o *outcome) whole() string {
	if o.dest == "" {
		return o.id()
	}
	return fmt.Sprint(o.id(), "\n", o.cur, o.rest, o.query)
}

// answer ends a walk with a status.
func (w *walk) answer(status int) bool {
	w.out.status = status
	w.out.denies = status >= 400
	return true
}

// start walks the site of a host, and returns how that ended.
func (w *walk) start() outcome {
	w.cur, w.rest = w.region.path, w.region.prefix
	answered := false
	for i, p := range w.on.places {
		if w.host == "" && p.host != "" || !covers(p.host, w.host) {
			continue
		}
		if p.when != nil && !w.matchPath(p.when) {
			w.passOver(p.site.steps)
			continue
		}
		if to := w.im.redirectTarget(w.on, w.host); to != nil && p.host == "" && w.host != "" {
			break
		}
		w.site, w.guard = p.site, p.site.guard
		w.out.from = append(w.out.from, p.site.d.at)
		w.out.certified = w.on.mixed && p.site.clients.auth == "require" && p.site.guard == nil
		answered = w.run(p.site.steps)
		for _, other := range w.on.places[i+1:] {
			w.passOver(other.site.steps)
		}
		break
	}
	if to := w.im.redirectTarget(w.on, w.host); w.site == nil && to != nil {
		w.out.from = append(w.out.from, to.at...)
		w.out.to, w.out.status, answered = "https://{host}{path}", 308, true
		if to.port != w.im.options.httpsPort || to.port != "443" {
			w.out.to = "https://{host}:" + to.port + "{path}"
		}
	}
	if !answered {
		w.answer(200)
		if w.site != nil {
			w.im.Note(w.site.d.at, "paths that no directive answers", emptyAnswer)
		}
	}
	w.finish()
	return w.out
}

// emptyAnswer is why an answer without a text differs.
const emptyAnswer = "Caddy's answer is empty; that of edge is a line of text, with the same status"

// finish adds to the outcome what directives before the last one said.
func (w *walk) finish() {
	o := &w.out
	o.cur, o.rest, o.query = w.cur, w.rest, w.query
	set := func(name, value string, at plan.Place) { o.settings = append(o.settings, setting{name, value, at}) }
	if w.guard != nil && !o.denies {
		w.closed(w.guard)
	}
	if len(w.filters) > 0 && !o.denies {
		set("filters", plan.List(w.filters...), plan.Place{})
	}
	for _, list := range []struct {
		name   string
		fields []field
	}{{"headers.request", w.asks}, {"headers.response", w.replies}} {
		if len(list.fields) == 0 || list.name == "headers.request" && o.dest == "" {
			continue
		}
		var table []plan.Field
		for _, f := range list.fields {
			o.from = append(o.from, f.at)
			if value, known := w.withRoute(f); known {
				table = append(table, plan.Field{Name: f.name, Value: value})
			}
		}
		if len(table) == 0 {
			continue
		}
		set(list.name, plan.Table(table), list.fields[0].at)
	}
	if w.site != nil {
		w.addPages()
		if w.logging == "" {
			w.logging = w.site.log
			o.from = append(o.from, w.site.logAt...)
		}
	}
	if w.logging != "" {
		set("access_log", w.logging, plan.Place{})
	}
}

// closed makes the outcome one that refuses requests, because of a guard that edge does not have.
func (w *walk) closed(d *directive) {
	what := w.out.dest
	switch {
	case what == "" && w.out.to != "":
		what = "redirect:" + w.out.to
	case what == "":
		what = fmt.Sprint("status:", w.out.status)
	}
	w.out.comments = append(w.out.comments, "closed, since "+d.name+" is not available; dest was "+what)
	w.out.dest, w.out.to = "", ""
	w.answer(403)
}
