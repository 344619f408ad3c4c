package traefik

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// router is a router whose rule is understood.
type router struct {
	*node
	priority int64
	rule     *expr
	when     *plan.Cond // what the rule asks
	line     *node      // that has the rule
	entries  []string   // that it names
	secure   bool
	steps    []*node
	closed   bool // something guards it that edge does not have
}

func (im *importer) routes() {
	for _, r := range slices.Concat(im.all("http", "routers"), im.all("tcp", "routers")) {
		im.router(r)
	}
	for _, e := range im.entries {
		im.choose(e)
	}
	ended := slices.ContainsFunc(im.entries, func(e *entry) bool { return e.secure })
	im.entries = slices.DeleteFunc(im.entries, func(e *entry) bool {
		relayed := im.relay(e)
		ended = ended || relayed && e.secure
		return relayed
	})
	for _, e := range im.entries {
		if im.listener(e); e.secure {
			im.secureListener(e)
			im.http3(e)
		}
		im.passOn(e)
	}
	if ended && len(im.secure) > 1 {
		for _, n := range im.secure[1:] {
			certificate(im.Add("[[certificates]]"), n, `"internal"`)
		}
	}
	var sites []*plan.Site
	same := map[string]*plan.Site{} // by what they do
	for _, e := range im.entries {
		if im.redirection(e); e.block.Has("redirect_to_https") {
			continue
		}
		s, id := im.site(e)
		if same[id] == nil {
			same[id], sites = s, append(sites, s)
		}
		same[id].Listeners = append(same[id].Listeners, plan.Name(e.name))
	}
	if len(sites) == 1 { // all other listeners redirect
		sites[0].Listeners = nil
	}
	im.Write(sites)
	im.resolve()
}

// site returns what becomes of the requests of an entry point: the first router takes them whose rule holds. What none
// takes has no route: 404. Entry points of one id do the same.
func (im *importer) site(e *entry) (s *plan.Site, id string) {
	s = &plan.Site{At: e.at}
	var does strings.Builder
	slices.SortStableFunc(e.routers, func(a, b *router) int { return cmp.Compare(b.priority, a.priority) })
	for _, r := range e.routers {
		t, forks := im.target(e, r)
		own := plan.Branch{When: r.when, To: im.same(t), What: r.line.words(),
			From: slices.Concat([]plan.Place{r.line.at}, r.places(), t.From)}
		for _, b := range append(forks, own) {
			s.Branches = append(s.Branches, b)
			fmt.Fprintf(&does, "%p %v\n", b.To, b.When)
		}
	}
	return s, does.String()
}

// choose decides whether the listener of an entry point takes TLS, and removes the routers that it has no requests for.
// An entry point of Traefik takes TLS and plain requests. A listener of edge that took both could not tell the routers
// for TLS from the others.
func (im *importer) choose(e *entry) {
	all := e.has("http", "tls")
	plain := slices.ContainsFunc(e.routers, func(r *router) bool { return !r.secure })
	some := slices.ContainsFunc(e.routers, func(r *router) bool { return r.secure })
	e.secure = all || some && (strings.HasSuffix(e.port, "443") ||
		strings.Contains(strings.ToLower(e.name), "secure") || !plain && e.port != "80")
	e.routers = slices.DeleteFunc(e.routers, func(r *router) bool {
		if all || r.secure == e.secure {
			return false
		}
		tell := im.Note
		if r.entries != nil {
			tell = im.Lose
		}
		tell(r.at, "router "+r.name+" on entry point "+e.name, "it and the listener differ in TLS")
		return true
	})
}

// router reads a router and adds it to its entry points: those that it names, else those that are the default.
func (im *importer) router(res *node) {
	line := res.get("rule")
	if line == nil {
		im.lose(res, "it has no rule")
		return
	}
	tls, _ := res.get("tls"), res.get("service")
	r := &router{node: res, line: line, entries: res.texts("entrypoints"), priority: int64(len(line.text)),
		secure: tls != nil && (tls.branch() || !strings.EqualFold(tls.text, "false")),
		steps:  im.chain(nil, res.elements("middlewares"), 0)}
	if number, ok := res.number("priority"); ok && number != 0 {
		r.priority = number
	}
	for _, n := range r.elements("entrypoints") {
		if im.entryOf(n.text) == nil {
			im.Lose(n.at, n.words(), "there is no such entry point")
		}
	}
	rule, err := parseRule(line.text)
	if err != nil {
		im.Lose(line.at, line.words(), err.Error())
		return
	}
	if strings.Contains(line.text, "${") {
		im.Lose(line.at, line.words(), "it has variables: import what docker compose config prints")
		if r.steps == nil { // nothing guards it
			return
		}
	}
	r.rule, r.when = rule, rule.cond()
	if rule.name == "hostsni" && r.when == plan.Always && r.priority == int64(len(line.text)) {
		r.priority = -1 // after all other rules
	}
	isDefault := func(e *entry) bool { return e.truth("asdefault") }
	chosen := slices.ContainsFunc(im.entries, isDefault)
	for _, e := range im.entries {
		named := slices.ContainsFunc(r.entries, func(name string) bool { return strings.EqualFold(name, e.name) })
		switch {
		case !named && (r.entries != nil || e.name == "traefik" || chosen && !isDefault(e)):
		case res.tcp():
			e.relays = append(e.relays, r)
		default:
			e.routers = append(e.routers, r)
		}
	}
}
