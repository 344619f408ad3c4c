package haproxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// ruleset writes the rules of a section, in the order in which HAProxy asks them.
func (f *front) ruleset() {
	for _, kind := range []string{"connection", "session", "content", "block", "http-request", "redirect",
		"http-response"} {
		f.skip = nil
		for _, l := range f.s.withDefaults() {
			switch {
			case l.words[0] == "tcp-request" && l.word(1) == kind:
				f.connectionRule(l)
			case l.words[0] != kind:
			case kind == "http-response":
				f.responseRule(l)
			default:
				f.requestRule(l)
			}
		}
	}
	f.skip = nil
}

// connectionRule writes a line of tcp-request.
func (f *front) connectionRule(l *line) {
	switch {
	case l.refuses():
		f.refuse(l, plan.Field{Name: "drop", Value: yes})
	case l.word(2) == "accept":
		l.used = true
		f.pass(l)
	}
}

// pass has the rules after l of the same kind leave out the requests that it lets pass.
func (f *front) pass(l *line) {
	c := f.conditionOfLine(l)
	if !c.known() {
		f.im.Lose(l.at, l.text(), "edge does not know all of the condition: rules after it may refuse more")
	}
	f.skip = append(f.skip, c)
}

// refuse writes a rule that refuses requests.
func (f *front) refuse(l *line, keys ...plan.Field) {
	l.used = true
	c := f.conditionOfLine(l)
	switch {
	case c.known():
	case c.counts() != nil:
		f.limit(l, c)
		return
	default:
		f.im.Lose(l.at, l.text(), "edge does not know all of the condition: all requests for which it may hold are "+
			"refused")
	}
	f.put(l, c, refusal, keys...)
}

// requestRule writes a line of http-request, or one of redirect.
func (f *front) requestRule(l *line) {
	switch verb := l.word(1); {
	case l.words[0] == "block" || verb == "deny":
		f.refuse(l, plan.Field{Name: "deny", Value: denied(l, "403")})
	case verb == "tarpit":
		f.refuse(l, plan.Field{Name: "tarpit", Value: tarpit(f.s)}, plan.Field{Name: "deny", Value: denied(l, "500")})
	case verb == "reject" || verb == "silent-drop":
		f.refuse(l, plan.Field{Name: "drop", Value: yes})
	case verb == "allow":
		l.used = true
		f.pass(l)
	case verb == "auth":
		f.password(l)
	case verb == "return":
		f.respond(l)
	case l.words[0] == "redirect" || verb == "redirect":
		f.lead(l)
	case verb == "set-header" || verb == "add-header" || verb == "del-header":
		f.header(l, "headers.request")
		f.changed = append(f.changed, strings.ToLower(l.word(2)))
	case verb == "replace-path":
		f.replacePath(l)
		f.changed = append(f.changed, "target", "url", "pathq")
	case strings.HasPrefix(verb, "lua.") || verb == "use-service":
		f.im.Lose(l.at, l.text(), "edge runs no scripts: all requests for which it may be are refused")
		l.used = true
		f.put(l, f.conditionOfLine(l), refusal, plan.Field{Name: "deny", Value: yes})
	default:
		f.changes(l)
	}
}

// changes notes what a line that is not carried changes: conditions after it would look at something else.
func (f *front) changes(l *line) {
	verb := l.word(1)
	switch {
	case slices.Contains([]string{"set-path", "set-pathq", "set-uri", "replace-uri", "replace-pathq", "normalize-uri",
		"set-query"}, verb):
		f.changed = append(f.changed, "path", "target", "url", "pathq", "query", "url_param", "urlp")
	case verb == "replace-header" || verb == "replace-value":
		f.changed = append(f.changed, strings.ToLower(l.word(2)))
	case verb == "set-method":
		f.changed = append(f.changed, "method")
	case verb == "set-src" || verb == "set-src-port":
		f.changed = append(f.changed, "src", "src_port")
	}
}

// denied returns the status with which a line refuses.
func denied(l *line, usual string) string {
	status := usual
	for _, word := range []string{"deny_status", "status"} {
		if v := l.after(word); v != "" {
			status = v
		}
	}
	if n, err := strconv.Atoi(status); err != nil || n < 400 || n > 599 {
		return "403"
	}
	return status
}

// tarpit returns for how long requests wait before they are refused.
func tarpit(s *section) string {
	for _, word := range []string{"tarpit", "connect"} {
		if l := s.find("timeout", word); l != nil {
			if d, ok := parseTime(l.word(2)); ok && d > 0 {
				return plan.Duration(d)
			}
		}
	}
	return `"5s"`
}

// lead writes a redirect.
func (f *front) lead(l *line) {
	l.used = true
	words := l.words
	if words[0] == "http-request" {
		words = words[1:]
	}
	if at := slices.IndexFunc(words, func(w string) bool { return w == "if" || w == "unless" }); at > 0 {
		words = words[:at]
	}
	key, c := redirect(words), f.conditionOfLine(l)
	if key.Name == "" || !c.known() {
		f.im.Lose(l.at, l.text(), "edge does not know it; its requests go on to the rules after it")
		return
	}
	f.put(l, c, usual, key)
}

