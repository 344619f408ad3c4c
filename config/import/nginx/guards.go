package nginx

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// filter is a [filters.NAME] of the result. It is written with the first route that names it.
type filter struct {
	name string // that it would like to have, and has once it is written
	kind string
	keys []setting
	from []plan.Place

	written bool
}

func (f *filter) set(name, value string, at plan.Place) {
	f.keys = append(f.keys, setting{name, value, at})
}

// filterTable makes the filters of a file. Owned by one goroutine.
type filterTable struct {
	plan  *plan.Plan
	zones map[string]*zone
	made  map[string]*filter // by what they are
	names map[string]bool    // of the result
	read  *plan.Reader
	dir   string // where relative paths of the file begin
}

// id is the same for filters that do the same and count the same.
func (f *filter) id() string {
	id := f.kind
	for _, k := range f.keys {
		id += "\n" + k.name + " = " + k.value
	}
	return id
}

// same returns f, or the filter with its keys that there is already.
func (t *filterTable) same(f *filter) *filter {
	old := t.made[f.id()]
	if old == nil {
		t.made[f.id()] = f
		return f
	}
	for _, at := range f.from {
		if !slices.Contains(old.from, at) {
			old.from = append(old.from, at)
		}
	}
	return old
}

// name returns the name of f in the result, where it is written from now on.
func (t *filterTable) name(f *filter) string {
	if f.written {
		return f.name
	}
	f.written = true
	if f.name = plan.Name(f.name); f.name == "" {
		f.name = "filter"
	}
	f.name = plan.Unused(f.name, t.names)
	b := t.plan.Add("[filters."+f.name+"]", f.from...)
	b.Set("type", plan.String(f.kind), plan.Place{})
	for _, k := range f.keys {
		b.Set(k.name, k.value, k.at)
	}
	return f.name
}

// entry is what requests of a scope have to pass before its content.
type entry struct {
	limits []*filter
	access []*filter
	from   []plan.Place
	closed *directive // one that refuses requests and that edge cannot follow; nil: none
	why    string
	nobody *directive // all are refused; nil: some are not
}

// entryOf reads what the requests of a scope have to pass.
func (t *filterTable) entryOf(s *server, at *scope) (e entry) {
	e.limits, e.from = t.limitsOf(s, at)
	if d := strange(at); d != nil {
		e.closed, e.why = d, d.name+" is not available"
		if !d.unread {
			t.plan.Lose(d.at, d.text(), "not available in this version: the route is closed until you guard it "+
				"otherwise")
			markAll(d)
		}
		return e
	}
	rules := at.all("allow", "deny")
	for _, d := range rules {
		e.from = append(e.from, d.at)
	}
	any, anyAt, found := at.value("satisfy")
	if found {
		e.from = append(e.from, anyAt)
	}
	users, d, why := t.users(at)
	if d != nil {
		if file := at.get("auth_basic_user_file"); file != nil {
			e.from = append(e.from, file.at)
		}
		e.close(t.plan, d, why)
		return e
	}
	list, why := addressRules(rules)
	if why == "" && len(list) > 0 && verdictOf(rules) != nobody {
		why = otherAddresses(s, at)
	}
	if why != "" {
		e.close(t.plan, rules[0], why)
		return e
	}
	if any == "any" && users != nil {
		switch when := allowed(list); when {
		case "true":
			return e
		case "":
		default:
			users.set("when", plan.Literal("not ("+when+")"), plan.Place{})
		}
		e.access = []*filter{t.same(users)}
		return e
	}
	switch verdictOf(rules) {
	case nobody:
		e.nobody = rules[0]
	case some:
		e.access = t.addresses(list)
	default:
		for _, d := range rules {
			t.plan.Note(d.at, d.text(), "nothing to write: nobody is refused")
		}
	}
	if users != nil {
		e.access = append(e.access, t.same(users))
	}
	return e
}

// close says that requests cannot pass because of d, which nobody may be let past.
func (e *entry) close(p *plan.Plan, d *directive, why string) {
	p.Lose(d.at, d.text(), why+": the route is closed until you guard it otherwise")
	e.closed, e.why = d, d.name+" is not carried"
}

// pass has the requests of r, and those that its tests answer, pass e first.
func (e *entry) pass(r *route) {
	r.from = append(r.from, e.from...)
	if len(e.limits) > 0 { // a request is counted once
		r.limits = e.limits
	}
	r.access = slices.Concat(e.access, r.access)
	for i, c := range r.tests {
		a := *c.answer
		e.pass(&a)
		r.tests[i].answer = &a
	}
}

// strange returns a directive of a scope that lets some requests through and that edge does not have, or nil.
func strange(at *scope) *directive {
	for outer := at; outer != nil; outer = outer.outer {
		for _, c := range outer.block.block {
			if c.unread {
				return c
			}
			if !guardName().MatchString(c.name) || slices.Contains(noGuards, c.name) || c.name == "auth_basic" {
				continue
			}
			if d := at.get(c.name); d.arg(0) != "off" {
				return d
			}
		}
	}
	return nil
}

// addressRule is an allow or a deny.
type addressRule struct {
	deny   bool
	all    bool
	prefix string
	at     plan.Place
}

