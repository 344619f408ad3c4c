package caddy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// other does what directives of one line do. Requests for those that edge does not have fail, or are refused.
func (f *flow) other(d *directive, c *plan.Cond) bool {
	switch d.name {
	case "abort":
		return f.ends(d, c, plan.Drop())
	case "log_skip", "skip_log":
		f.put(d, c, plan.Do("log", "false"))
		return false
	case "request_header":
		f.fields(d, c, d, plan.RequestFields)
		name := strings.ToLower(strings.Trim(d.arg(0), "+-?>:"))
		if f.changed += " " + name + " "; strings.Contains(name, "*") {
			f.changed += " header header_regexp authorization "
		}
		return false
	}
	switch f.word("site", d, nil); d.name {
	case "method":
		f.changed += " method "
		return false
	case "php_fastcgi": // file_server would show the files that it runs
		return f.ends(d, c, plan.Deny(503))
	case "forward_auth", "basic_auth", "basicauth":
		return f.close(d, c)
	}
	return f.ends(d, c, plan.Fail(503))
}

// password is basic_auth: a filter, where bcrypt or Argon2id has hashed all passwords.
func (f *flow) password(d *directive, c *plan.Cond) bool {
	var users []plan.Field
	lines, form := "", len(d.args) < 3 && (len(d.args) == 0 || d.args[0] == "bcrypt" || d.args[0] == "argon2id")
	for _, u := range d.lines() {
		u.text = u.name + " …" // findings have no hashes
		users = append(users, plan.Field{Name: u.name, Value: u.arg(0)})
		lines += u.name + ":" + u.arg(0) + "\n"
		form = form && len(u.args) == 1
	}
	if !form || plan.UsersWrong(lines) != "" || strings.Contains(f.changed, " authorization ") {
		return f.other(d, c)
	}
	f.open = false // rules that answer would answer before the filter runs
	f.put(d, c, plan.Use(f.Named("filters", "users", []plan.Setting{
		{Name: "type", Value: `"basic_auth"`},
		{Name: "realm", Value: plan.String(cmp.Or(d.arg(1), "restricted"))},
		{Name: "users", Value: plan.Table(users)}, {Name: "forward", Value: "true"},
	}, d.places()...)))
	return false
}

// requestBody is request_body: a filter with a limit, for what goes to backends.
func (f *flow) requestBody(d *directive, c *plan.Cond) bool {
	for _, l := range d.lines() {
		n, ok := plan.ParseSize(l.arg(0), 1000)
		if l.name != "max_size" || !ok {
			f.lose(l, "")
			continue
		}
		f.open = f.open && c == plan.Always // routes ask for the path that rules make
		own := flow{importer: f.importer, pre: f.limits}
		own.put(d, c, plan.Use(f.Named("filters", "body", []plan.Setting{
			{Name: "type", Value: `"request_limits"`}, {Name: "body", Value: plan.Size(n)},
		}, d.places()...)))
		f.limits = own.pre
	}
	return false
}

// respond is respond and error.
func (f *flow) respond(d *directive, c *plan.Cond) bool {
	body, text := d.arg(0), d.arg(1)
	if len(d.args) == 1 && len(body) == 3 && strings.Trim(body, "0123456789") == "" {
		body, text = "", body
	}
	usual := map[string]string{"respond": "200", "error": "500"}[d.name]
	status, err := strconv.Atoi(cmp.Or(text, usual))
	answer, unknown := f.translate(body)
	switch {
	case err != nil || status < 200 || status > 599:
		f.lose(d, "statuses are numbers from 200 to 599; such requests are answered 500")
		return f.ends(d, c, plan.Deny(500))
	case d.name == "error":
		return f.ends(d, c, plan.Deny(status), f.site.failing...)
	case unknown != "" || strings.Contains(answer, query):
		f.Lose(d.at, d.text, "answers have no "+cmp.Or(unknown, "query"))
		answer = ""
	}
	kind := f.kind
	if answer == "" {
		kind = ""
	}
	return f.ends(d, c, plan.Respond(status, answer, kind))
}

