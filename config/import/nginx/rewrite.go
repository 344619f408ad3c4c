package nginx

import (
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// phase is what the directives of ngx_http_rewrite_module in one block come to.
type phase struct {
	whole      *route      // the answer to all requests; nil: they go on
	parts      []*route    // answers to some of them, by their paths
	conditions []condition // answers to some of them, by other things
	inner      []rewriting // paths that backends see
	closed     *directive  // one that refuses requests and could not be carried: all that comes after it is closed
}

// close closes all that comes after d.
func (p *phase) close(d *directive) {
	if p.closed == nil {
		p.closed = d
	}
}

// keep closes r where a directive before it says so.
func (p *phase) keep(r *route) {
	if p.closed != nil {
		r.close(p.closed)
	}
}

// rewriting is a rewrite that stays inside: the path below prefix becomes the one below to.
type rewriting struct {
	at         plan.Place
	prefix, to string
	whole      string // instead: the one path that all become
}

// rewritePhase translates set, if, rewrite and return of a block. l is the location, nil for a server.
func (im *importer) rewritePhase(s *server, at *scope, l *location) (p phase) {
	for _, d := range at.block.block {
		switch d.name {
		case "return":
			d.used = true
			p.whole = im.answerOf(s, at, d, l)
			p.keep(p.whole)
			return p
		case "rewrite":
			d.used = true
			parts := len(p.parts)
			if im.rewrite(s, at, d, l, &p); p.whole != nil {
				p.keep(p.whole)
				return p
			}
			for _, r := range p.parts[parts:] {
				r.tests = slices.Clone(p.conditions)
				p.keep(r)
			}
		case "if":
			d.used = true
			im.branch(s, at, d, l, &p)
		case "break":
			d.used = true
			return p
		}
	}
	return p
}

// templateNames returns variables that a redirect may have. $request_uri is with the query, which edge keeps by itself.
func templateNames() map[string]string {
	return map[string]string{
		"host": "{host}", "http_host": "{host}", "request_uri": "{path}", "uri": "{path}", "document_uri": "{path}",
		"scheme": "{scheme}", "request_method": "{method}", "args": "{query}", "query_string": "{query}",
	}
}

// redirectTo returns a URL of the file as redirect.to has it; unknown is a variable that redirects have not, or "".
func redirectTo(s *server, at *scope, text string) (to, unknown string) {
	text = expand(text, at.constants)
	if s.first != "" && s.first != "_" && !hasVariables(s.first) {
		text = variable().ReplaceAllStringFunc(text, func(m string) string {
			if nameOf(m) == "server_name" {
				return s.first
			}
			return m
		})
	}
	keeps := strings.Contains(text, "$request_uri") || strings.Contains(text, "$is_args$args")
	text = strings.NewReplacer("$is_args$args", "", "{", "%7B", "}", "%7D").Replace(
		strings.NewReplacer("${", "$", "}", "").Replace(text))
	text, unknown = translate(text, templateNames())
	if !keeps && !strings.Contains(text, "?") {
		text += "?"
	}
	return text, unknown
}

// redirect returns a route that leads to a URL.
func redirect(to string, status int, at plan.Place) *route {
	r := &route{path: "/*", from: []plan.Place{at}}
	r.set("redirect", "{ to = "+plan.String(to)+", status = "+strconv.Itoa(status)+" }", at)
	return r
}

// answerOf translates return. What it cannot is answered 503.
func (im *importer) answerOf(s *server, at *scope, d *directive, _ *location) *route {
	code, err := strconv.Atoi(d.arg(0))
	text := d.arg(1)
	if err != nil {
		code, text = 302, d.arg(0)
	}
	switch code {
	case 301, 302, 303, 307, 308:
		if text == "" {
			break
		}
		to, unknown := redirectTo(s, at, text)
		if unknown != "" {
			im.Lose(d.at, d.text(), "redirects have no "+unknown+"; such requests are answered 503")
			return answer("503", d.at)
		}
		return redirect(to, code, d.at)
	case 444:
		im.Lose(d.at, d.text(), "edge answers 403 where nginx closes the connection")
		return answer("403", d.at)
	}
	if code < 200 || code > 599 {
		im.Lose(d.at, d.text(), "edge answers with a status from 200 to 599; such requests are answered 503")
		return answer("503", d.at)
	}
	r := answer(strconv.Itoa(code), d.at)
	switch text = expand(text, at.constants); {
	case text == "":
	case code >= 400 && !hasVariables(text):
		if t := at.get("default_type"); t != nil {
			r.from = append(r.from, t.at)
		}
		r.set("error_pages", "{ "+strconv.Itoa(code)+" = { body = "+plan.String(text)+", type = "+
			plan.String(typeOf(at))+" } }", d.at)
	default:
		im.Lose(d.at, "the text of "+d.text(), "routes answer a status below 400 with a text of edge's own")
	}
	return r
}

// typeOf returns the type of answers that have a text in the file.
func typeOf(at *scope) string {
	for _, d := range at.all("add_header") {
		if strings.EqualFold(d.arg(0), "Content-Type") && !hasVariables(d.arg(1)) {
			return d.arg(1)
		}
	}
	if t, _, ok := at.value("default_type"); ok && strings.Contains(t, "/") && !hasVariables(t) {
		return t
	}
	return "text/plain"
}

// rewriteExpr are the expressions of rewrite that are a beginning and the rest.
//
//	^  .*  ^(.*)$  ^/(.*)$  ^/old/(.*)$  ^/old/?(.*)$  ^/old(/.*)?$  ^/old(/.*)$  ^/old$
var rewriteExpr = plan.Expr(`^\^?(/?(?:[A-Za-z0-9_/~%-]|\\[./-])*)(\$|/?\.\*\$?|/\?\(\.\*\)\$?|` +
	`\(\.\*\)\$?|\(/\.\*\)\??\$?|\(/\|\$\)\(\.\*\)\$?|)$`)

// rewrite translates one rewrite.
func (im *importer) rewrite(s *server, at *scope, d *directive, l *location, p *phase) {
	expr, to, flag := d.arg(0), d.arg(1), d.arg(2)
	m := rewriteExpr().FindStringSubmatch(expr)
	plain := strings.HasPrefix(expr, "^") || expr == ".*" || expr == "(.*)"
	if m == nil || !plain || strings.HasPrefix(to, "-") {
		im.Lose(d.at, d.text(), "edge knows expressions that are a beginning of the path and the rest")
		return
	}
	base, tail := strings.ReplaceAll(m[1], `\`, ""), m[2]
	away := flag == "permanent" || flag == "redirect" || strings.HasPrefix(to, "http://") ||
		strings.HasPrefix(to, "https://") || strings.HasPrefix(to, "$scheme")
	if !away {
		im.innerRewrite(d, at, base, tail, l, p)
		return
	}
	// {rest} begins with the slash that the expression has before its group.
	dir := strings.TrimSuffix(base, "/")
	rest := "{rest}"
	if dir == "" {
		rest = "{path}"
	}
	switch {
	case strings.Contains(to, "/$1") &&
		(base != dir || strings.HasPrefix(tail, "/?(.*)") || strings.HasPrefix(tail, "(/|$)")):
		to = strings.Replace(to, "/$1", rest, 1)
	case strings.Contains(to, "$1") &&
		(strings.HasPrefix(tail, "(/") || base == "" && strings.HasPrefix(tail, "(.*)")):
		to = strings.Replace(to, "$1", rest, 1)
	case strings.Contains(to, "$1"):
		im.Lose(d.at, d.text(), "what follows "+base+" begins within a segment")
		return
	}
	status := 302
	if flag == "permanent" {
		status = 301
	}
	to = strings.NewReplacer("{rest}", "\x00", "{path}", "\x01").Replace(to)
	asked := strings.Contains(to, "?")
	to, unknown := redirectTo(s, at, to)
	to = strings.NewReplacer("\x00", "{rest}", "\x01", "{path}").Replace(to)
	if !asked { // rewrite keeps the query
		to = strings.TrimSuffix(to, "?")
	}
	if unknown != "" {
		im.Lose(d.at, d.text(), "redirects have no "+unknown)
		return
	}
	r := redirect(to, status, d.at)
	switch {
	case base == "" || base == "/" && tail != "$":
		p.whole = r
	case tail == "$":
		p.parts = append(p.parts, r.on(exactly(sent(base))))
	default:
		if l != nil && prefixOf(l.path) == prefixOf(base) && !l.exact {
			p.whole = r
			return
		}
		p.parts = append(p.parts, r.on(prefixOf(sent(base))))
	}
}

// innerRewrite translates a rewrite that changes the path that backends see.
func (im *importer) innerRewrite(d *directive, at *scope, base, tail string, l *location, p *phase) {
	to := expand(d.arg(1), at.constants)
	flag := d.arg(2)
	lose := func(why string) { im.Lose(d.at, d.text(), why) }
	switch {
	case l == nil:
		lose("a rewrite of a server leads to another of its locations; write a route for it")
		return
	case flag == "last":
		lose("the search for a location is not begun again")
		return
	case strings.Contains(to, "?"):
		lose("a rewrite of edge keeps the query")
		return
	}
	head, found := strings.CutSuffix(to, "$1")
	switch {
	case !hasVariables(to) && (base == "" || prefixOf(base) == prefixOf(l.path)):
		p.inner = append(p.inner, rewriting{at: d.at, whole: to})
	case !found || hasVariables(head) || !strings.HasPrefix(head, "/") && head != "":
		lose("edge puts one beginning of a path in place of another")
	case strings.HasSuffix(head, "/") && (strings.HasSuffix(base, "/") || strings.HasPrefix(tail, "/?") ||
		strings.HasPrefix(tail, "(/|$)")), strings.HasPrefix(tail, "(/.*)") && !strings.HasSuffix(head, "/"):
		p.inner = append(p.inner, rewriting{at: d.at, prefix: strings.TrimSuffix(base, "/"),
			to: strings.TrimSuffix(head, "/")})
	default:
		lose("what follows " + base + " begins within a segment")
	}
}
