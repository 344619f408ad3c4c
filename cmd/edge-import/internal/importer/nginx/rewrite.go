package nginx

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// context is where directives stand.
type context struct {
	*server
	at     *scope
	l      *location  // nil: none
	groups *plan.Cond // the condition that $1 and so on are groups of; nil: there is none
}

// step is what a directive does with all requests that come to it.
func (d *directive) step(do ...plan.Action) plan.Step {
	return plan.Step{Do: do, What: d.text(), From: []plan.Place{d.at}}
}

// phase is what the directives of ngx_http_rewrite_module in one block come to.
type phase struct {
	steps []plan.Step
	again []plan.Step // that begin the search for a location again
	end   *plan.Step  // the answer to all requests that no step answers
	after *plan.Cond  // of the requests that come to what follows; nil: all
}

// add adds a step. Where it has groups, it asks the condition that has them.
func (p *phase) add(c context, s plan.Step) {
	if slices.ContainsFunc(s.Do, hasGroups) && c.groups != nil && s.When == nil {
		s.When = c.groups
	}
	if p.after != nil {
		s.When = plan.All(p.after, cmp.Or(s.When, plan.Always))
	}
	p.steps = append(p.steps, s)
}

func answers(s plan.Step) bool {
	return slices.Contains([]string{"deny", "drop", "redirect", "respond"}, s.Do[0].Name)
}

func hasGroups(a plan.Action) bool { return strings.Contains(a.Value, "{match.") }

// finish adds the answer to all requests that come to d.
func (p *phase) finish(c context, a plan.Action, d *directive) {
	end := d.step(a)
	if t := c.at.get("default_type"); t != nil && d.arg(1) != "" && a.Name == "respond" {
		end.From = append(end.From, t.at)
	}
	if p.after != nil || hasGroups(a) {
		p.add(c, end)
		if end = d.step(plan.Fail(404)); p.after != nil {
			return
		}
	}
	p.end = &end
}

// rewritePhase translates set, if, rewrite and return of a block.
func (im *importer) rewritePhase(c context) (p phase) {
	for _, d := range c.at.block.block {
		switch d.name {
		case "return":
			d.used = true
			p.finish(c, im.answerOf(c, d), d)
		case "rewrite":
			d.used = true
			im.rewrite(c, d, &p)
		case "set":
			im.set(c, d, &p)
		case "if":
			d.used = true
			im.branch(c, d, &p)
		case "break":
			d.used = true
			return p
		}
		if p.end != nil {
			return p
		}
	}
	return p
}

// set translates set of what is no constant.
func (im *importer) set(c context, d *directive, p *phase) {
	name := nameOf(d.arg(0))
	if _, constant := c.at.constants[name]; len(d.args) != 2 || constant {
		return
	}
	d.used, im.locals[name] = true, true
	value, unknown := im.template(c, d.args[1])
	if unknown != "" {
		im.Lose(d.at, d.text(), "edge has no "+unknown)
		im.lost[name] = true
		return
	}
	p.add(c, d.step(plan.Local(localName(name), value)))
}

// localName returns the name that a variable has in texts. The result has some of its own.
func localName(name string) string {
	if slices.Contains([]string{"to", "path", "rewritten"}, name) {
		return name + "_"
	}
	return name
}

// template returns a value of the file as a template; unknown is a variable that edge has not, or "".
func (im *importer) template(c context, text string) (result, unknown string) {
	return im.filled(c, expand(text, c.at.constants), "")
}

// filled returns a template with the variables of a value; special is a table of those that mean something else there.
func (im *importer) filled(c context, text, special string) (result, unknown string) {
	return replaced(text, func(name string) string {
		switch subject := cmp.Or(lookup(special, name), im.subject(name)); {
		case c.groups != nil && len(name) == 1 && strings.Contains("123456789", name):
			return "{match." + name + "}"
		case name == "server_name":
			return strings.Trim(c.first, "_{}$~")
		case subject != "":
			return "{" + subject + "}"
		}
		return ""
	})
}

func (im *importer) branch(c context, d *directive, p *phase) {
	text := strings.TrimSpace(strings.Join(d.args, " "))
	text = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(text, "("), ")"))
	im.asked = nil
	when := im.testOf(c, text)
	from := append([]plan.Place{d.at}, im.asked...)
	if when == plan.Never {
		d.each(func(d *directive) { im.Note(d.at, d.text(), "the condition never holds") })
	}
	within := context{c.server, c.at.inner(d), c.l, nil}
	if strings.Contains(text, "~") && !strings.Contains(text, "!~") {
		within.groups = when
	}
	inside := im.rewritePhase(within)
	add := func(do plan.Step) {
		do.When = plan.All(when, cmp.Or(do.When, plan.Always))
		do.What, do.From = d.text(), slices.Concat(from, do.From)
		p.add(c, do)
	}
	for _, step := range inside.steps {
		add(step)
	}
	if inside.end != nil {
		a := inside.end.Do[0]
		status, _ := strconv.Atoi(a.Value)
		switch {
		case !when.Known() && accessTest().MatchString(text):
			a = plan.Deny(403)
		case fileTest().MatchString(text) && a.Name == "deny" && status >= 500:
			a = plan.Fail(status)
		}
		add(plan.Step{Do: []plan.Action{a}, From: inside.end.From})
	}
	if pass := d.child("proxy_pass"); pass != nil && c.l != nil {
		pass.used = true
		if a, ok := im.destOf(within, pass); ok {
			p.add(c, plan.Step{When: when, Do: a, What: d.text(), From: []plan.Place{d.at, pass.at}})
			inside.steps = p.steps
		}
	}
	for _, inner := range d.block {
		switch {
		case inner.name == "set" && !when.Known():
			im.lost[nameOf(inner.arg(0))] = true
		case inner.name == "include":
			add(plan.Step{Do: []plan.Action{plan.Deny(403)}, From: []plan.Place{inner.at}})
		case !inner.used && !slices.Contains([]string{"return", "rewrite", "set", "if", "break"}, inner.name):
			inner.used = true
			im.Lose(inner.at, inner.text(), "of if, edge knows what answers the request, rewrites it or sets variables")
		}
	}
	if len(inside.steps) == 0 && inside.end == nil {
		im.Lose(d.at, d.text(), "nothing in it is carried")
	}
}

