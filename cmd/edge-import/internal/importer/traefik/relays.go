package traefik

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// relay writes an entry point as a service, and reports whether it is one: routers for connections name it, and no
// router for requests does.
func (im *importer) relay(e *entry) bool {
	named := func(r *router) bool { return r.entries != nil }
	if len(e.relays) == 0 || slices.ContainsFunc(e.routers, named) || e.has("http") ||
		len(e.routers) > 0 && !slices.ContainsFunc(e.relays, named) {
		return false
	}
	e.sortRelays()
	for _, r := range e.routers {
		im.Note(r.at, "router "+r.name+" on entry point "+e.name, "its routers for connections take all")
	}
	ends := slices.DeleteFunc(slices.Clone(e.relays), func(r *router) bool { return !r.secure || r.passes() })
	passed := slices.ContainsFunc(e.relays, (*router).passes)
	e.secure = len(ends) > 0 && !passed
	b := im.Add("[services."+plan.Key(plan.Name(e.name))+"]", e.places()...)
	b.Set("listen", plan.String(e.address), plan.Place{})
	e.block, e.routers = b, ends
	if passed {
		b.Set("peek", "true", plan.Place{})
	}
	if (e.secure || passed) && (e.port == "5432" || strings.Contains(strings.ToLower(e.name), "postgres")) {
		b.Set("starttls", `"postgres"`, plan.Place{})
		im.Note(e.at, "entry point "+e.name, "starttls is for its port or name: Traefik answers PostgreSQL everywhere")
	}
	if e.secure {
		im.secureListener(e)
	}
	site := &plan.Site{}
	for _, r := range e.relays {
		why := ""
		switch {
		case !r.secure && (e.secure || strings.Contains(r.when.String(), "tls.")):
			im.Lose(r.at, "router "+r.name, "its connections have no TLS: a service takes these, or others")
			continue
		case r.secure && !r.passes() && passed:
			why = "a service ends TLS, or passes it on"
		case !r.when.Known():
			why, r.when = "edge does not know all of the rule: its connections, and all after them", plan.Always
		case !r.secure && passed:
			r.when = plan.All(plan.Not(plan.Test("has(tls.sni)")), r.when)
			im.Lose(r.at, "router "+r.name, "edge knows TLS by the name that clients ask for: without one it "+
				"counts as none")
		}
		if why != "" {
			r.closed = true
			im.Lose(r.at, "router "+r.name, why+": its connections are closed")
		}
		site.Branches = append(site.Branches, im.leads(e, r)...)
	}
	im.Lead(b, site)
	im.believe(e.node, b)
	for _, k := range im.settings(e.node) {
		if strings.HasPrefix(k.Name, "proxy_protocol") {
			b.Set(k.Name, k.Value, k.At)
		} else {
			im.Note(k.At, e.path, "it is about requests, which a service has none of")
		}
	}
	return true
}

// sortRelays sorts the routers for connections: without TLS before all others, then by their priority. An entry point
// has copies of its own, since routers of several entry points differ.
func (e *entry) sortRelays() {
	for i, r := range e.relays {
		own := *r
		e.relays[i] = &own
	}
	slices.SortStableFunc(e.relays, func(a, b *router) int {
		if a.secure != b.secure {
			return map[bool]int{true: 1, false: -1}[a.secure]
		}
		return cmp.Compare(b.priority, a.priority)
	})
}

// passes reports whether a router for connections passes TLS on.
func (r *router) passes() bool { return r.secure && r.truth("tls", "passthrough") }

// leads returns where the connections go that a router takes: by its middlewares to its service, or nowhere.
func (im *importer) leads(e *entry, r *router) (list []plan.Branch) {
	when, t := r.when, &plan.Target{}
	from := append([]plan.Place{r.line.at}, r.places()...)
	add := func(when *plan.Cond, end plan.Action) {
		list = append(list, plan.Branch{When: when, To: &plan.Target{End: end}, What: r.line.words(),
			From: slices.Concat(from, t.From)})
	}
	for _, m := range r.steps {
		if m == nil {
			r.closed = true
			continue
		}
		m.used, from = true, append(from, m.places()...)
		for _, n := range m.list {
			switch ranges := ranges(n.texts("sourcerange")); {
			case ranges != nil && strings.HasPrefix(strings.ToLower(n.name), "ip"):
				when = plan.All(when, plan.Test("client.ip in {"+strings.Join(ranges, " ")+"}"))
			case strings.EqualFold(n.name, "inflightconn"):
				im.clients(e, n)
			default:
				r.closed = true
				im.lose(n, "edge does not know it: what it guards is closed")
			}
		}
	}
	if !r.closed {
		for _, step := range slices.Backward(im.lead(&reply{im: im, e: e, r: r}, t)) { // the last one counts
			add(plan.All(when, step.When), step.Do[0])
		}
		add(when, t.End)
	}
	if r.closed || when != r.when {
		add(r.when, plan.Drop())
	}
	return list
}

// clients bounds the connections of one client at the service of an entry point: it has one number.
func (im *importer) clients(e *entry, n *node) {
	amount, ok := n.number("amount")
	if len(e.relays) > 1 || !ok || amount <= 0 || e.block == nil {
		im.lose(n, "a service has one number for all of its routes: see limits.connections_per_client")
		return
	}
	e.block.Set("limits.connections_per_client", strconv.FormatInt(amount, 10), n.get("amount").at)
}

// passOn makes a listener with TLS pass connections on as Traefik does: the hosts of routers for requests go first,
// then names of routers for connections. A router for all names comes after any router for requests, which takes all.
func (im *importer) passOn(e *entry) {
	site, hosts, asked, block := &plan.Site{}, []string(nil), map[string]bool{}, e.block
	e.sortRelays()
	e.block = nil // middlewares write nothing into a listener
	for _, r := range e.routers {
		for _, name := range r.rule.hosts() {
			if name = strings.ToLower(name); !asked[name] {
				asked[name], hosts = true, append(hosts, name)
			}
		}
	}
	for _, r := range e.relays {
		own := slices.DeleteFunc(slices.Clone(r.rule.args), func(name string) bool {
			return asked[strings.ToLower(name)]
		})
		switch {
		case !e.secure || !r.passes() || !r.when.Known():
			im.Lose(r.at, "router "+r.name, "a listener for requests passes on TLS by its names and addresses alone")
			continue
		case r.when == plan.Always && len(e.routers) > 0, r.rule.name == "hostsni" && len(own) == 0:
			im.Note(r.at, "router "+r.name, "routers for requests take all names")
			continue
		case r.rule.name == "hostsni" && r.when != plan.Always:
			r.when = hostIs(own, plan.ServerName)
		case len(hosts) > 0:
			r.when = plan.All(plan.Not(plan.ServerName(hosts...)), r.when)
		}
		if len(im.entries) > 1 {
			r.when = plan.All(plan.CameBy(plan.Name(e.name)), r.when)
		}
		site.Branches = append(site.Branches, im.leads(e, r)...)
	}
	e.block = block
	im.LeadFrom(site)
}
