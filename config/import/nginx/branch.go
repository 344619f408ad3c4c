package nginx

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// condition is an if that answers requests.
type condition struct {
	negative bool // the answer is for requests for which it does not hold
	methods  []string
	header   []plan.Field
	query    []plan.Field
	answer   *route
}

// narrow adds the condition to a route.
func (c *condition) narrow(r *route) {
	if len(c.methods) > 0 {
		r.methods = c.methods
	}
	r.header = append(slices.Clone(r.header), c.header...)
	r.query = append(slices.Clone(r.query), c.query...)
}

// near reports whether two conditions ask for the same thing of a request: then one cannot be beside the other.
func (c *condition) near(o *condition) bool {
	name := func(list []plan.Field) string {
		if len(list) == 0 {
			return ""
		}
		return strings.ToLower(list[0].Name)
	}
	return len(c.methods) > 0 && len(o.methods) > 0 ||
		name(c.header) != "" && name(c.header) == name(o.header) ||
		name(c.query) != "" && name(c.query) == name(o.query)
}

// branch translates one if.
func (im *importer) branch(s *server, at *scope, d *directive, l *location, p *phase) {
	inside := at.inner(d)
	answer := im.rewritePhase(s, inside, l)
	if answer.whole == nil || len(answer.parts) > 0 || len(answer.conditions) > 0 {
		why := "of if, edge knows those that answer the request"
		for _, c := range d.block {
			if c.name == "deny" {
				why += "; what it denies is allowed now"
			}
		}
		im.Lose(d.at, d.text(), why)
		return
	}
	test := strings.TrimSpace(strings.Join(d.args, " "))
	test = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(test, "("), ")"))
	answer.whole.from = append([]plan.Place{d.at}, answer.whole.from...)
	if l == nil && im.hostBranch(s, test, answer.whole) {
		return
	}
	c, why := conditionOf(test)
	if why == "" && len(p.conditions) > 0 {
		for i := range p.conditions {
			if p.conditions[i].near(c) || p.conditions[i].negative != c.negative {
				why = "one if at a time about the same thing"
			}
		}
	}
	if why != "" {
		im.Lose(d.at, d.text(), why+"; requests go on as if it did not hold")
		return
	}
	c.answer = answer.whole
	p.conditions = append(p.conditions, *c)
}

var (
	schemeTest = plan.Expr(`^\$(?:scheme (?:= ["']?http["']?|!= ["']?https["']?)|` +
		`https (?:= ""|= ''|=|!= ["']?on["']?)|` +
		`server_port (?:= ["']?80["']?|!= ["']?443["']?)|ssl_protocol =(?: "")?)$`)
	hostTest  = plan.Expr(`^\$(?:host|http_host) (!?=) ["']?([A-Za-z0-9.-]+)["']?$`)
	hostMatch = plan.Expr(
		`^\$(?:host|http_host) ~\*? ["']?\^([A-Za-z0-9-]+(?:\\?\.[A-Za-z0-9-]+)+)\$?["']?$`)
)

// hostBranch translates an if about the scheme or the host.
func (im *importer) hostBranch(s *server, test string, answer *route) bool {
	if schemeTest.Regexp().MatchString(test) {
		if s.plain == nil {
			s.plain = answer
		}
		return true
	}
	if m := hostTest.Regexp().FindStringSubmatch(test); m != nil {
		s.others = append(s.others, hostRule{strings.ToLower(m[2]), m[1] == "!=", answer})
		return true
	}
	if m := hostMatch.Regexp().FindStringSubmatch(test); m != nil && strings.HasSuffix(strings.Trim(test, `"'`), "$") {
		s.others = append(s.others, hostRule{strings.ToLower(strings.ReplaceAll(m[1], `\`, "")), false, answer})
		return true
	}
	return false
}

var (
	test      = plan.Expr(`^\$([a-z0-9_]+) (=|!=|~|~\*|!~|!~\*) (.*)$`)
	methodSet = plan.Expr(`^\^?\(?((?:[A-Z]+)(?:\|[A-Z]+)*)\)?\$?$`)
)

// conditionOf translates a test of if; why says what is not known.
func conditionOf(text string) (c *condition, why string) {
	c = &condition{}
	if name, found := strings.CutPrefix(text, "$http_"); found && !strings.ContainsAny(name, " =~") {
		c.header = []plan.Field{{Name: fieldName(name)}}
		return c, ""
	}
	m := test.Regexp().FindStringSubmatch(text)
	if m == nil {
		return nil, "edge does not know this test"
	}
	name, operator, value := m[1], m[2], m[3]
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	c.negative = strings.HasPrefix(operator, "!")
	operator = strings.TrimPrefix(operator, "!")
	switch {
	case name == "request_method" && (operator == "=" || methodSet.Regexp().MatchString(value)):
		c.methods = strings.Split(methodSet.Regexp().ReplaceAllString(value, "$1"), "|")
		return c, ""
	case hasVariables(value) && operator == "=":
		return nil, "the value has a variable"
	}
	switch operator {
	case "~":
		value = "~" + value
	case "~*":
		value = "~(?i)" + value
	default:
		if value == "" || strings.HasPrefix(value, "~") {
			return nil, "edge does not test for fields that are empty or missing"
		}
	}
	switch {
	case strings.HasPrefix(name, "http_"):
		c.header = []plan.Field{{Name: fieldName(name[5:]), Value: value}}
	case strings.HasPrefix(name, "arg_"):
		c.query = []plan.Field{{Name: name[4:], Value: value}}
	default:
		return nil, "edge does not test $" + name
	}
	return c, ""
}

// fieldName returns the field that a variable such as $http_user_agent has, without its beginning.
func fieldName(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "-")
}