// accessTest matches tests of if that ask for the identity of a client.
var accessTest = plan.Expr(`\$\{?(realip_remote_addr|remote_addr|binary_remote_addr|proxy_protocol_|remote_user|` +
	`ssl_client_|geoip|invalid_referer|secure_link)`)

// fileTest matches tests of if about files, as those for maintenance are.
var fileTest = plan.Expr(`^!?-[fdex] `)

// redirectTo returns a URL of the file as redirect.to has it; unknown is a variable that redirects have not, or "".
// Edge keeps the query by itself, where to has none.
func (im *importer) redirectTo(c context, text string) (to, unknown string) {
	text = expand(text, c.at.constants)
	keeps := strings.Contains(text, "$request_uri") || strings.Contains(text, "$is_args$args")
	to, unknown = im.filled(c, strings.ReplaceAll(text, "$is_args$args", ""),
		"http_host=host; request_uri=path; uri=path; document_uri=path")
	if keeps { // a ? after it says that the query is not added again
		to = strings.TrimSuffix(to, "?")
	} else if !strings.Contains(to, "?") {
		to += "?"
	}
	return to, unknown
}

// answerOf translates return. What it cannot is answered 503.
func (im *importer) answerOf(c context, d *directive) plan.Action {
	code, err := strconv.Atoi(d.arg(0))
	text := d.arg(1)
	if err != nil {
		code, text = 302, d.arg(0)
	}
	switch {
	case slices.Contains([]int{301, 302, 303, 307, 308}, code) && text != "":
		to, unknown := im.redirectTo(c, text)
		if unknown != "" {
			im.Lose(d.at, d.text(), "redirects have no "+unknown+"; such requests are answered 503")
			return plan.Deny(503)
		}
		return plan.Redirect(to, code)
	case code == 444:
		return plan.Drop()
	case text == "" && code >= 400:
		return plan.Deny(code)
	case text == "":
		return plan.Answer(code, "", "")
	}
	body, unknown := im.template(c, text)
	if unknown != "" {
		im.Lose(d.at, "the text of "+d.text(), "edge has no "+unknown)
		return plan.Answer(code, "", "")
	}
	return plan.Respond(code, body, typeOf(c.at))
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

func (im *importer) rewrite(c context, d *directive, p *phase) {
	text, to, flag := d.arg(0), d.arg(1), d.arg(2)
	step := d.step()
	if !slices.Contains([]string{"^", "", ".*", "^.*$", "^/"}, text) {
		step.When = pathMatches(text, false)
		c.groups = step.When
	}
	path, unknown := im.redirectTo(c, to)
	if !strings.Contains(to, "?") { // rewrite keeps the query
		path = strings.TrimSuffix(path, "?")
	}
	away := flag == "permanent" || flag == "redirect" || strings.HasPrefix(to, "http://") ||
		strings.HasPrefix(to, "https://") || strings.HasPrefix(to, "$scheme")
	switch {
	case step.When == plan.Unknown:
		im.Lose(d.at, d.text(), "edge does not know this expression")
	case unknown != "":
		im.Lose(d.at, d.text(), "redirects have no "+unknown)
	case away:
		a := plan.Redirect(path, map[bool]int{true: 301, false: 302}[flag == "permanent"])
		if step.When == nil {
			p.finish(c, a, d)
			return
		}
		step.Do = []plan.Action{a}
		p.add(c, step)
	case strings.Contains(to, "?"):
		im.Lose(d.at, d.text(), "a rewrite of edge keeps the query")
	case c.l == nil && flag != "": // the others of the server do not see the new path
		step.Do = []plan.Action{plan.Local("rewritten", "yes"), plan.Rewrite(path)}
		p.add(c, step)
		p.after = plan.Compare("local.rewritten", "==", "")
	case c.l == nil || flag == "break":
		step.Do = []plan.Action{plan.Rewrite(path)}
		p.add(c, step)
	case len(p.steps) > 0:
		im.Lose(d.at, d.text(), "the search for a location is not begun again")
	default:
		step.Do = []plan.Action{plan.Rewrite(path)}
		p.again = append(p.again, step)
	}
}