// respond writes a line of http-request return.
func (f *front) respond(l *line) {
	if l.refuses() && l.after("string") == "" {
		f.refuse(l, plan.Field{Name: "deny", Value: denied(l, "403")})
		return
	}
	l.used = true
	status, body := statusOf(l.words), l.after("string")
	if body == "" && (l.has("lf-string") || l.has("file") || l.has("lf-file") || l.has("errorfile")) {
		f.im.Lose(l.at, "the text of "+l.text(), "rules answer with a text that stands there")
	}
	value := "{ status = " + status
	if body != "" {
		value += ", body = " + plan.String(strings.NewReplacer("{", "{{", "}", "}}").Replace(body))
	}
	if kind := l.after("content-type"); kind != "" && body != "" {
		value += ", type = " + plan.String(kind)
	}
	c := f.conditionOfLine(l)
	if !c.known() {
		why := "edge does not know the condition; its requests go on to the rules after it"
		if l.refuses() {
			why = "edge does not know all of the condition: all requests for which it may hold are refused"
		}
		f.im.Lose(l.at, l.text(), why)
	}
	as := usual
	if l.refuses() {
		as = refusal
	}
	f.put(l, c, as, plan.Field{Name: "respond", Value: value + " }"})
}

// header writes a line that sets or removes a field.
func (f *front) header(l *line, key string) {
	l.used = true
	var fields []plan.Field
	words := l.words
	if at := slices.IndexFunc(words, func(w string) bool { return w == "if" || w == "unless" }); at > 0 {
		l = &line{words: words[:at], at: l.at}
	}
	f.field(l, &fields)
	whole := &line{words: words, at: l.at}
	if len(fields) == 0 {
		return
	}
	c := f.conditionOfLine(whole)
	if !c.known() {
		f.im.Lose(l.at, whole.text(), "edge does not know the condition: the field is not set")
		return
	}
	f.put(whole, c, usual, plan.Field{Name: key, Value: plan.Table(fields)})
}

// responseRule writes a line of http-response.
func (f *front) responseRule(l *line) {
	switch {
	case l.word(1) != "set-header" && l.word(1) != "add-header" && l.word(1) != "del-header":
	case l.has("if") || l.has("unless"):
		l.used = true
		f.im.Lose(l.at, l.text(), "fields of answers are set for all requests of a rule")
	default:
		l.used = true
		f.header(l, "headers.response")
	}
}

// replacePath writes a line that puts another path in place of the one asked for.
func (f *front) replacePath(l *line) {
	l.used = true
	re, ok := quote(l.word(2))
	to, fits := groups(l.word(3))
	c := f.conditionOfLine(l)
	if !ok || !fits || !c.known() {
		f.im.Lose(l.at, l.text(), "edge does not know it: the path stays as it is")
		f.changed = append(f.changed, "path")
		return
	}
	c = &condition{kind: and, kids: []*condition{c, {holds: "path ~ " + re}}}
	f.put(l, c, usual, plan.Field{Name: "rewrite", Value: plan.String(to)})
}

// groups returns the replacement of a regular expression as a template: "/\1" is "/{match.1}".
func groups(text string) (to string, ok bool) {
	if strings.ContainsAny(text, "%{}?#") || !strings.HasPrefix(text, "/") {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9' {
			i++
			b.WriteString("{match." + text[i:i+1] + "}")
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String(), true
}

// password writes a line of http-request auth.
func (f *front) password(l *line) {
	l.used = true
	rest, list, ok := asksFor(f.conditionOfLine(l))
	if !ok {
		f.im.Lose(l.at, l.text(), "edge asks for the users of one list, by http_auth: all requests that it may be for "+
			"are refused")
		f.put(l, f.conditionOfLine(l), refusal, plan.Field{Name: "deny", Value: yes})
		return
	}
	name, why := f.im.users(list, l)
	if why != "" {
		f.im.Lose(l.at, l.text(), why+": all requests that it is for are refused")
		f.put(l, rest, refusal, plan.Field{Name: "deny", Value: yes})
		return
	}
	f.put(l, rest, refusal, plan.Field{Name: "filters", Value: plan.List(name)})
}

// asksFor returns the list of users of a condition that holds without a password, and what else the condition asks.
func asksFor(c *condition) (rest *condition, list string, ok bool) {
	switch {
	case c.kind == not:
		inner := c.kids[0]
		for len(inner.kids) == 1 && inner.kind != not {
			inner = inner.kids[0]
		}
		return always, inner.users, inner.users != ""
	case len(c.kids) == 1:
		return asksFor(c.kids[0])
	case c.kind != and:
		return c, "", false
	}
	for i, k := range c.kids {
		if _, list, ok := asksFor(k); ok {
			others := slices.Concat(c.kids[:i], c.kids[i+1:])
			return &condition{kind: and, kids: others}, list, true
		}
	}
	return c, "", false
}

// users writes the filter of a list of users and returns its name; why says why edge has no such filter.
func (im *importer) users(list string, l *line) (name, why string) {
	for _, s := range im.sections {
		if s.kind != "userlist" || s.name != list {
			continue
		}
		var fields []plan.Field
		from := []plan.Place{s.head.at}
		for _, u := range s.all("user") {
			if why := plan.HashWrong(u.after("password")); why != "" {
				return "", "user " + u.word(1) + ": " + why
			}
			fields = append(fields, plan.Field{Name: u.word(1), Value: u.after("password")})
			from = append(from, u.at)
		}
		realm := l.after("realm")
		if realm == "" {
			realm = "restricted"
		}
		key := "filter " + list + "\n" + realm
		if im.names[key] == "" {
			im.names[key] = plan.Unused("users-"+plan.Name(list), im.listeners)
			b := im.Add("[filters."+im.names[key]+"]", append(from, l.at)...)
			b.Set("type", `"basic_auth"`, plan.Place{})
			b.Set("realm", plan.String(realm), l.at)
			b.Set("users", plan.Table(fields), plan.Place{})
			b.Set("forward", yes, plan.Place{})
		}
		for _, u := range s.lines {
			u.used = true
		}
		s.head.used = true
		return im.names[key], ""
	}
	return "", "the file has no userlist " + list
}
