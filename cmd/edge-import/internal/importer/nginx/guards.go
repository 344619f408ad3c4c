package nginx

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// filter is a [filters.NAME] of the result. It is written with the first route that names it.
type filter struct {
	name string // that it would like to have
	keys []plan.Setting
	from []plan.Place
}

func newFilter(kind, name string, from ...plan.Place) *filter {
	return &filter{name, []plan.Setting{{Name: "type", Value: plan.String(kind)}}, from}
}

func (f *filter) set(name, value string, at plan.Place) {
	f.keys = append(f.keys, plan.Setting{Name: name, Value: value, At: at})
}

// entry is what requests of a scope have to pass before its content.
type entry struct {
	refused  string   // the condition that the address of a client is refused; "": none is
	users    *filter  // that asks for a password; nil: none does
	encoders []string // that compress the answers
	closed   string   // why all are refused, since edge cannot follow the file; "": they are not
	from     []plan.Place
}

func (e *entry) refusesAll() bool { return e.closed != "" || e.refused == "true" }

// guards returns the steps that refuse requests of a scope: by filters that count them, by addresses and passwords.
// They are for the requests for which when holds; d is the block that they are of.
func (im *importer) guards(c context, e entry, when *plan.Cond, d *directive, t *plan.Target) (steps []plan.Step) {
	t.From = append(t.From, e.from...)
	end, asked := plan.Deny(403), when
	if e.closed != "" && when == plan.Always {
		asked = nil // a rule of the route, which is whole
	}
	if e.closed != "" {
		end = plan.Close(e.closed)
	}
	has := func(s plan.Step) bool { return s.Do[0].Name == end.Name && s.When == asked } // around try_files @name
	if e.refusesAll() && !slices.ContainsFunc(t.Steps, has) {
		steps = []plan.Step{d.step(end)}
		steps[0].When = asked
	}
	if e.refused == "true" {
		return steps
	}
	filters, from := im.limitsOf(c)
	if t.From = append(t.From, from...); e.refused != "" && len(filters) > 0 { // what is refused counts there
		f := newFilter("ip", "addresses", e.from...)
		f.set("deny", plan.List("0.0.0.0/0", "::/0"), plan.Place{})
		f.set("when", plan.Literal(e.refused), plan.Place{})
		filters = append(filters, f)
	} else if e.refused != "" {
		steps = append(steps, d.step(plan.Deny(403)))
		steps[0].When = plan.All(when, plan.Test(e.refused))
	}
	if e.users != nil {
		filters = append(filters, e.users)
	}
	var names []string // in the order in which requests pass them
	for _, f := range filters {
		name := im.Named("filters", cmp.Or(plan.Name(f.name), "filter"), f.keys, f.from...)
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if names != nil || e.encoders != nil {
		step := d.step(plan.Encode(e.encoders...))
		if names != nil {
			step.Do = []plan.Action{plan.Use(append(names, e.encoders...)...)}
		}
		if step.From = slices.Concat(from, e.from); when != plan.Always {
			step.When = when
		}
		steps = append(steps, step)
	}
	return steps
}

// entryOf reads what the requests of a scope have to pass. What edge has not closes it, beside the guards that it has.
func (im *importer) entryOf(c context) (e entry) {
	closed := func(d *directive, why string) {
		if d.name != "include" {
			im.Lose(d.at, d.text(), why+": a rule with deny = 403 closes the route until you guard it otherwise")
		}
		d.each(func(d *directive) { d.used = true })
		e.closed, e.from = cmp.Or(e.closed, d.name+" is not carried"), append(e.from, d.at)
	}
	for outer := c.at; outer != nil; outer = outer.outer {
		outer.block.child("")
		for _, d := range outer.block.guards {
			if c.at.get(d.name).arg(0) != "off" {
				closed(d, "not available in this version")
			}
		}
	}
	rules := c.at.all("allow", "deny")
	users, why := im.users(c.at)
	if why != "" {
		closed(c.at.get("auth_basic"), why)
	}
	any := c.at.says("satisfy", "any") && users != nil
	for _, d := range append(slices.Clone(rules), c.at.find("satisfy"), c.at.find("auth_basic_user_file")) {
		if d != nil && d.used {
			e.from = append(e.from, d.at)
		}
	}
	refused, ok := refuses(rules, any)
	if ok && refused != "true" && refused != "false" {
		why = otherAddresses(c.server, c.at)
	} else if why = ""; !ok {
		why = "edge does not know this address"
	}
	switch {
	case why != "":
		closed(rules[0], why)
	case any && refused == "false":
		return e
	case any && refused != "true":
		users.set("when", plan.Literal(refused), plan.Place{})
	case refused != "false" && !any:
		e.refused = refused
	}
	e.users = users
	return e
}

// refuses is the condition that a list of allow and deny refuses a client: the first entry that its address is in
// decides. otherwise says whether it is refused where there is none.
func refuses(rules []*directive, otherwise bool) (when string, ok bool) {
	when = strconv.FormatBool(otherwise)
	for end := len(rules); end > 0; {
		from, deny := end-1, rules[end-1].name == "deny"
		if rules[from].arg(0) == "all" {
			end, when = from, strconv.FormatBool(deny)
			continue
		}
		for from > 0 && rules[from-1].name == rules[from].name && rules[from-1].arg(0) != "all" {
			from--
		}
		var list []string
		for _, d := range rules[from:end] {
			p, err := prefixOf(d.arg(0))
			if err != nil {
				return "", false
			}
			if list = append(list, p.String()); p.IsSingleIP() {
				list[len(list)-1] = p.Addr().String()
			}
		}
		in := "in {" + strings.Join(list, " ") + "}"
		switch end = from; {
		case when == strconv.FormatBool(deny):
		case deny && when == "false":
			when = "client.ip " + in
		case deny:
			when = "client.ip " + in + " or " + when
		case when == "true":
			when = "client.ip not " + in
		default:
			when = "client.ip not " + in + " and (" + when + ")"
		}
	}
	return when, true
}

// otherAddresses says why the address of a client may be another one here than there, or "".
func otherAddresses(s *server, at *scope) string {
	own := textOf(at.all("set_real_ip_from"))
	field, _, _ := at.value("real_ip_header")
	told := own != "" && strings.EqualFold(field, "proxy_protocol")
	for _, l := range s.listens {
		first, _, _ := l.first.scope.value("real_ip_header")
		if own != textOf(l.first.scope.all("set_real_ip_from")) || own != "" && !strings.EqualFold(first, field) {
			return "the listener trusts other proxies than this place does"
		} else if l.announced && !told {
			return tellsClients
		}
	}
	if own != "" && !told && !strings.EqualFold(field, "X-Forwarded-For") {
		return "clients are known by X-Forwarded-For and Forwarded"
	}
	if d := at.find("real_ip_recursive"); own != "" && !told && (d == nil || d.arg(0) != "on") {
		return "a client is the last address of X-Forwarded-For that is not trusted, as with real_ip_recursive on"
	}
	return ""
}

// users returns the filter of auth_basic; nil: there is none. why says why no client may be let in.
func (im *importer) users(at *scope) (f *filter, why string) {
	d := at.get("auth_basic")
	if d == nil || d.arg(0) == "off" {
		return nil, ""
	}
	file, realm := at.get("auth_basic_user_file"), expand(d.arg(0), at.constants)
	switch {
	case file == nil || hasVariables(file.arg(0)+realm) || file.arg(0) == "":
		return nil, "its name or the file with its users is not known"
	}
	path := im.path(file.arg(0))
	text, err := im.read.Read(path)
	if err != nil {
		return nil, "the file with its users cannot be read"
	}
	if why := plan.UsersWrong(string(text)); why != "" {
		return nil, why
	}
	f = newFilter("basic_auth", "users", d.at, file.at)
	f.set("file", plan.String(path), file.at)
	f.set("realm", plan.String(realm), d.at)
	f.set("forward", "true", plan.Place{})
	return f, ""
}
