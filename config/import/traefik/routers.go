package traefik

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// router is a router whose rule is understood.
type router struct {
	*resource
	priority int64
	ways     []conj
	secure   bool
	chain                 // its middlewares
	redirect *redirection // of an entry point that redirects; nil: a router of a file
	closed   bool         // something guards it that edge does not have
	from     []plan.Place
}

// rule is a way to meet the rule of a router.
type rule struct {
	conj
	*router
}

// routes translates the routers of all entry points.
func (im *importer) routes() {
	for _, r := range im.all("routers") {
		im.router(r)
	}
	for _, e := range im.entries {
		e.secure = im.takesTLS(e)
		im.sort(e)
	}
	for _, e := range im.entries {
		im.listener(e)
		if e.secure {
			im.secureListener(e)
		}
	}
	im.moreCertificates()
	var all []*written
	for _, e := range im.entries {
		if r := im.redirection(e); r != nil {
			e.routers = append([]*router{r}, e.routers...)
		}
		if e.block.Has("redirect_to_https") {
			for _, r := range e.routers {
				im.Note(r.at, "router "+r.name+" on entry point "+e.name, "all requests there are redirected")
			}
			continue
		}
		all = append(all, im.cells(e)...)
	}
	im.write(all)
}

// takesTLS reports whether the listener of an entry point takes TLS. An entry point of Traefik takes TLS and plain
// requests. A listener of edge that took both could not tell the routers for TLS from the others.
func (im *importer) takesTLS(e *entry) bool {
	if e.node.has("http", "tls") || len(e.routers) == 0 && e.node == nil && e.port == "443" {
		return true
	}
	secure, plain, named := 0, 0, 0
	for _, r := range e.routers {
		switch {
		case !r.secure:
			plain++
		case len(r.texts("entrypoints")) > 0:
			named++
			secure++
		default:
			secure++
		}
	}
	if strings.HasSuffix(e.port, "443") || strings.Contains(strings.ToLower(e.name), "secure") {
		return secure > 0
	}
	return plain == 0 && secure > 0 && (named > 0 || len(im.entries) == 1)
}

// sort removes the routers of an entry point that its listener has no requests for.
func (im *importer) sort(e *entry) {
	all := e.node.has("http", "tls")
	e.routers = slices.DeleteFunc(e.routers, func(r *router) bool {
		if all || r.secure == e.secure {
			return false
		}
		what := "router " + r.name + " on entry point " + e.name
		why := "it is for requests over TLS, and the listener is plain"
		if e.secure {
			why = "it is for plain requests, and the listener takes TLS"
		}
		if len(r.texts("entrypoints")) > 0 {
			im.Lose(r.at, what, why)
		} else {
			im.Note(r.at, what, why)
		}
		return true
	})
}

// router reads a router and adds it to its entry points.
func (im *importer) router(res *resource) {
	r := &router{resource: res, secure: res.has("tls"), from: []plan.Place{res.where("tls")}}
	res.get("tls").get("domains")
	rule := res.get("rule")
	if t := res.get("tls"); t != nil && !t.branch() {
		r.secure = !strings.EqualFold(t.text, "false")
	}
	im.entryPoints(r)
	for _, n := range res.elements("middlewares") {
		r.add(im, n, res.doc, 0)
	}
	if rule == nil {
		im.lose(res.node, "it has no rule")
		return
	}
	r.from = append(r.from, res.at, rule.at)
	if n := res.get("service"); n != nil {
		r.from = append(r.from, n.at)
	}
	r.priority = int64(len(rule.text))
	if p := res.get("priority"); p != nil {
		r.from = append(r.from, p.at)
		if number, ok := res.number("priority"); ok && number != 0 {
			r.priority = number
		}
	}
	if strings.Contains(rule.text, "${") {
		im.Lose(rule.at, rule.words(), "it has variables: import what docker compose config prints")
		return
	}
	e, err := parseRule(rule.text)
	if err != nil {
		im.Lose(rule.at, rule.words(), err.Error())
		return
	}
	m := mean(e, keepsAway(im, r))
	if m.failed != "" {
		im.Lose(rule.at, rule.words(), m.failed)
		return
	}
	for _, w := range m.wide {
		im.Lose(rule.at, "a part of "+rule.words(), w)
	}
	im.ways(r, rule, m.ways)
}

// ways gives a router what edge can ask of its rule. Where a part cannot be asked, its requests go on to other routers;
// a router with guards is closed in all that it may take.
func (im *importer) ways(r *router, rule *node, ways []conj) {
	unknown := map[string]bool{}
	for _, w := range ways {
		if len(w.unknown) == 0 {
			r.ways = append(r.ways, w)
			continue
		}
		for _, u := range w.unknown {
			unknown[u] = true
		}
		if im.guarded(r) && (w.host != "" || w.path != "") {
			closed := &router{resource: r.resource, priority: r.priority, secure: r.secure, closed: true, from: r.from,
				ways: []conj{{test: w.test, nots: w.nots}}}
			im.each(r, func(e *entry) { e.routers = append(e.routers, closed) })
		}
	}
	why := "edge does not know this condition; requests of router " + r.name + " go on to others"
	if im.guarded(r) {
		why = "edge does not know this condition: what router " + r.name + " may take answers 403"
	}
	for u := range unknown {
		im.Lose(rule.at, u, why)
	}
	if len(r.ways) > 0 {
		im.each(r, func(e *entry) { e.routers = append(e.routers, r) })
	}
}

