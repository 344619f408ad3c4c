package haproxy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// steps returns what a section does with requests before it sends them on, in the order in which HAProxy does it.
func (f *front) steps() []plan.Step {
	if l := f.s.find("monitor-uri"); l != nil && strings.HasPrefix(l.word(1), "/") {
		f.put(l, plan.All(f.asked(l), plan.PathIs(l.word(1))), plan.Answer(200, "", ""))
	}
	for _, kind := range []string{"tcp-request connection", "tcp-request session", "tcp-request content", "block",
		"http-request", "redirect", "http-response"} {
		f.skip, f.passed, f.early = nil, nil, f.told && kind == "tcp-request connection"
		words := strings.Fields(kind)
		for _, l := range f.lines {
			verb := cmp.Or(lookup("block: deny\nredirect: redirect", kind), l.word(len(words)))
			if slices.Equal(l.words[:min(len(words), len(l.words))], words) &&
				(kind != "http-response" || strings.HasSuffix(verb, "-header")) {
				f.step(l, verb)
			}
		}
	}
	return f.list
}

// allowsMax is how many lines that let requests pass the conditions of those after them name.
const allowsMax = 50

func (f *front) put(l *line, c *plan.Cond, do ...plan.Action) {
	l.used = true
	for _, passed := range f.skip {
		c = plan.All(plan.Not(passed), c)
	}
	if c == plan.Always {
		c = nil
	}
	f.list = append(f.list, plan.Step{When: c, Do: do, What: l.text(), From: slices.Concat(f.from, f.passed)})
}

// changing are parts of requests that lines change which are not carried: conditions after them look at these.
const changing = `
set-path set-pathq set-uri replace-uri replace-pathq normalize-uri set-query: path target url pathq query url_param urlp
set-method: method
set-src set-src-port: src src_port`

func (f *front) step(l *line, verb string) {
	switch verb {
	case "deny":
		f.refuse(l, plan.Deny(denied(l, 403)))
	case "tarpit":
		waits := cmp.Or(f.s.find("timeout", "tarpit"), f.s.find("timeout", "connect"))
		text, _ := plan.Millis.Value(cmp.Or(waits.word(2), "5s"))
		f.refuse(l, plan.Do("tarpit", text), plan.Deny(denied(l, 500)))
	case "reject", "silent-drop":
		f.refuse(l, plan.Drop())
	case "allow", "accept":
		l.used = true
		c := f.asked(l)
		if len(f.skip) >= allowsMax {
			c = plan.Unknown
		}
		if !c.Known() {
			f.im.Lose(l.at, l.text(), "edge does not know all of the condition: rules after it may refuse more")
		}
		if len(f.skip) <= allowsMax {
			f.skip, f.passed = append(f.skip, c), append(f.passed, f.from...)
		}
	case "auth":
		f.password(l)
	case "return":
		f.respond(l)
	case "redirect":
		f.redirect(l)
	case "set-header", "add-header", "del-header":
		f.field(l)
		fallthrough
	case "replace-header", "replace-value":
		f.changed = append(f.changed, strings.ToLower(l.word(2)))
	case "replace-path":
		f.replacePath(l)
	default:
		f.changed = append(f.changed, strings.Fields(lookup(changing, verb))...)
		if strings.HasPrefix(verb, "lua.") || verb == "use-service" {
			f.im.Lose(l.at, l.text(), "edge runs no scripts: all requests for which it may be are refused")
			f.put(l, f.asked(l), plan.Deny(403))
		}
	}
}

func (f *front) refuse(l *line, do ...plan.Action) {
	if counter, rest := f.part(l, counterAsked(), false); counter != "" && rest.Known() {
		f.limit(l, counter, rest)
		return
	}
	f.put(l, f.asked(l), do...)
	if f.loose {
		f.im.Lose(l.at, l.text(), "a line before changes the path: all requests for which it may hold are refused")
	}
}

// denied returns the status with which a line refuses.
func denied(l *line, usual int) int {
	status, _ := strconv.Atoi(cmp.Or(l.after("deny_status"), l.after("status"), strconv.Itoa(usual)))
	return status
}

// redirect reads a redirect: "redirect scheme https code 301".
func (f *front) redirect(l *line) {
	l.used = true
	status, to := 302, "%"
	list := l.words[slices.Index(l.words, "redirect")+1 : l.conditional()]
	for i := 0; i+1 < len(list); i += 2 {
		switch value := list[i+1]; list[i] {
		case "code":
			status, _ = strconv.Atoi(value)
		case "scheme":
			to = value + "://{host}{path}"
		case "prefix":
			to = f.values(strings.TrimSuffix(value, "/")) + "{path}"
		case "location":
			if to = f.values(value); !strings.Contains(to, "?") && !strings.Contains(to, "{target}") {
				to += "?" // the query is not kept
			}
		default:
			status = 0
		}
	}
	if len(list)%2 > 0 || strings.Contains(to, "%") || !slices.Contains([]int{301, 302, 303, 307, 308}, status) {
		f.im.Lose(l.at, l.text(), "edge does not know it; its requests go on to the rules after it")
		return
	}
	f.put(l, f.asked(l), plan.Redirect(to, status))
}

