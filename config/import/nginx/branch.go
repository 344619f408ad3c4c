package nginx

import (
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// condition is an if that answers requests, or a limit_except.
type condition struct {
	d        *directive
	negative bool // the answer is for requests for which it does not hold
	methods  []string
	header   []plan.Field
	when     string // in the language
	answer   *route
}

// fields returns the tests of fields.
func (c *condition) fields() (list []test) {
	for _, f := range c.header {
		list = append(list, test{f})
	}
	return list
}

// branch translates one if. One that refuses requests and cannot be carried closes all that comes after it.
func (im *importer) branch(s *server, at *scope, d *directive, l *location, p *phase) {
	inside := at.inner(d)
	answer := im.rewritePhase(s, inside, l)
	test := strings.TrimSpace(strings.Join(d.args, " "))
	test = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(test, "("), ")"))
	lose := func(why, open string) {
		if mayRefuse(d, test, &answer) {
			open = "; what it may refuse is closed: 403"
			p.close(d)
		}
		im.Lose(d.at, d.text(), why+open)
	}
	if answer.whole == nil || len(answer.parts) > 0 || len(answer.conditions) > 0 {
		lose("of if, edge knows those that answer the request", "")
		return
	}
	answer.whole.from = append([]plan.Place{d.at}, answer.whole.from...)
	p.keep(answer.whole)
	if l == nil && im.hostBranch(s, test, answer.whole, p) {
		return
	}
	c, why := conditionOf(test)
	if why != "" {
		if c = inLanguage(s, at, test); c != nil {
			why = ""
		}
	}
	if why != "" {
		lose(why, "; requests go on as if it did not hold")
		return
	}
	c.d, c.answer = d, answer.whole
	for i := range p.conditions {
		beside(im.Plan, &p.conditions[i], c)
	}
	p.conditions = append(p.conditions, *c)
}

// beside adds a finding where two tests look at the same thing: then no route can ask for both.
func beside(im *plan.Plan, before, c *condition) {
	both := !before.negative && !c.negative && before.answer.refuses() && c.answer.refuses()
	for _, a := range before.fields() {
		for _, b := range c.fields() {
			if a.near(b) && a != b && both {
				im.Note(c.d.at, c.d.text(), "where another if about the same holds too, either of them answers")
			} else if a.near(b) && a != b {
				im.Lose(c.d.at, c.d.text(), "another if looks at the same before it: requests for which both hold, or "+
					"may hold, are refused where one of them refuses")
			}
		}
	}
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
func (im *importer) hostBranch(s *server, test string, answer *route, p *phase) bool {
	answer.tests = slices.Clone(p.conditions)
	if schemeTest().MatchString(test) {
		if s.plain == nil {
			s.plain = answer
		}
		return true
	}
	if m := hostTest().FindStringSubmatch(test); m != nil {
		s.others = append(s.others, hostRule{strings.ToLower(m[2]), m[1] == "!=", answer})
		return true
	}
	if m := hostMatch().FindStringSubmatch(test); m != nil && strings.HasSuffix(strings.Trim(test, `"'`), "$") {
		s.others = append(s.others, hostRule{strings.ToLower(strings.ReplaceAll(m[1], `\`, "")), false, answer})
		return true
	}
	answer.tests = nil
	return false
}

var (
	testExpr  = plan.Expr(`^\$([a-z0-9_]+) (=|!=|~|~\*|!~|!~\*)(?: (.*))?$`)
	methodSet = plan.Expr(`^\^?\(?((?:[A-Z]+)(?:\|[A-Z]+)*)\)?\$?$`)
)

// conditionOf translates a test of if; why says what is not known.
func conditionOf(text string) (c *condition, why string) {
	c = &condition{}
	if name, found := strings.CutPrefix(text, "$http_"); found && !strings.ContainsAny(name, " =~") {
		c.header = []plan.Field{{Name: fieldName(name)}}
		return c, ""
	}
	m := testExpr().FindStringSubmatch(text)
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
	case name == "request_method" && methodSet().MatchString(value):
		c.methods = strings.Split(methodSet().ReplaceAllString(value, "$1"), "|")
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
		switch {
		case value == "": // that it is not there, or empty, is that it has no character
			c.negative, value = !c.negative, "~."
		case strings.HasPrefix(value, "~"):
			return nil, "edge does not test for values that begin with a ~"
		}
	}
	if expr, found := strings.CutPrefix(value, "~"); found {
		switch re, err := regexp.Compile(expr); {
		case err != nil:
			return nil, "edge does not know this expression"
		case re.MatchString(""):
			return nil, "edge does not test for fields that are empty or missing"
		}
	}
	switch {
	case strings.HasPrefix(name, "http_"):
		c.header = []plan.Field{{Name: fieldName(name[5:]), Value: value}}
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
