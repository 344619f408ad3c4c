package haproxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// requestRules translates redirect and the lines that answer, those of the defaults first.
func (f *front) requestRules(s *section) {
	for _, l := range s.withDefaults() {
		words, known := l.words, l.used // by another section
		if words[0] == "http-request" && l.word(1) == "redirect" {
			words = words[1:]
		}
		cond := 1 + slices.IndexFunc(words[1:], func(w string) bool { return w == "if" || w == "unless" })
		tests, understood := []test{{}}, true
		if cond > 0 {
			tests, understood = f.condition(words[cond+1:])
			if words[cond] == "unless" {
				understood = understood && len(tests) == 1 && tests[0].only()
				for i := range tests {
					tests[i].secure = -tests[i].secure
				}
			}
			words = words[:cond]
		}
		var key plan.Field
		switch {
		case words[0] == "redirect":
			key = redirect(words)
		case words[0] == "http-request" && l.word(1) == "return":
			key = f.status(l, words)
		default:
			continue
		}
		l.used = true
		if understood && key.Name != "" {
			for _, t := range tests {
				f.add(l, t, "", key)
			}
		} else if !known {
			f.im.Lose(l.at, l.text(), "edge does not know it; its requests go on to the rules after it")
		}
	}
}

// withDefaults returns the lines of the defaults that hold for s, and its own ones.
func (s *section) withDefaults() []*line {
	if s.base == nil {
		return s.lines
	}
	return slices.Concat(s.base.withDefaults(), s.lines)
}

// only reports whether a test asks for TLS and for nothing else.
func (t test) only() bool {
	return t.secure != 0 && len(t.hosts)+len(t.paths)+len(t.methods)+len(t.header)+len(t.query) == 0
}

// redirect returns the key of a redirect: "redirect scheme https code 301".
func redirect(words []string) plan.Field {
	status, to := "302", ""
	for i := 1; i+1 < len(words); i += 2 {
		switch value := words[i+1]; words[i] {
		case "code":
			status = value
		case "scheme":
			to = value + "://{host}{path}"
		case "prefix":
			to = strings.TrimSuffix(value, "/") + "{path}"
		case "location":
			to = value
			if !strings.Contains(to, "?") {
				to += "?"
			}
		default:
			return plan.Field{}
		}
	}
	to = strings.NewReplacer("%[hdr(host)]", "{host}", "%[req.hdr(host)]", "{host}", "%[path]", "{path}",
		"%[capture.req.uri]", "{path}", "%[url]", "{path}", "%[query]", "{query}").Replace(to)
	if to == "" || strings.Contains(to, "%[") || !slices.Contains([]string{"301", "302", "303", "307", "308"}, status) {
		return plan.Field{}
	}
	return plan.Field{Name: "redirect", Value: "{ to = " + plan.String(to) + ", status = " + status + " }"}
}

// statusOf returns the status that deny and return name.
func statusOf(words []string) string {
	for i := 2; i+1 < len(words); i++ {
		if words[i] == "deny_status" || words[i] == "status" {
			return words[i+1]
		}
	}
	if words[1] == "return" {
		return "200"
	}
	return "403"
}

// status returns the key of deny and return.
func (f *front) status(l *line, words []string) plan.Field {
	status := statusOf(words)
	for i := 2; i < len(words); i++ {
		switch words[i] {
		case "content-type", "string", "lf-string", "file", "hdr":
			if words[i] != "content-type" {
				f.im.Lose(l.at, "the text of "+l.text(), "routes answer with a text of edge's own")
			}
			i++
		}
	}
	if n, err := strconv.Atoi(status); err != nil || n < 200 || n > 599 {
		return plan.Field{}
	}
	return plan.Field{Name: "dest", Value: plan.String("status:" + status)}
}

// facts returns what replaces the formats that fields may have.
func facts() *strings.Replacer {
	return strings.NewReplacer("%[src]", "{client_ip}", "%ci", "{client_ip}", "%[ssl_fc_sni]", "{sni}",
		"%[ssl_fc_protocol]", "{tls_version}", "%[ssl_fc_cipher]", "{tls_cipher}", "%[unique-id]", "{request_id}",
		"%[uuid()]", "{request_id}")
}

