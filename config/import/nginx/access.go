package nginx

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// guardName matches directives that let some requests through and refuse others, which this version of edge cannot,
// but for auth_basic. allow and deny are looked at by themselves.
var guardName = plan.Expr(`^(auth_[a-z]+|auth_jwt_enabled|(server_rewrite|rewrite|access)_by_lua.*|js_access|` +
	`secure_link|valid_referers)$`)

// noGuards are directives that guardName matches and that refuse nothing.
var noGuards = []string{"auth_delay", "auth_http"}

// guardsOf returns a directive of a scope that lets some requests through, or nil, and what allow and deny say in it.
func guardsOf(at *scope) (found *directive, rules []*directive) {
	for outer := at; outer != nil && found == nil; outer = outer.outer {
		for _, c := range outer.block.block {
			if c.unread {
				found = c
			}
			if !guardName().MatchString(c.name) || slices.Contains(noGuards, c.name) {
				continue
			}
			if d := at.get(c.name); d.arg(0) != "off" {
				found = d
			}
		}
	}
	return found, at.all("allow", "deny")
}

// verdict is what allow and deny come to.
type verdict uint8

const (
	everybody verdict = iota
	some
	nobody
)

// verdictOf returns what a list of allow and deny comes to. The first entry that an address is in decides; an address
// in none of them is let in.
func verdictOf(rules []*directive) verdict {
	denied, allowed := false, false
	for _, d := range rules {
		switch all := d.arg(0) == "all"; {
		case d.name == "deny" && all && !allowed:
			return nobody
		case d.name == "deny":
			denied = true
		case all && !denied:
			return everybody
		default:
			allowed = true
		}
	}
	if denied {
		return some
	}
	return everybody
}

// refuses reports whether r answers all requests with an error.
func (r *route) refuses() bool {
	status, found := strings.CutPrefix(strings.Trim(r.dest(), `"`), "status:")
	return found && len(r.tests) == 0 && status >= "400"
}

// close makes r answer 403 because of a directive that refuses requests and that edge cannot follow.
func (r *route) close(because *directive) {
	if r.refuses() {
		r.from = append(r.from, because.at)
		return
	}
	r.shut(because.at, because.text()+" is not carried")
}

// closed returns routes that answer 403 in place of routes.
func closed(routes []*route, because *directive) (list []*route) {
	for _, r := range routes {
		r = r.on(r.path)
		r.close(because)
		list = append(list, r)
	}
	return list
}

// shut is close with the place of the directive and a reason.
func (r *route) shut(at plan.Place, why string) {
	what := ""
	for _, k := range r.keys {
		if k.name == "dest" || k.name == "redirect" {
			what = k.name + " was " + k.value
		}
	}
	r.comments = append(slices.Clone(r.comments), "closed, since "+why+"; "+what)
	for _, c := range r.tests {
		r.from = append(r.from, c.answer.from...)
	}
	r.from = append([]plan.Place{at}, r.from...)
	r.keys, r.tests, r.limits, r.access = nil, nil, nil, nil
	r.set("dest", plan.String("status:403"), at)
}

// exceptMethods translates limit_except: what is inside says who may use other methods than those that it names. It
// goes before the tests of its location: those are not run for other methods.
func (im *importer) exceptMethods(s *server, l *location, d *directive, all []*location, inner []rewriting) condition {
	c := condition{d: d, negative: true, methods: slices.Clone(d.args), answer: answer("403", d.at)}
	if slices.Contains(c.methods, "GET") && !slices.Contains(c.methods, "HEAD") {
		c.methods = append(c.methods, "HEAD")
	}
	if len(d.block) == 0 {
		im.Lose(d.at, d.text(), "the other methods are refused to all")
	}
	within := *l
	within.scope = l.scope.inner(d)
	e := im.filters.entryOf(s, within.scope)
	strange := slices.IndexFunc(d.block, func(c *directive) bool { return !slices.Contains(entryNames, c.name) })
	if strange < 0 && e.closed == nil && e.nobody == nil && len(e.access) > 0 {
		if r := im.content(s, l, all, inner); len(r.tests) == 0 {
			e.pass(r)
			r.from = append([]plan.Place{d.at}, r.from...)
			im.responseFields(l.scope, r)
			c.answer = r
			return c
		}
	}
	for _, inner := range d.block {
		inner.used = true
		if inner.name != "deny" || inner.arg(0) != "all" {
			im.Lose(inner.at, inner.text(), "the other methods are refused to all")
		}
		c.answer.from = append(c.answer.from, inner.at)
	}
	return c
}

// entryNames are directives of limit_except about what requests have to pass.
var entryNames = []string{"allow", "deny", "auth_basic", "auth_basic_user_file", "satisfy"}

// accessTest matches tests of if that ask for the identity of a client.
var accessTest = plan.Expr(`\$\{?(realip_remote_addr|remote_addr|binary_remote_addr|remote_user|ssl_client_|geoip|` +
	`invalid_referer|secure_link)`)

// fileTest matches tests of if about files, as those for maintenance are.
var fileTest = plan.Expr(`^!?-[fdex] `)

// mayRefuse reports whether what an if does, with p as what is inside it, keeps requests from their location.
func mayRefuse(d *directive, test string, p *phase) bool {
	switch {
	case p.closed != nil:
		return true
	case accessTest().MatchString(test):
		return slices.ContainsFunc(d.block, func(c *directive) bool {
			return c.name == "return" || c.name == "rewrite"
		})
	case p.whole == nil || !p.whole.refuses():
		return false
	}
	return !fileTest().MatchString(test) || !strings.HasPrefix(p.whole.dest(), `"status:5`)
}

// refusesSome reports whether a location may refuse requests, by itself, by what is around it, by what is inside or by
// the location with a name that it leads to.
func refusesSome(l *location, all []*location) bool {
	if found, rules := guardsOf(l.scope); found != nil || verdictOf(rules) != everybody {
		return true
	}
	for _, o := range all {
		if o.mark == "@" && o != l && slices.ContainsFunc(l.d.block, func(d *directive) bool {
			return d.name == "try_files" && slices.Contains(d.args, o.path)
		}) && refusesSome(o, nil) {
			return true
		}
	}
	return refusesInside(l.d)
}

// refusesInside reports whether a directive of a block may refuse requests.
func refusesInside(d *directive) bool {
	return slices.ContainsFunc(d.block, func(c *directive) bool {
		switch c.name {
		case "return":
			return len(c.args) > 0 && len(c.args[0]) == 3 && c.args[0] >= "400"
		case "if":
			test := strings.TrimPrefix(strings.Join(c.args, " "), "(")
			return accessTest().MatchString(test) || refusesInside(c)
		case "deny", "limit_except", "internal":
			return true
		}
		return c.unread || guardName().MatchString(c.name) && c.arg(0) != "off" ||
			c.name == "location" && refusesInside(c)
	})
}
