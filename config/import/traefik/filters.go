package traefik

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/import/plan"
)

// filter is a [filters.NAME] of the result. It is written with the first route that names it.
type filter struct {
	name string
	keys []plan.Field
	from []plan.Place

	written bool
}

// filterTable makes the filters of all files. Owned by one goroutine.
type filterTable struct {
	plan  *plan.Plan
	read  *plan.Reader
	made  map[string]*filter // by what they are
	names map[string]bool
}

// named returns the filter with these keys, which gets a name like this one where there is none yet.
func (t *filterTable) named(name string, keys []plan.Field, from ...plan.Place) *filter {
	id := ""
	for _, k := range keys {
		id += k.Name + " = " + k.Value + "\n"
	}
	if f := t.made[id]; f != nil {
		return f
	}
	if name = plan.Name(name); name == "" {
		name = "filter"
	}
	f := &filter{name: plan.Unused(name, t.names), keys: keys, from: from}
	t.made[id] = f
	return f
}

// write writes the filters of a route that are not written yet.
func (t *filterTable) write(list []*filter) {
	for _, f := range list {
		if f.written {
			continue
		}
		f.written = true
		b := t.plan.Add("[filters."+f.name+"]", f.from...)
		for _, k := range f.keys {
			b.Set(k.Name, k.Value, plan.Place{})
		}
	}
}

// pass has the requests of a route pass a filter.
func (a *reply) pass(n *node, name string, keys ...plan.Field) {
	if a.answered != nil {
		return
	}
	a.filters = append(a.filters, a.im.filters.named(name, keys, n.places()...))
}

// unfit says why edge has no filter for a middleware that keeps requests away, or "".
func (t *filterTable) unfit(n *node) string {
	switch strings.ToLower(n.name) {
	case "ipallowlist", "ipwhitelist":
		if n.has("ipstrategy") {
			return "not available in this version: edge knows clients by their connection, and by trusted_proxies"
		}
		if _, why := ranges(n.texts("sourcerange")); why != "" || len(n.texts("sourcerange")) == 0 {
			return "edge does not know these addresses"
		}
		return ""
	case "basicauth":
		_, why := t.usersOf(n)
		return why
	}
	return noGuard
}

// ranges returns addresses and prefixes as edge has them.
func ranges(texts []string) (list []string, why string) {
	for _, text := range texts {
		if _, err := netip.ParseAddr(text); err == nil {
			list = append(list, text)
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, "edge does not know this address"
		}
		list = append(list, p.Masked().String())
	}
	return list, ""
}

// addresses writes the filter of a list of addresses. Traefik looks at the other end of the connection, whatever
// trusted proxies say.
func (a *reply) addresses(n *node) {
	if everybody(n) {
		a.im.note(n, "nothing to write: it lets everybody in")
		return
	}
	if why := a.im.filters.unfit(n); why != "" {
		a.im.lose(n, why+": what it guards answers 403 until you guard it otherwise")
		return
	}
	list, _ := ranges(n.texts("sourcerange"))
	status := "403"
	if number, ok := n.number("rejectstatuscode"); ok && number >= 400 && number < 600 {
		status = strconv.FormatInt(number, 10)
	}
	keys := []plan.Field{{Name: "type", Value: `"ip"`}}
	if a.e.trusts() {
		keys = append(keys, plan.Field{Name: "deny", Value: plan.List("0.0.0.0/0", "::/0")},
			plan.Field{Name: "when", Value: plan.Literal("peer.ip not in {" + strings.Join(list, " ") + "}")})
	} else {
		keys = append(keys, plan.Field{Name: "allow", Value: plan.Strings(list...)})
	}
	if status != "403" {
		keys = append(keys, plan.Field{Name: "status", Value: status})
	}
	a.pass(n, n.owner(), keys...)
}

// trusts reports whether what proxies say decides who a client is.
func (e *entry) trusts() bool { return e.block != nil && e.block.Has("trusted_proxies") }

// owner returns the name of the middleware that n is in.
func (n *node) owner() string {
	parts := strings.Split(n.path, ".")
	return parts[max(len(parts)-2, 0)]
}