var formatted = plan.Expr(`%\[([^\]]+)\]`)

// values returns a format as a template, as far as edge knows the parts of requests in it.
func (f *front) values(format string) string {
	return formatted().ReplaceAllStringFunc(format, func(m string) string {
		s, match, ok := f.sampleOf(m[2 : len(m)-1])
		if !ok || match != "" {
			return m
		}
		return "{" + s.holds + "}"
	})
}

// fields writes what http-request and http-response lines do with fields and paths of proxied requests.
func (f *front) fields(b *plan.Block, r rule) {
	if r.backend == "" {
		return
	}
	sections := []*section{f.s}
	if s := f.im.backends[r.backend]; s != nil && s != f.s {
		sections = append(sections, s)
	}
	var request, response []plan.Field
	for _, s := range sections {
		for _, l := range s.lines {
			switch {
			case l.words[0] == "http-request" && (l.word(1) == "replace-path" || l.word(1) == "set-path"):
				f.path(b, l)
			case l.words[0] != "http-request" && l.words[0] != "http-response":
			default:
				list := &request
				if l.words[0] == "http-response" {
					list = &response
				}
				f.field(l, list)
			}
		}
	}
	if len(request) > 0 {
		b.Set("headers.request", plan.Table(request), plan.Place{})
	}
	if len(response) > 0 {
		b.Set("headers.response", plan.Table(response), plan.Place{})
	}
}

// field adds what one line does with a field.
func (f *front) field(l *line, list *[]plan.Field) {
	name, value := l.word(2), f.values(facts().Replace(l.word(3)))
	switch l.word(1) {
	case "set-header", "add-header":
	case "del-header":
		value = ""
	default:
		return
	}
	l.used = true
	if at := slices.IndexFunc(l.words, func(w string) bool { return w == "if" || w == "unless" }); at >= 0 {
		if strings.EqualFold(name, "X-Forwarded-Proto") {
			f.im.Note(l.at, l.text(), "nothing to write: edge says it itself")
			return
		}
		f.im.Lose(l.at, l.text(), "fields are set for all requests of a route")
		return
	}
	switch {
	case strings.EqualFold(name, "X-Forwarded-For") && value == "{client_ip}",
		strings.EqualFold(name, "X-Forwarded-Host") && strings.Contains(strings.ToLower(value), "hdr(host)"):
		f.im.Note(l.at, l.text(), "nothing to write: edge says it itself")
		return
	case strings.Contains(value, "%[") || strings.HasPrefix(value, "%"):
		f.im.Lose(l.at, l.text(), "fields have no such variable")
		return
	case l.word(1) != "del-header" && value == "":
		f.im.Lose(l.at, l.text(), "edge sends no empty fields")
		return
	}
	*list = slices.DeleteFunc(*list, func(o plan.Field) bool { return strings.EqualFold(o.Name, name) })
	*list = append(*list, plan.Field{Name: name, Value: value})
}

// pathExpr are the expressions of replace-path that are a beginning and the rest.
var pathExpr = plan.Expr(`^\^?(/[A-Za-z0-9_/-]*?)(/?)\(\.\*\)\$?$`)

// path writes replace-path ^/api/(.*) /\1.
func (f *front) path(b *plan.Block, l *line) {
	l.used = true
	m := pathExpr().FindStringSubmatch(l.word(2))
	// A backslash before a digit is gone: the words of the file are cut as HAProxy cuts them.
	to, found := strings.CutSuffix(strings.ReplaceAll(l.word(3), `\1`, "1"), "1")
	if m == nil || !found || len(l.words) != 4 || !strings.HasPrefix(to, "/") || l.word(1) == "set-path" {
		f.im.Lose(l.at, l.text(), "edge puts one beginning of a path in place of another")
		return
	}
	b.Set("rewrite.strip_prefix", plan.String(m[1]), l.at)
	if to = strings.TrimSuffix(to, "/"); to != "" {
		b.Set("rewrite.add_prefix", plan.String(to), l.at)
	}
}