// redirect is redir.
func (f *flow) redirect(d *directive, c *plan.Cond) bool {
	status := map[string]int{"": 302, "temporary": 302, "permanent": 301}[d.arg(1)]
	if n, err := strconv.Atoi(d.arg(1)); err == nil {
		status = n
	}
	to, unknown := f.translate(d.arg(0))
	to, kept := strings.CutSuffix(to, query)
	if !slices.Contains([]int{301, 302, 303, 307, 308}, status) {
		unknown = "status " + d.arg(1)
	} else if strings.Contains(to, query) || kept && strings.Contains(to, "?") {
		unknown = cmp.Or(unknown, "{uri} with more after it, or in a query")
	}
	if unknown != "" {
		f.lose(d, "redirects have no "+unknown+"; such requests are answered 503")
		return f.ends(d, c, plan.Fail(503))
	}
	if kept && f.query != "" {
		to += f.query // what rewrite has written
	} else if !kept && !strings.Contains(to, "?") && !strings.Contains(to, "{query}") {
		to += "?" // edge would keep the query
	}
	return f.ends(d, c, plan.Redirect(to, status))
}

var placeholder = plan.Expr(`\{[A-Za-z%?][\w.%?:*\[\]-]*\}`)

// What stands in templates for the path, and for the query with its question mark, until they are known.
const (
	path  = "\x01"
	query = "\x00"
)

// placeholders are what templates have for the placeholders of Caddy. Short names have "_" for the dots of long ones,
// which begin with http.request.
var placeholders = map[string]string{
	"remote.host": "{peer.ip}", "client.ip": "{client.ip}", "http.vars.client.ip": "{client.ip}",
	"uuid": "{request.id}", "scheme": "{scheme}", "method": "{method}", "host": "{host}", "query": "{query}",
	"uri.query": "{query}",
	"path":      path, "uri.path": path, "uri": path + query, "?query": query, "tls.client.subject": "{cert.subject}",
	"tls.client.issuer": "{cert.issuer}", "tls.client.fingerprint": "{cert.sha256}",
}

// translate returns the template for s, with the path that f has. unknown is the first placeholder that edge does not
// have.
func (f *flow) translate(s string) (text, unknown string) {
	text, unknown = translate(s, placeholders)
	if f.path == "" && strings.Contains(text, path) {
		unknown = "{path}: it cannot be put together"
	}
	if f.query != "" {
		text = strings.ReplaceAll(text, "{query}", f.query[1:])
	}
	return strings.ReplaceAll(text, path, f.template), unknown
}

// translate replaces the placeholders in s by what known has for them.
func translate(s string, known map[string]string) (text, unknown string) {
	at := 0
	for _, m := range placeholder().FindAllStringIndex(s, -1) {
		name := strings.TrimPrefix(s[m[0]+1:m[1]-1], "http.request.")
		as, ok := known[strings.ReplaceAll(name, "_", ".")]
		if !ok && unknown == "" {
			unknown = s[m[0]:m[1]]
		}
		text += plan.Text(s[at:m[0]]) + as
		at = m[1]
	}
	return text + plan.Text(s[at:]), unknown
}

// header is header: fields of answers.
func (f *flow) header(d *directive, c *plan.Cond) bool {
	for _, l := range d.lines() {
		f.fields(d, c, l.as(append([]string{"", l.name}, l.args...)), plan.ResponseFields)
	}
	if len(d.args) > 0 {
		f.fields(d, c, d, plan.ResponseFields)
	}
	return false
}

// fields adds to d what the arguments of a line do to a field: its name with a sign before it, and its value.
func (f *flow) fields(d *directive, c *plan.Cond, l *directive, set func(...plan.Field) plan.Action) {
	name := strings.TrimLeft(strings.TrimSuffix(l.arg(0), ":"), "+-?>")
	sign, _, _ := strings.Cut(l.arg(0), name)
	text, unknown := f.translate(l.arg(1))
	switch {
	case name == "" || strings.ContainsAny(name, "*{ ") || len(l.args) > 2 || sign == "+" || sign == "?",
		sign != "-" && l.arg(1) == "":
		f.Lose(l.at, l.text, "edge sets fields to a value or removes them: it adds none, and replaces nothing in them")
		return
	case sign == "-":
		text = ""
	case unknown != "" || strings.Contains(text, query):
		f.Lose(l.at, l.text, "fields have no "+cmp.Or(unknown, "query"))
		return
	}
	a := set(plan.Field{Name: name, Value: text})
	answers := a.Name == "headers.response"
	if answers && (sign == "-" || sign == ">") && f.site.pages != nil {
		f.Note(d.at, d.text, "Caddy sets fields so in no answer to a failure, edge in all answers")
	}
	if answers && c == plan.Always && strings.EqualFold(name, "Content-Type") {
		f.kind = l.arg(1)
	}
	a.At = l.at
	f.put(d, c, a)
}