// addressRules reads allow and deny; why says what is not carried.
func addressRules(list []*directive) (rules []addressRule, why string) {
	for _, d := range list {
		r := addressRule{deny: d.name == "deny", all: d.arg(0) == "all", at: d.at, prefix: d.arg(0)}
		if !r.all {
			if _, err := netip.ParseAddr(r.prefix); err != nil {
				p, err := netip.ParsePrefix(r.prefix)
				if err != nil {
					return nil, "edge does not know this address"
				}
				r.prefix = p.Masked().String()
			}
		}
		rules = append(rules, r)
	}
	return rules, ""
}

// otherAddresses says why the address of a client may be another one here than there, or "".
func otherAddresses(s *server, at *scope) string {
	texts := func(list []*directive) (texts []string) {
		for _, d := range list {
			texts = append(texts, d.text())
		}
		return texts
	}
	own := texts(at.all("set_real_ip_from"))
	for _, l := range s.listens {
		if !slices.Equal(own, texts(l.first.scope.all("set_real_ip_from"))) {
			return "the listener trusts other proxies than this place does"
		}
	}
	if field, _, _ := at.value("real_ip_header"); len(own) > 0 && !strings.EqualFold(field, "X-Forwarded-For") {
		return "clients are known by X-Forwarded-For and Forwarded"
	}
	return ""
}

// addresses returns filters that refuse whom a list of allow and deny refuses. The first entry that an address is
// in decides; an address in none of them is let in.
//
//	deny D1; allow A1; deny D2; allow A2; deny all
//
//	deny = D1     deny = D2, when = not in A1     allow = A1 and A2
func (t *filterTable) addresses(rules []addressRule) (list []*filter) {
	var passed, denied []string
	var from []plan.Place
	add := func(key string, prefixes []string) {
		f := &filter{name: "addresses", kind: "ip", from: from}
		f.set(key, plan.Strings(prefixes...), plan.Place{})
		if key == "deny" && len(passed) > 0 {
			f.set("when", plan.Literal("client.ip not in {"+strings.Join(passed, " ")+"}"), plan.Place{})
		}
		list = append(list, f)
		denied, from = nil, nil
	}
	if i := slices.IndexFunc(rules, func(r addressRule) bool { return r.all }); i >= 0 {
		rules = rules[:i+1] // the others are not asked
	}
	for _, r := range rules {
		if len(denied) > 0 && !r.deny {
			add("deny", denied)
		}
		from = append(from, r.at)
		switch {
		case r.all && r.deny:
			add("allow", passed)
			if n := len(list) - 2; n == 0 && len(list[0].keys) == 1 {
				list[1].keys = append(list[1].keys, list[0].keys...)
				list[1].from = append(list[0].from, list[1].from...)
				list = list[1:]
			}
		case r.deny:
			denied = append(denied, r.prefix)
		case !r.all:
			passed = append(passed, r.prefix)
		}
	}
	if len(denied) > 0 {
		add("deny", denied)
	}
	for i := range list {
		list[i] = t.same(list[i])
	}
	return list
}

// allowed returns the condition that a list of allow and deny names an address among those to let in; "": none.
func allowed(rules []addressRule) string {
	when := ""
	for _, r := range slices.Backward(rules) {
		in := "client.ip in {" + r.prefix + "}"
		switch {
		case r.all && r.deny:
			when = ""
		case r.all:
			when = "true"
		case r.deny && when != "":
			when = "client.ip not in {" + r.prefix + "} and (" + when + ")"
		case !r.deny && when != "" && when != "true":
			when = in + " or (" + when + ")"
		case !r.deny && when == "":
			when = in
		}
	}
	return when
}

// users returns the filter of auth_basic; nil: there is none. why says why the route is closed because of d.
func (t *filterTable) users(at *scope) (f *filter, d *directive, why string) {
	d = at.get("auth_basic")
	if d == nil || d.arg(0) == "off" {
		return nil, nil, ""
	}
	file := at.get("auth_basic_user_file")
	realm := expand(d.arg(0), at.constants)
	switch {
	case file == nil || hasVariables(file.arg(0)) || file.arg(0) == "":
		return nil, d, "the file with its users is not known"
	case hasVariables(realm):
		return nil, d, "its name has a variable"
	}
	path := file.arg(0)
	if !filepath.IsAbs(path) {
		path = filepath.Join(t.dir, path)
	}
	text, err := t.read.Read(path)
	if err != nil {
		return nil, d, "the file with its users cannot be read"
	}
	if why := plan.UsersWrong(string(text)); why != "" {
		return nil, d, why
	}
	f = &filter{name: "users", kind: "basic_auth", from: []plan.Place{d.at, file.at}}
	f.set("file", plan.String(path), file.at)
	f.set("realm", plan.String(realm), d.at)
	f.set("forward", "true", plan.Place{})
	return f, nil, ""
}

// namesOf returns the names of the filters of r, in the order in which its requests pass them.
func (t *filterTable) namesOf(r *route) (names []string) {
	for _, f := range slices.Concat(r.limits, r.access) {
		if name := t.name(f); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
