package caddy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// step is a directive of a site as it runs. Immutable after compile.
type step struct {
	d     *directive
	when  *test // nil: always
	path  string
	some  bool               // it has a matcher
	group string             // of the steps of a group, only the first whose test holds runs
	do    func(w *walk) bool // reports whether the request is answered
	inner []*step            // run where do does not answer
}

// scope is a block of directives, with the matchers that have names in it.
type scope struct {
	outer    *scope
	site     *site
	matchers map[string]*test
	below    string // what handle_path removes, for the directives inside
}

// matcher returns the matcher of that name, or nil.
func (sc *scope) matcher(name string) *test {
	for ; sc != nil; sc = sc.outer {
		if t := sc.matchers[name]; t != nil {
			return t
		}
	}
	return nil
}

// builder reads a directive without its matcher, and returns what the directive does; nil: nothing.
type builder func(im *importer, sc *scope, d *directive) func(w *walk) bool

// builderOf returns the builder of a directive; nil: it is not known.
func builderOf(name string) builder {
	return map[string]builder{
		"respond": respond, "error": respond, "abort": abort, "redir": redirect, "header": header,
		"request_header": requestHeader, "rewrite": rewrite, "uri": uri, "reverse_proxy": proxy,
		"file_server": files, "try_files": tryFiles, "basic_auth": password, "basicauth": password,
		"forward_auth": guarded, "log_skip": skipLog, "skip_log": skipLog, "request_body": requestBody,
		"php_fastcgi": scripts, "method": lost("edge sends the method that the client sent"),
		"root": root, "encode": lost("not available in this version: answers are not compressed"),
		"templates": lost("edge serves no files"), "push": lost("HTTP/2 push is not known: browsers have left it"),
		"vars": lost("routes have no variables"), "map": lost("routes have no variables"),
		"intercept":  lost("answers of backends go on as they are; see error_pages and intercept_errors"),
		"tracing":    lost("not available in this version: see traceparent of listeners"),
		"log_append": lost("the fields of the access log are those that edge has"),
		"log_name":   lost("a route has one log: access_log"), "invoke": closing("routes with names are not known"),
		"metrics":     closing("edge has /metrics at an address of its own: [metrics]"),
		"acme_server": closing("edge is no authority"), "fs": lost("edge serves no files"),
		"copy_response": lost("edge does not know it"), "copy_response_headers": lost("edge does not know it"),
		"log_level": lost("the access log has no levels"), "timeouts": lost("timeouts are those of listeners: limits"),
	}[name]
}

// elsewhere are directives of a site that are read before its steps are.
var elsewhere = []string{"tls", "log", "bind", "handle_errors"}

// compile translates the directives of a block. Where sorted is set they run in Caddy's order.
func (im *importer) compile(sc *scope, list []*directive, sorted bool) (steps []*step) {
	sc.matchers = map[string]*test{}
	for _, d := range list {
		if strings.HasPrefix(d.name, "@") {
			d.used = true
			sc.matchers[d.name] = im.namedMatcher(d)
		}
	}
	for _, d := range list {
		if strings.HasPrefix(d.name, "@") || sc.outer == nil && slices.Contains(elsewhere, d.name) {
			continue
		}
		steps = append(steps, im.step(sc, d)...)
	}
	if sorted {
		im.sort(steps)
	}
	return steps
}

// namedMatcher reads the definition of a matcher: in braces, on one line, or an expression.
func (im *importer) namedMatcher(d *directive) *test {
	lines := d.block
	if len(d.args) > 0 {
		one := &directive{name: d.arg(0), args: d.args[1:], block: d.block, open: d.open, at: d.at}
		if strings.ContainsAny(one.name, " ({") {
			one.name = "expression"
		}
		lines = []*directive{one}
	}
	t := im.matcherSet(lines)
	t.at, t.what, t.lines = d.at, d.name, places(nil, d)
	return t
}

// places adds the lines of a directive to a list.
func places(list []plan.Place, d *directive) []plan.Place {
	list = append(list, d.at)
	for _, c := range d.block {
		list = places(list, c)
	}
	return list
}