// rewrite puts another path in place of the path of the request.
func (f *flow) rewrite(d *directive, c *plan.Cond) bool {
	to, asked, written := strings.Cut(d.arg(0), "?")
	text, unknown := translate(to, placeholders)
	asked, other := f.translate(asked)
	before, kept := strings.CutSuffix(strings.TrimSuffix(text, query), path)
	quoted, ok := plan.Quote(before)
	if !ok || unknown+other != "" || strings.ContainsAny(before+asked, path+query) || strings.Contains(before, "{") ||
		text != "" && text[0] != '/' && text[0] != path[0] || kept && f.path == "" {
		f.lose(d, "a path is a text, or the one of the request with a text before it")
		f.path, f.query = "", "?{query}"
		return false
	}
	if !written || asked == "{query}" {
		asked = f.query
	} else {
		asked = "?" + asked
	}
	switch {
	case kept && before != "":
		f.move(d, c, "("+quoted+" + "+f.path+")", sent(before)+f.template, asked)
	case kept || text == "":
		f.move(d, c, f.path, f.template, asked)
	default:
		f.move(d, c, quoted, sent(before), asked)
	}
	return false
}

// uri changes a part of the path.
func (f *flow) uri(d *directive, c *plan.Cond) bool {
	text, ok := plan.Quote(d.arg(1))
	put, second := plan.Quote(sent(d.arg(2)))
	switch d.arg(0) {
	case "strip_prefix":
		f.cut(d, c, "^/+", strings.TrimLeft(d.arg(1), "/"), "/*", `"/")`)
	case "strip_suffix":
		f.cut(d, c, "", d.arg(1), "$", `"").re_replace("^$", "/")`)
	default:
		ok = ok && second && d.arg(0) == "replace" && len(d.args) == 3 && !strings.Contains(d.text, "{")
		f.change(d, c, `.re_replace("/+", "/").replace(`+text+", "+put+`).re_replace("^$", "/")`, ok)
		if f.query = "?{query}"; ok {
			f.odd = `|%(?:2[de]|3\d|[46][1-9a-f]|[57][\da]|5f|7e)`
			f.Note(d.at, d.text, "edge replaces nothing in the query; where requests are refused, so are those that "+
				"encode letters and digits of the path")
		}
	}
	return false
}

// readErrors reads handle_errors of a site: pages that are texts.
func (im *importer) readErrors(s *site, d *directive) {
	codes := d.args
	if len(codes) == 0 {
		codes = []string{"4xx", "5xx"}
	}
	add := func(at plan.Place, page string) {
		for _, code := range codes {
			if !slices.ContainsFunc(s.pages, func(page string) bool { return strings.HasPrefix(page, code) }) {
				s.pages = append(s.pages, code+" = "+page)
			}
		}
		if s.failing == nil {
			s.failing.set("error_pages", "", at)
		}
		s.failing[0].Value = "{ " + strings.Join(s.pages, ", ") + " }"
		s.from = append(s.from, d.at, at)
	}
	if file := pageFile(s, d); file != "" {
		d.lines()
		add(d.at, plan.String(file))
		return
	}
	for _, c := range d.lines() {
		text, unknown := translate(c.arg(0), pageNames)
		if c.name != "respond" || c.block != nil || len(c.args) == 0 || strings.HasPrefix(text, "@") || unknown != "" ||
			len(c.args) > 1 && !strings.HasSuffix(c.args[1], ".status_code}") {
			im.lose(c, "error pages are texts, with the status of the failure")
			continue
		}
		add(c.at, "{ body = "+plan.String(text)+`, type = "text/plain; charset=utf-8" }`)
	}
}

// pageFile returns the file that handle_errors of a site answers with; "": it does something else.
func pageFile(s *site, d *directive) (file string) {
	root := ""
	for _, c := range append(slices.Clip(s.block), d.block...) {
		if n := len(c.args) - 1; c.name == "root" && n >= 0 {
			root = c.args[n]
		}
	}
	served := false
	for _, c := range d.block {
		switch n := len(c.args) - 1; {
		case c.name == "rewrite" && n >= 0 && n < 2 && (n == 0 || c.args[0] == "*"):
			file = c.args[n]
		case c.name == "file_server" && n < 0 && c.block == nil:
			served = true
		case c.name != "root":
			return ""
		}
	}
	begin := strings.HasPrefix(root, "/") && strings.HasPrefix(file, "/")
	if !served || !begin || strings.ContainsAny(root+file, "{*") {
		return ""
	}
	return strings.TrimSuffix(root, "/") + file
}

// pageNames are what error pages have for the placeholders of Caddy.
var pageNames = map[string]string{
	"err.status.code": "{status}", "http.error.status.code": "{status}", "err.status.text": "{reason}",
	"http.error.status.text": "{reason}", "uuid": "{request_id}", "host": "{host}",
}