func (f *front) respond(l *line) {
	status, _ := strconv.Atoi(cmp.Or(l.after("status"), "200"))
	body, format := plan.Text(l.after("string")), f.values(l.after("lf-string"))
	if !strings.Contains(format, "%") {
		body += format
	}
	if strings.Contains(format, "%") || slices.ContainsFunc([]string{"file", "lf-file", "errorfile", "hdr"}, l.has) {
		f.im.Lose(l.at, "the text or fields of "+l.text(), "rules answer with a text that stands there")
	}
	if status >= 400 && body == "" {
		f.refuse(l, plan.Deny(status))
	} else {
		f.refuse(l, plan.Respond(status, body, l.after("content-type")))
	}
}

// field reads a line that sets or removes a field.
func (f *front) field(l *line) {
	l.used = true
	action := plan.RequestFields
	if l.words[0] == "http-response" {
		action = plan.ResponseFields
	}
	name, value, always := l.word(2), f.values(l.word(3)), l.conditional() == len(l.words)
	if l.word(1) == "del-header" {
		value = ""
	}
	switch {
	case l.words[0] == "http-response" && !always:
		f.im.Lose(l.at, l.text(), "fields of answers are set for all requests of a rule")
	case strings.EqualFold(name, "X-Forwarded-Proto") && !always,
		strings.EqualFold(name, "X-Forwarded-For") && value == "{client.ip}",
		strings.EqualFold(name, "X-Forwarded-Host") && value == "{host}":
		f.im.Note(l.at, l.text(), "nothing to write: edge says it itself")
	case strings.Contains(value, "%"), l.words[0] == "http-response" && strings.Contains(l.word(3), "hdr("):
		// In lines about answers hdr reads the fields of these.
		f.im.Lose(l.at, l.text(), "fields have no such variable")
	case l.word(1) != "del-header" && value == "":
		f.im.Lose(l.at, l.text(), "edge sends no empty fields")
	default:
		f.put(l, f.asked(l), action(plan.Field{Name: name, Value: value}))
	}
}

var formatted = plan.Expr(`%\[([^\]]+)\]`)

// values returns a format as a template, as far as edge knows the parts of requests in it: a "%" is left of others.
func (f *front) values(format string) string {
	known := strings.NewReplacer("{", "{{", "}", "}}", "%ci", "%[src]", "%%", "%").Replace(format)
	return formatted().ReplaceAllStringFunc(known, func(m string) string {
		if s, match, ok := f.sample(m[2 : len(m)-1]); ok && match == "" {
			return "{" + s.holds + "}"
		}
		return m
	})
}

var group = plan.Expr(`\\([0-9])`)

// replacePath reads a line that puts another path in place of the one asked for.
func (f *front) replacePath(l *line) {
	l.used = true
	f.changed = append(f.changed, "target", "url", "pathq")
	re, ok := plan.Quote(l.word(2))
	c, to := f.asked(l), l.word(3)
	if !ok || strings.ContainsAny(to, "%{}?#") || !strings.HasPrefix(to, "/") || !c.Known() || f.skip != nil {
		// Lines that let requests pass look at the path that came, and their conditions are asked again after this one.
		f.im.Lose(l.at, l.text(), "edge does not know it: the path stays as it is")
		f.changed = append(f.changed, "path")
		return
	}
	to = group().ReplaceAllString(to, "{match.$1}")
	f.put(l, plan.All(c, plan.Test("path ~ "+re)), plan.Rewrite(to))
}

var usersAsked = plan.Expr(`^http_auth\((.*)\)$`)

func (f *front) password(l *line) {
	filter, why := "", "edge asks for the users of one list, by http_auth"
	text, rest := f.part(l, usersAsked(), true)
	if text == "" {
		rest = f.asked(l)
	} else {
		filter, why = f.im.users(usersAsked().FindStringSubmatch(text)[1], l)
	}
	if why != "" {
		f.im.Lose(l.at, l.text(), why+": all requests that it is for are refused")
		f.put(l, rest, plan.Deny(403))
		return
	}
	f.put(l, rest, plan.Use(filter))
}

// users writes the filter of a list of users and returns its name; why says why edge has no such filter.
func (im *importer) users(list string, l *line) (name, why string) {
	i := slices.IndexFunc(im.sections, func(s *section) bool { return s.kind == "userlist" && s.name == list })
	if i < 0 {
		return "", "the file has no userlist " + list
	}
	s := im.sections[i]
	var fields []plan.Field
	from := []plan.Place{s.head.at, l.at}
	for _, u := range s.all("user") {
		if why := plan.HashWrong(u.after("password")); why != "" {
			return "", "user " + u.word(1) + ": " + why
		}
		fields = append(fields, plan.Field{Name: u.word(1), Value: u.after("password")})
		from = append(from, u.at)
	}
	for _, u := range append(s.all("user"), s.head) {
		u.used = true
	}
	return im.Named("filters", "users-"+plan.Name(list), []plan.Setting{{Name: "type", Value: `"basic_auth"`},
		{Name: "realm", Value: plan.String(cmp.Or(l.after("realm"), "restricted"))},
		{Name: "users", Value: plan.Table(fields)}, {Name: "forward", Value: "true"}}, from...), ""
}