// step translates one directive.
func (im *importer) step(sc *scope, d *directive) []*step {
	build := builderOf(d.name)
	container := d.name == "handle" || d.name == "handle_path" || d.name == "route"
	if build == nil && !container {
		im.lose(d, "edge does not know it")
		return nil
	}
	d.used = true
	s := &step{d: d}
	bare := &directive{name: d.name, args: d.args, block: d.block, open: d.open, at: d.at, used: true}
	if takesMatcher(d) {
		s.some = true
		bare.args = d.args[1:]
		switch name := d.args[0]; {
		case name == "*":
			s.some = false
		case name[0] == '@':
			s.when = sc.matcher(name)
			if s.when == nil {
				im.lose(d, "no matcher has the name "+name)
				return nil
			}
			s.path = onlyPath(s.when)
		default:
			s.path = name
			s.when = &test{kind: testPath, text: name, what: d.text(), at: d.at}
			if strings.ContainsAny(name, "{%") {
				s.when = unknown(d, noVariables)
			}
		}
	}
	switch d.name {
	case "handle", "rewrite", "root":
		s.group = d.name
	case "handle_path":
		s.group = "handle"
		prefix := strings.TrimSuffix(s.path, "*")
		s.do = func(w *walk) bool { w.stripPrefix(prefix, d); return false }
	}
	if container {
		s.inner = im.compile(&scope{outer: sc, site: sc.site}, d.block, d.name != "route")
	} else {
		s.do = build(im, sc, bare)
	}
	if s.path != "" && strings.ToLower(s.path) != strings.ToUpper(s.path) && s.refuses() {
		im.Lose(d.at, "other cases of the path of "+d.text(),
			"Caddy compares paths in any case, edge as they stand: what it refuses there passes here")
	}
	return []*step{s}
}

// refuses reports whether a step, or one inside it, keeps requests from a backend.
func (s *step) refuses() bool {
	return s.d.refuses() || slices.ContainsFunc(s.inner, (*step).refuses)
}

// refuses reports whether a directive keeps requests from a backend.
func (d *directive) refuses() bool {
	switch d.name {
	case "basic_auth", "basicauth", "forward_auth", "abort":
		return true
	case "respond", "error":
		return slices.ContainsFunc(d.args, func(arg string) bool { return arg == "401" || arg == "403" })
	}
	return false
}

// takesMatcher reports whether the first argument of a directive is a matcher.
func takesMatcher(d *directive) bool {
	first := d.arg(0)
	switch {
	case first == "" || first != "*" && first[0] != '/' && first[0] != '@':
		return false
	case len(d.args) > 1:
		return d.name != "try_files" || first[0] == '@'
	}
	return !slices.Contains([]string{"rewrite", "redir", "root", "respond"}, d.name) || first[0] == '@'
}

// onlyPath returns the pattern of a matcher that is one path and nothing else, or "".
func onlyPath(t *test) string {
	paths := 0
	text := ""
	for _, part := range t.parts {
		for part.kind == testAny && len(part.parts) == 1 {
			part = part.parts[0]
		}
		if part.kind == testPath {
			paths++
			text = part.text
		} else if part.kind == testAny && len(part.parts) > 0 && part.parts[0].kind == testPath {
			return ""
		}
	}
	if paths != 1 {
		return ""
	}
	return text
}

// sort puts steps in the order in which Caddy runs them: that of the directives, and of those of one kind the longest
// path first.
func (im *importer) sort(steps []*step) {
	rank := func(s *step) int {
		name := s.d.name
		if name == "handle_path" {
			name = "handle"
		}
		return slices.Index(im.order, name)
	}
	slices.SortStableFunc(steps, func(a, b *step) int {
		if one, two := rank(a), rank(b); one != two {
			return one - two
		}
		return bySpecificity(a, b)
	})
}

// bySpecificity compares two steps of one directive.
func bySpecificity(a, b *step) int {
	if a.path == "" || b.path == "" {
		switch {
		case a.some && !b.some:
			return -1
		case b.some && !a.some:
			return 1
		}
		return 0
	}
	one, two := strings.TrimSuffix(a.path, "*"), strings.TrimSuffix(b.path, "*")
	switch {
	case one == two:
		return len(a.path) - len(b.path)
	case len(one) == len(two):
		return strings.Compare(one, two)
	}
	return len(two) - len(one)
}

// lost is the builder of a directive that edge has nothing for.
func lost(why string) builder {
	return func(im *importer, _ *scope, d *directive) func(*walk) bool {
		return func(w *walk) bool {
			im.lose(d, why)
			return false
		}
	}
}