// usersOf returns the users of a middleware, or the key that names their file; why says why edge does not read them.
func (t *filterTable) usersOf(n *node) (key plan.Field, why string) {
	var users []plan.Field
	for _, u := range n.texts("users") {
		name, hash, _ := strings.Cut(u, ":")
		if why := plan.HashWrong(hash); why != "" {
			return key, "user " + name + ": " + why
		}
		users = append(users, plan.Field{Name: name, Value: hash})
	}
	file := n.str("usersfile")
	switch {
	case file == "" && len(users) == 0:
		return key, "it has no users"
	case file == "":
		key = plan.Field{Name: "users", Value: plan.Table(users)}
		return key, plan.UsersWrong(strings.Join(n.texts("users"), "\n"))
	case len(users) > 0:
		return key, "it has users in two places"
	}
	text, err := t.read.Read(file)
	if err != nil {
		return key, "the file with its users cannot be read"
	}
	return plan.Field{Name: "file", Value: plan.String(file)}, plan.UsersWrong(string(text))
}

// password writes the filter of users and their passwords.
func (a *reply) password(n *node) {
	users, why := a.im.filters.usersOf(n)
	if why != "" {
		a.im.lose(n, why+": what it guards answers 403 until you guard it otherwise")
		n.walk(func(c *node) {
			if c.at != n.at && !c.branch() {
				a.im.Note(c.at, c.path, "it is inside "+n.path)
			}
		})
		return
	}
	realm := n.str("realm")
	if realm == "" {
		realm = "traefik"
	}
	keys := []plan.Field{{Name: "type", Value: `"basic_auth"`}, {Name: "realm", Value: plan.String(realm)}, users}
	if !n.truth("removeheader") {
		keys = append(keys, plan.Field{Name: "forward", Value: "true"})
	}
	if field := n.str("headerfield"); field != "" && a.answered == nil {
		a.setRequest(field, "{auth.user}")
	}
	a.pass(n, n.owner(), keys...)
}

// rate writes the filter of a rate, which counts the requests of one router.
func (a *reply) rate(n *node) {
	average, ok := n.number("average")
	period, given := n.duration("period")
	if !given || period <= 0 {
		period = time.Second
	}
	burst, _ := n.number("burst")
	from := a.e.trusts()
	key, why := rateKey(n.get("sourcecriterion"), from)
	text := rateText(average, period)
	switch {
	case ok && average == 0:
		a.im.note(n, "nothing to write: it limits nothing")
		return
	case !ok || average < 0 || text == "":
		why = "edge does not know this rate"
	}
	if why != "" {
		a.im.lose(n, why+": write a filter of type rate_limit")
		return
	}
	n.walk(func(c *node) { c.used = true })
	keys := []plan.Field{{Name: "type", Value: `"rate_limit"`}}
	if key != "" {
		keys = append(keys, plan.Field{Name: "key", Value: plan.Literal(key)})
	}
	keys = append(keys, plan.Field{Name: "rate", Value: text},
		plan.Field{Name: "burst", Value: strconv.FormatInt(min(max(burst, 1), 1_000_000), 10)})
	id := n.owner() + "-" + a.r.name
	if a.answered != nil {
		return
	}
	f := a.im.filters.made[id] // each router counts its own requests
	if f == nil {
		f = &filter{name: plan.Unused(plan.Name(id), a.im.filters.names), keys: keys, from: n.places()}
		a.im.filters.made[id] = f
	}
	a.filters = append(a.filters, f)
}

// rateKey returns by what requests are counted: "" is the address of the client.
func rateKey(n *node, trusts bool) (key, why string) {
	switch {
	case n.has("ipstrategy"):
		return "", "edge knows clients by their connection, and by trusted_proxies"
	case n.truth("requesthost"):
		return "{host}", ""
	case n.str("requestheadername") != "":
		return "{header." + strings.ToLower(n.str("requestheadername")) + "}", ""
	case trusts:
		return "{cidr(peer.ip, 32, 64)}", ""
	}
	return "", ""
}

// rateText returns a rate; "": edge has none such.
func rateText(count int64, per time.Duration) string {
	units := []struct {
		name string
		of   time.Duration
	}{{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}}
	for _, u := range units {
		if n := count * int64(u.of); count < 1<<30 && n%int64(per) == 0 && n/int64(per) < 1<<30 {
			return plan.String(strconv.FormatInt(n/int64(per), 10) + "/" + u.name)
		}
	}
	return ""
}

// filtersKey returns the key of a route that names its filters.
func filtersKey(list []*filter) string {
	var names []string
	for _, f := range list {
		if !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	return plan.List(names...)
}
