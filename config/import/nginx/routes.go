package nginx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// route is a [[routes]] before it is known for which hosts and listeners it stands.
type route struct {
	path     string // as edge has it: "/api/*", "/x", "=/x/"
	methods  []string
	header   []plan.Field
	when     string
	before   []*location // with expressions, that take some of its requests
	unless   []string    // conditions of requests that routes with the same path take
	others   string      // all of these, and those of before
	keys     []setting
	from     []plan.Place
	comments []string
	proxied  bool        // it leads to a backend
	tests    []condition // answers to some of its requests, in the order of the file
	limits   []*filter   // that count its requests
	access   []*filter   // that refuse some of its requests after that
}

// setting is a line of a route.
type setting struct {
	name, value string
	at          plan.Place
}

// set adds a line, or replaces the one of that name.
func (r *route) set(name, value string, at plan.Place) {
	for i := range r.keys {
		if r.keys[i].name == name {
			r.keys[i] = setting{name, value, at}
			return
		}
	}
	r.keys = append(r.keys, setting{name, value, at})
}

// on returns the route for another path.
func (r *route) on(path string) *route {
	c := *r
	c.path = path
	c.keys = slices.Clone(r.keys)
	c.from = slices.Clone(r.from)
	c.tests = slices.Clone(r.tests)
	return &c
}

// answer is a route that answers with a status.
func answer(status string, at plan.Place) *route {
	r := &route{path: "/*", from: []plan.Place{at}}
	r.set("dest", plan.String("status:"+status), at)
	return r
}

// compile translates what a server does with requests, and writes its routes.
func (im *importer) compile(s *server) {
	first := im.rewritePhase(s, s.scope, nil)
	parts := first.parts
	if first.whole != nil {
		s.routes = []*route{first.whole.on("/*")}
		eachLocation(s.d, func(loc *directive) {
			if !loc.used {
				im.Note(loc.at, loc.text(), "no request comes here: the server answers before")
			}
			loc.used = true
			markAll(loc)
		})
	} else {
		parts = im.beforeLocations(s, parts)
		s.rewritten = len(parts) > 0
		s.routes = im.locations(s)
	}
	for _, r := range s.routes {
		first.keep(r)
		r.tests = append(slices.Clone(first.conditions), r.tests...)
		if len(r.tests) > 0 && r.when == "" {
			r.when = r.others // its tests would go before a condition
		}
	}
	var routes []*route
	for _, r := range append(parts, s.routes...) {
		routes = append(routes, routesOf(im.Plan, r)...)
	}
	s.routes = distinct(routes)
	for _, l := range s.listens {
		s.emit(im, l)
	}
}

// beforeLocations returns the routes of what a server does before it looks for a location, without those that a
// location with a longer path would go before.
func (im *importer) beforeLocations(s *server, parts []*route) (kept []*route) {
	for _, r := range parts {
		below, prefix := strings.CutSuffix(r.path, "/*")
		longer := false
		eachLocation(s.d, func(loc *directive) {
			path := loc.arg(len(loc.args) - 1)
			longer = longer || prefix && strings.HasPrefix(path, below+"/") && path != below+"/"
		})
		if longer {
			im.Lose(r.from[0], "the answer for "+r.path, "a location below it has a longer path and goes first here")
			continue
		}
		kept = append(kept, r)
	}
	return kept
}

// distinct returns the routes without those that have the pattern and conditions of one before.
func distinct(routes []*route) (list []*route) {
	seen := map[string]bool{}
	for _, r := range routes {
		id := fmt.Sprint(r.path, r.methods, r.header, r.when)
		if !seen[id] {
			seen[id] = true
			list = append(list, r)
		}
	}
	return list
}

// markAll marks what is inside a block as used.
func markAll(d *directive) {
	for _, c := range d.block {
		c.used = true
		markAll(c)
	}
}

// combination is for which hosts and listeners the routes of a server stand.
type combination struct {
	hosts    []string // nil: any
	listener string   // "": any
}

// emit writes the routes of a server for one listener, or for all of them at once where that is the same.
func (s *server) emit(im *importer, l *listener) {
	together := s.plain == nil && len(s.listens) == len(im.listeners)
	for _, other := range s.listens {
		together = together && (other.first == s) == (s.listens[0].first == s) &&
			s.refusesClients(other) == s.refusesClients(s.listens[0])
	}
	if together && l != s.listens[0] {
		return
	}
	c := combination{listener: l.name}
	if together || len(im.listeners) == 1 {
		c.listener = ""
	}
	routes := s.routes
	if s.plain != nil && !l.tls {
		routes = routesOf(im.Plan, s.plain)
	}
	others := slices.Clone(s.others)
	if because := s.refusesClients(l); because != nil {
		routes = closed(routes, because)
		for i := range others {
			others[i].answer = closed([]*route{others[i].answer}, because)[0]
		}
	}
	hosts := slices.Clone(s.hosts)
	open := l.first == s // it takes requests for unknown hosts
	for _, rule := range others {
		switch {
		case rule.except:
			s.write(im, c, []string{rule.host}, routes)
			routes = routesOf(im.Plan, rule.answer)
			hosts = slices.DeleteFunc(hosts, func(h string) bool { return h == rule.host })
		default:
			s.write(im, c, []string{rule.host}, routesOf(im.Plan, rule.answer))
			hosts = slices.DeleteFunc(hosts, func(h string) bool { return h == rule.host })
		}
	}
	switch {
	case open:
		s.write(im, c, nil, routes)
		// Names of another server with a star would take requests for those of this one.
		if len(hosts) > 0 && s.hidden(l) {
			s.write(im, c, hosts, routes)
		}
	case len(hosts) > 0:
		s.write(im, c, hosts, routes)
	}
}

// hidden reports whether another server of l has names with a star.
func (s *server) hidden(l *listener) bool {
	return slices.ContainsFunc(l.servers, func(other *server) bool {
		star := func(h string) bool { return strings.HasPrefix(h, "*") }
		return other != s && slices.ContainsFunc(other.hosts, star)
	})
}

// write writes routes for some hosts.
func (s *server) write(im *importer, c combination, hosts []string, routes []*route) {
	for _, r := range routes {
		b := im.Add("[[routes]]", r.from...)
		for _, text := range r.comments {
			b.Comment(text)
		}
		none := plan.Place{}
		switch len(hosts) {
		case 0:
			b.Set("path", plan.String(r.path), none)
		case 1:
			b.Set("host", plan.String(hosts[0]), none)
			b.Set("path", plan.String(r.path), none)
		default:
			b.Set("host", plan.List(hosts...), none)
			b.Set("path", plan.String(r.path), none)
		}
		if c.listener != "" {
			b.Set("listener", plan.String(c.listener), none)
		}
		if len(r.methods) > 0 {
			b.Set("methods", plan.List(r.methods...), none)
		}
		if len(r.header) > 0 {
			b.Set("header", conditionTable(r.header), none)
		}
		if r.when != "" {
			b.Set("when", plan.Literal(r.when), none)
		}
		for _, k := range r.keys {
			b.Set(k.name, k.value, k.at)
		}
		if names := im.filters.namesOf(r); len(names) > 0 {
			b.Set("filters", plan.List(names...), none)
		}
	}
}

// conditionTable returns conditions on fields or parameters.
func conditionTable(list []plan.Field) string {
	if len(list) == 1 && list[0].Value == "" {
		return plan.String(list[0].Name)
	}
	list = slices.Clone(list)
	for i := range list {
		if list[i].Value == "" { // in a table it is one that is there by an expression that takes all
			list[i].Value = "~"
		}
	}
	return plan.Table(list)
}