// keepsAway reports whether a router, or one of its entry points, has a middleware that may refuse requests.
func keepsAway(im *importer, r *router) (found bool) {
	refuses := func(c *chain) bool {
		return c.guarded || slices.ContainsFunc(c.steps, func(m *resource) bool {
			return slices.ContainsFunc(m.list, func(n *node) bool {
				kind := strings.ToLower(n.name)
				return slices.Contains(guards, kind) && !everybody(n) || kind == "ratelimit"
			})
		})
	}
	im.each(r, func(e *entry) { found = found || refuses(&e.chain) })
	return found || refuses(&r.chain)
}

// guarded reports whether something guards a router, or one of its entry points, that edge does not have.
func (im *importer) guarded(r *router) (found bool) {
	im.each(r, func(e *entry) { found = found || e.guards(im) })
	return found || r.closed || r.guards(im)
}

// entryPoints marks the entry points of a router, and adds a loss for each that does not exist.
func (im *importer) entryPoints(r *router) {
	for _, n := range r.elements("entrypoints") {
		r.from = append(r.from, n.at)
		if im.entryOf(n.text) == nil {
			im.Lose(n.at, n.words(), "there is no such entry point")
		}
	}
}

// each calls f for the entry points of a router: those that it names, else those that are the default.
func (im *importer) each(r *router, f func(*entry)) {
	if names := r.texts("entrypoints"); len(names) > 0 {
		for _, e := range im.entries {
			if slices.ContainsFunc(names, func(s string) bool { return strings.EqualFold(s, e.name) }) {
				f(e)
			}
		}
		return
	}
	chosen := slices.ContainsFunc(im.entries, func(e *entry) bool { return e.node.truth("asdefault") })
	for _, e := range im.entries {
		if !strings.EqualFold(e.name, "traefik") && (!chosen || e.node.truth("asdefault")) {
			f(e)
		}
	}
}

// cells returns the routes of an entry point, such that edge chooses among them as Traefik does among routers.
//
// Traefik takes the first router, edge the most specific route. The tests of all rules, what several of them ask
// together, and what rules exclude, are the cells. A request meets a set of tests; the cell of what all of these ask is
// the most specific one that it meets, so edge chooses it. Its answer is that of the first router that takes all of it.
// A cell is left out where the next one has the same answer.
func (im *importer) cells(e *entry) []*written {
	var rules []rule
	for _, r := range e.routers {
		for _, w := range r.ways {
			rules = append(rules, rule{w, r})
		}
	}
	slices.SortStableFunc(rules, func(a, b rule) int { return cmp.Compare(b.priority, a.priority) })
	var tests []test
	for _, r := range rules {
		tests = append(tests, r.test)
		for _, t := range append(slices.Clone(r.nots), im.splits(e, r.router)...) {
			if both, ok := r.and(t); ok {
				tests = append(tests, both)
			}
		}
	}
	for i, t := range tests {
		if slices.ContainsFunc(tests[:i], t.clash) {
			im.Lose(e.at, "the order of some routers of entry point "+e.name, "they ask for one field or parameter in "+
				"several ways: which one comes first may not be the same")
			break
		}
	}
	all, whole := closeTests(tests)
	if !whole {
		im.Lose(e.at, "the order of some routers of entry point "+e.name, fmt.Sprintf("they make more than %d routes",
			cellsMax))
	}
	slices.SortStableFunc(all, func(a, b test) int {
		return cmp.Or(rank(b, a), len(a.conds)-len(b.conds), strings.Compare(a.key(), b.key()))
	})
	var kept []*written
	for _, t := range all {
		w := im.answer(e, rules, t)
		if next, sure := answerOf(kept, t); !sure || next != w.text {
			kept = append(kept, w)
		}
	}
	slices.Reverse(kept)
	apart(kept)
	return kept
}

// answer returns the route for a cell.
func (im *importer) answer(e *entry, rules []rule, t test) *written {
	for _, r := range rules {
		if t.within(r.test) && !slices.ContainsFunc(r.nots, t.within) {
			return im.reply(e, r.router, t)
		}
	}
	w := &written{test: t, entries: []*entry{e}, text: notFound}
	w.dests = []dest{{keys: []plan.Field{{Name: "dest", Value: `"status:404"`}}}}
	return w
}

// notFound is what is answered where no router takes a request.
const notFound = `dest = "status:404"`

// answerOf returns the answer that requests of a cell get from the routes that are kept, where the cell has no route of
// its own. kept has the least specific route first. sure is false where the ranks do not decide which route is taken.
func answerOf(kept []*written, t test) (text string, sure bool) {
	var best *written
	for _, w := range slices.Backward(kept) {
		if !t.within(w.test) {
			continue
		}
		if best != nil && (rank(w.test, best.test) != 0 || w.text != best.text) {
			return best.text, rank(w.test, best.test) != 0
		}
		best = w
	}
	if best == nil {
		return notFound, true
	}
	return best.text, true
}
