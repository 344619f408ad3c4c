package nginx

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// Where a test of if asks something that routes do not ask by their own keys, all tests of the location are conditions
// in the language. They are asked one after the other, so each route says that those before it did not hold:
//
//	if ($cookie_a = "") { return 401; }     when = 'cookie.a == ""'                          401
//	if ($http_x = s) { return 403; }        when = 'not (cookie.a == "") and header.x …'     403
//	proxy_pass …                                                                             the backend

// decisions returns the routes that r comes to with the tests before its own answer.
func (r *route) decisions() (routes []*route) {
	base, before := r.when, []string(nil)
	with := func(last ...string) string {
		return strings.Join(slices.DeleteFunc(slices.Concat([]string{base}, before, last),
			func(c string) bool { return c == "" }), " and ")
	}
	for _, c := range r.tests {
		text := c.text()
		a := c.answer.on(r.path)
		a.tests, a.methods, a.header, a.when = nil, nil, nil, with(text)
		routes = append(routes, a)
		before = append(before, negated(text))
	}
	last := r.on(r.path)
	if last.tests = nil; base != "" { // without a condition it is asked after those with one
		last.when = with()
	}
	return append(routes, last)
}

// negated returns the condition that another one does not hold.
func negated(text string) string {
	if inner, found := strings.CutPrefix(text, "not ("); found && strings.HasSuffix(inner, ")") &&
		!strings.Contains(inner, "(") {
		return strings.TrimSuffix(inner, ")")
	}
	return "not (" + text + ")"
}

// text returns c in the language.
func (c *condition) text() string {
	parts := []string{c.when}
	if len(c.methods) > 0 {
		parts = append(parts, "method in {"+quoted(c.methods)+"}")
	}
	for _, t := range c.fields() {
		subject := "join(header." + strings.ToLower(t.Name) + `, ", ")`
		switch expr, found := strings.CutPrefix(t.Value, "~"); {
		case found:
			parts = append(parts, subject+` ~ "`+expr+`"`)
		case t.Value == "":
			parts = append(parts, subject+` != ""`)
		default:
			parts = append(parts, subject+" == "+quoted([]string{t.Value}))
		}
	}
	text := strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), " and ")
	if c.negative {
		return "not (" + text + ")"
	}
	return text
}

// quoted returns texts of the language with blanks between them.
func quoted(list []string) string {
	var b strings.Builder
	for i, s := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(`"` + s + `"`)
	}
	return b.String()
}

// quotable reports whether a text may stand between quotation marks of the language.
func quotable(s string) bool {
	return !strings.ContainsAny(s, "\"\n\r") && !strings.HasSuffix(s, `\`)
}

var askedName = plan.Expr(`^\$([a-z0-9_]+)(?: (=|!=|~|~\*|!~|!~\*)(?: (.*))?)?$`)

// inLanguage returns a test of if that routes ask for in the language; nil: edge does not know it.
func inLanguage(s *server, at *scope, text string) *condition {
	m := askedName().FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	name, operator, value := m[1], m[2], m[3]
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	if hasVariables(value) && !strings.Contains(operator, "~") || !quotable(value) {
		return nil
	}
	c := &condition{negative: strings.HasPrefix(operator, "!")}
	operator = strings.TrimPrefix(operator, "!")
	if of := partOf(name); of != "" {
		return c.asksPart(of, operator, value)
	}
	subject := subjectOf(name)
	if name == "remote_addr" && otherAddresses(s, at) != "" {
		return nil
	}
	switch {
	case subject == "":
		return nil
	case name == "remote_addr" && operator == "=":
		address, err := netip.ParseAddr(value)
		if err != nil || address.String() != value {
			return nil
		}
		c.when = "client.ip == " + value
		return c
	case name == "ssl_client_verify":
		c.when = "cert.verified"
		if operator != "=" || value != "SUCCESS" {
			return nil
		}
		return c
	case operator == "": // neither empty nor 0
		c.when = subject + notEmpty
		return c
	case operator == "=":
		c.when = subject + ` == "` + value + `"`
	default:
		if operator == "~*" {
			value = "(?i)" + value
		}
		if _, err := regexp.Compile(value); err != nil {
			return nil
		}
		c.when = subject + ` ~ "` + value + `"`
	}
	return c
}

// notEmpty is what a test without an operator asks of a text.
const notEmpty = ` not in {"" "0"}`

// partOf returns the condition that a request has the argument or the cookie of a variable, whose value is match.1
// then: the first one of that name in any case, as it came. "": it is another variable.
func partOf(name string) string {
	switch sent := sentName().FindStringSubmatch(name); {
	case sent == nil || sent[1] == "http":
		return ""
	case sent[1] == "arg":
		return `query ~ "(?i)(?:^|&)` + sent[2] + `=([^&]*)"`
	default:
		return `join(header.cookie, ";") ~ "(?i)(?:^|;) *` + sent[2] + ` *= *([^;]*)"`
	}
}

// asksPart has c ask for an argument or a cookie, which is there if the condition of holds; nil: edge does not know it.
func (c *condition) asksPart(of, operator, value string) *condition {
	last := notEmpty
	switch operator {
	case "":
	case "=":
		if last = ` == "` + value + `"`; value == "" { // or it is missing
			c.negative, last = !c.negative, ` != ""`
		}
	default:
		if operator == "~*" {
			value = "(?i)" + value
		}
		if re, err := regexp.Compile(value); err != nil || re.MatchString("") {
			return nil
		}
		last = ` ~ "` + value + `"`
	}
	c.when = of + " and match.1" + last
	return c
}

// subjectOf returns the variable of the language for one of nginx, which is a text; "": there is none.
func subjectOf(name string) string {
	if sent := sentName().FindStringSubmatch(name); sent != nil && sent[1] == "http" {
		return "join(" + sentValue("http", sent[2]) + `, ", ")`
	}
	return map[string]string{
		"remote_addr": "text(client.ip)", "request_method": "method", "host": "host", "request_uri": "target",
		"args": "query", "query_string": "query", "content_type": "header.content-type",
		"ssl_client_verify": "cert.verified", "ssl_server_name": "tls.sni", "ssl_protocol": "tls.version",
	}[name]
}