// closing is the builder of a directive that answers requests with what edge does not have.
func closing(why string) builder {
	return func(im *importer, _ *scope, d *directive) func(*walk) bool {
		return func(w *walk) bool {
			im.lose(d, why+"; such requests are answered 503")
			return w.answer(503)
		}
	}
}

// scripts is php_fastcgi.
func scripts(im *importer, sc *scope, d *directive) func(*walk) bool {
	return closing("backends speak HTTP")(im, sc, d)
}

// files is file_server.
func files(im *importer, _ *scope, d *directive) func(*walk) bool {
	return func(w *walk) bool {
		im.lose(d, "edge serves no files: such requests are answered 404")
		return w.answer(404)
	}
}

// root says where files are.
func root(im *importer, _ *scope, d *directive) func(*walk) bool {
	return func(*walk) bool {
		im.Note(d.at, d.text(), "nothing to write: edge serves no files")
		return false
	}
}

// tryFiles is try_files. It looks for files, of which edge serves none.
func tryFiles(im *importer, _ *scope, d *directive) func(*walk) bool {
	return func(w *walk) bool {
		im.lose(d, "edge serves no files: the path stays as it is")
		return false
	}
}

// guarded is a directive that requests have to pass.
func guarded(im *importer, _ *scope, d *directive) func(*walk) bool {
	return func(w *walk) bool {
		im.Lose(d.at, d.text(), "not available in this version: the route is closed until you guard it otherwise")
		for _, c := range d.block {
			im.Lose(c.at, d.name+" { "+c.name+" … }", "it is inside "+d.name+", which is not carried")
			c.markAll()
		}
		w.guard = d
		return false
	}
}

// password is basic_auth: a filter, where bcrypt has hashed all passwords.
func password(im *importer, sc *scope, d *directive) func(*walk) bool {
	realm := "restricted"
	switch {
	case len(d.args) > 0 && d.args[0] != "bcrypt", len(d.args) > 2:
		return guarded(im, sc, d)
	case len(d.args) == 2:
		realm = d.args[1]
	}
	var users []plan.Field
	var lines strings.Builder
	for _, c := range d.block {
		if len(c.args) != 1 {
			return guarded(im, sc, d)
		}
		users = append(users, plan.Field{Name: c.name, Value: c.args[0]})
		lines.WriteString(c.name + ":" + c.args[0] + "\n")
	}
	if why := plan.UsersWrong(lines.String()); why != "" {
		return guarded(im, sc, d)
	}
	name := ""
	return func(w *walk) bool {
		if name == "" {
			name = plan.Unused("users", im.filters)
			b := im.Add("[filters."+name+"]", places(nil, d)...)
			b.Set("type", `"basic_auth"`, d.at)
			b.Set("realm", plan.String(realm), d.at)
			b.Set("users", plan.Table(users), plan.Place{})
			b.Set("forward", "true", plan.Place{})
			for _, c := range d.block {
				c.markAll()
			}
		}
		if !slices.Contains(w.filters, name) {
			w.filters = append(slices.Clone(w.filters), name)
		}
		return false
	}
}

// skipLog leaves requests out of the access log.
func skipLog(_ *importer, _ *scope, _ *directive) func(*walk) bool {
	return func(w *walk) bool {
		w.logging = "false"
		return false
	}
}

// requestBody is request_body. edge has one limit for all sites of a listener: see bodySize.
func requestBody(im *importer, sc *scope, d *directive) func(*walk) bool {
	for _, c := range d.block {
		c.used = true
		n, ok := parseSize(c.arg(0))
		switch {
		case c.name != "max_size" || !ok:
			im.lose(c, "edge does not know it")
		case sc.outer != nil || n == 0:
			im.lose(c, "a listener has one limit for all requests: limits.body_size")
		default:
			sc.site.bodySize, sc.site.bodySizeAt = n, c.at
		}
	}
	return nil
}

// respond answers with a status and, for failures, a text.
func respond(im *importer, _ *scope, d *directive) func(*walk) bool {
	status, body := 200, d.arg(0)
	if d.name == "error" {
		status = 500
	}
	if n, err := strconv.Atoi(d.arg(0)); err == nil && len(d.arg(0)) == 3 && len(d.args) == 1 {
		status, body = n, ""
	}
	if n, err := strconv.Atoi(d.arg(1)); err == nil {
		status = n
	}
	for _, c := range d.block {
		c.used = true
		switch c.name {
		case "body", "message":
			body = c.arg(0)
		case "close":
			im.note(c, "nothing to write: edge closes connections where it has to")
		default:
			im.lose(c, "edge does not know it")
		}
	}
	return func(w *walk) bool {
		if status < 200 || status > 599 || len(d.args) == 2 && strings.Contains(d.arg(1), "{") {
			im.lose(d, "statuses are numbers from 200 to 599; such requests are answered 500")
			return w.answer(500)
		}
		if d.name == "respond" {
			w.page(d, status, body)
		} else {
			w.out.settings = append(w.out.settings, setting{name: errorPagesKey})
		}
		return w.answer(status)
	}
}

// errorPagesKey marks an outcome whose page is that of handle_errors.
const errorPagesKey = ""

// page writes the text of an answer, as far as edge has one.
func (w *walk) page(d *directive, status int, body string) {
	text, unknown := translate(body, pageNames())
	switch {
	case body == "":
		if status != 204 && status != 304 {
			w.im.Note(d.at, d.text(), emptyAnswer)
		}
	case status < 400:
		w.im.Lose(d.at, d.text(), "answers of edge that are no failures have no text: it sends "+strconv.Itoa(status))
	case unknown != "":
		w.im.Lose(d.at, d.text(), "error pages have no "+unknown)
	default:
		kind := "text/plain; charset=utf-8"
		for _, f := range w.replies {
			if strings.EqualFold(f.name, "Content-Type") {
				kind = f.value
			}
		}
		w.out.settings = append(w.out.settings, setting{"error_pages", "{ " + strconv.Itoa(status) + " = { body = " +
			plan.String(text) + ", type = " + plan.String(kind) + " } }", d.at})
	}
}

// abort closes the connection.
func abort(im *importer, _ *scope, d *directive) func(*walk) bool {
	return func(w *walk) bool {
		im.Lose(d.at, d.text(), "edge answers 403 where Caddy closes the connection without an answer")
		return w.answer(403)
	}
}

// redirectNames returns the variables of redirect.to, by the placeholders of Caddy.
func redirectNames() map[string]string {
	return map[string]string{
		"host": "{host}", "scheme": "{scheme}", "method": "{method}", "query": "{query}", "uri": "{path}\x00",
		"path": "{path}", "?query": "\x00", "orig_uri": "\x01\x02", "orig_path": "\x01",
	}
}

// redirect is redir.
func redirect(im *importer, _ *scope, d *directive) func(*walk) bool {
	status := map[string]int{"": 302, "temporary": 302, "permanent": 301, "html": 302}[d.arg(1)]
	if n, err := strconv.Atoi(d.arg(1)); err == nil {
		status = n
	}
	return func(w *walk) bool {
		to, unknown := translate(d.arg(0), redirectNames())
		switch {
		case unknown != "" || strings.Contains(to, "{rest}"):
			im.lose(d, "redirects have no "+unknown+"; such requests are answered 503")
			return w.answer(503)
		case !slices.Contains([]int{301, 302, 303, 307, 308}, status):
			im.lose(d, "redirects are 301, 302, 303, 307 and 308; this one is 302 now")
			status = 302
		case d.arg(1) == "html":
			im.Lose(d.at, d.text(), "edge redirects with 302, not by a page")
		}
		path, ok := w.pathText()
		if strings.Contains(to, "{path}") && !ok {
			im.lose(d, "this path cannot be put together; such requests are answered 503")
			return w.answer(503)
		}
		to = strings.ReplaceAll(to, "{path}", path)
		to = strings.ReplaceAll(to, "\x01", "{path}")
		if w.query != "" { // what rewrite has written
			to = strings.ReplaceAll(strings.ReplaceAll(to, "\x00", w.query), "{query}", w.query[1:])
		}
		keeps := strings.ContainsAny(to, "\x00\x02")
		to = strings.NewReplacer("\x00", "", "\x02", "").Replace(to)
		if !keeps && !strings.Contains(to, "?") && !strings.Contains(to, "{query}") {
			to += "?" // edge would keep the query
		}
		w.out.to, w.out.status = to, status
		return true
	}
}

// pathText returns the path of requests as redirect.to has it.
func (w *walk) pathText() (string, bool) {
	switch {
	case w.cur == w.region.path && w.rest == w.region.prefix:
		return "{path}", true
	case !w.rest:
		return templateText(sent(w.cur)), true
	}
	before, slash := strings.CutSuffix(w.cur, "/")
	return templateText(sent(before)) + "{rest}", slash
}
