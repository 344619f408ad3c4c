package plan

import (
	"cmp"
	"slices"
	"strings"
)

// A program takes the first branch whose condition holds, edge the most specific route. Where both choose alike, a
// branch is a route. Any other branch has a label, which rules give to its requests, in the order of the program:
//
//	[[rules]]                                  a branch with a regular expression
//	when = 'path ~ "\.php$"'
//	set  = { to = "php" }
//	[[routes]]                                 where it leads; one for each target
//	path = "/*"
//	when = 'local.to == "php"'
//	[[routes]]                                 a branch that is a route, which requests with a label pass by
//	path = "/api/*"
//	when = 'local.to == ""'
//
// What the program refuses is refused here. Where edge cannot ask a condition as it is, and the branch or one after it
// refuses requests, all for which it may hold are denied.

// unlabelled is the condition of requests that no branch with a label has taken.
var unlabelled = Test(`local.to == ""`)

// bare is the label of requests whose rule names the upstream.
const bare = "dest"

// wholeSegments is why a path may be taken otherwise.
const wholeSegments = "edge compares whole segments"

// siteWriter writes one site. Owned by one goroutine.
type siteWriter struct {
	*Plan
	*Site
	own      *Cond    // what the requests of the site have in common
	others   []string // hosts that other sites take of it
	asks     [][]way  // of each branch; nil: no route asks so
	ways     [][]way  // the ways of asks whose requests nothing else takes
	labelled []bool   // whether a rule takes the requests of a branch
	denied   []bool   // that rule denies them, for edge cannot ask for them alone
	strict   []bool   // whether a branch, or one after it, refuses some requests
	labels   bool     // one of the rules gives a label
	used     labels
}

// labels are shared by all sites.
type labels struct {
	of      map[*Target]string
	names   map[string]bool
	bare    *Target          // the route of requests whose rule names an upstream
	written map[*Target]bool // there is a rule or a route that leads there
}

// Write adds the rules and routes of all sites. The listeners that they name are there already.
func (p *Plan) Write(sites []*Site) {
	used := labels{map[*Target]string{}, map[string]bool{bare: true}, &Target{End: Dest("status:404"),
		Notes: []string{"for requests whose rule names an upstream"}}, map[*Target]bool{}}
	sites = slices.Clone(sites)
	if one := lift(sites); one != nil {
		p.step("[[rules]]", Always, *one, false)
	}
	for i, s := range sites {
		sites[i] = s.guarded()
	}
	below := hostsBelow(sites)
	for _, s := range sites {
		w := &siteWriter{Plan: p, Site: s, others: s.takers(below), used: used}
		w.own = w.belongs()
		w.choose()
		w.steps("[[rules]]", w.own, joined(w.Steps), len(w.strict) > 0 && w.strict[0])
		w.rules()
		w.routes()
	}
	p.labelled(sites, used)
	for _, s := range sites {
		for _, b := range s.Branches {
			for _, step := range b.To.Steps {
				if !used.written[b.To] {
					p.Lose(step.From[0], step.What, "nothing that is carried leads there")
				}
			}
		}
	}
	p.share()
}

// Odd refuses requests for which a condition of the language holds, where one of the sites refuses any: those that
// the program reads in another way than edge does, as note says, or refuses itself.
func (p *Plan) Odd(sites []*Site, when, note string) {
	if slices.ContainsFunc(sites, (*Site).refuses) {
		b := p.Add("[[rules]]")
		if note != "" {
			b.Comment(note)
		}
		b.Set("when", Literal(when), Place{})
		b.Set("deny", "400", Place{})
	}
}

// guarded returns s with routes that answer where filters run before. A rule that answers would not wait for them.
func (s *Site) guarded() *Site {
	at := slices.IndexFunc(s.Steps, Step.filters)
	if at < 0 {
		return s
	}
	g := *s
	g.Steps, g.Branches = slices.Clone(s.Steps), nil
	for i, step := range g.Steps[at:] {
		if step.passes() {
			to := &Target{Name: "answer", End: step.Do[0], From: step.From, asked: true}
			g.Steps[at+i].to = to
			g.Branches = append(g.Branches, Branch{step.when(), to, step.What, step.From})
		}
	}
	g.Branches = append(g.Branches, s.Branches...)
	for _, b := range g.Branches {
		b.To.guarded = true
	}
	return &g
}

// belongs returns the condition of the requests that are for the site.
func (w *siteWriter) belongs() *Cond {
	c, hosts := Always, Always
	if w.Listeners != nil {
		c = CameBy(w.Listeners...)
	}
	if w.Hosts != nil {
		hosts = HostIs(w.Hosts...)
	}
	if w.others == nil {
		return All(c, hosts)
	}
	inner := slices.DeleteFunc(slices.Clone(w.Hosts), func(name string) bool {
		return !within([]string{name}, w.others)
	})
	hosts = All(hosts, Not(HostIs(w.others...)))
	if len(inner) > 0 { // they are below hosts of others
		hosts = Any(HostIs(inner...), hosts)
	}
	return All(c, hosts)
}

// elsewhere reports whether the requests for a host belong to other sites.
func (w *siteWriter) elsewhere(host string) bool {
	return slices.ContainsFunc(w.others, func(other string) bool {
		inner := func(name string) bool { return hostBelow(host, name) && hostBelow(name, other) }
		return hostBelow(host, other) && !slices.ContainsFunc(w.Hosts, inner)
	})
}

// left returns some hosts. In place of a host that is elsewhere it has the hosts of the site below that host.
func (w *siteWriter) left(hosts []string) (list []string) {
	for _, host := range hosts {
		inner := []string{host}
		if w.elsewhere(host) {
			inner = w.Hosts
		}
		for _, name := range inner {
			if hostBelow(name, host) && !w.elsewhere(name) && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

type hosted struct {
	name string
	of   *Site
}

// hostsBelow returns the hosts of all sites that are below a name such as "*.example.com", or "" for any.
func hostsBelow(sites []*Site) map[string][]hosted {
	below := map[string][]hosted{}
	for _, s := range sites {
		for _, name := range s.Hosts {
			below[""] = append(below[""], hosted{name, s})
			for i := 1; i < len(name); i++ {
				if name[i] == '.' && name[:i] != "*" {
					below["*"+name[i:]] = append(below["*"+name[i:]], hosted{name, s})
				}
			}
		}
	}
	return below
}

// takers returns hosts that would belong to s, if there were no other sites for them.
func (s *Site) takers(below map[string][]hosted) (list []string) {
	found := map[string]bool{}
	for _, name := range (&way{hosts: s.Hosts}).names() {
		for _, h := range below[name] {
			if h.of != s && !found[h.name] && s.shares(h.of) && !slices.Contains(s.Hosts, h.name) {
				found[h.name], list = true, append(list, h.name)
			}
		}
	}
	return list
}

func (s *Site) shares(o *Site) bool {
	return s.Listeners == nil || o.Listeners == nil ||
		slices.ContainsFunc(s.Listeners, func(l string) bool { return slices.Contains(o.Listeners, l) })
}

// branchesMax is how many branches are compared with each other. Where a site has more, all of them have labels.
const branchesMax = 2048

func (w *siteWriter) choose() {
	n := len(w.Branches)
	w.asks, w.ways = make([][]way, n), make([][]way, n)
	w.labelled, w.denied, w.strict = make([]bool, n), make([]bool, n), make([]bool, n)
	for i := n - 1; i >= 0; i-- {
		w.strict[i] = w.Branches[i].To.refuses() || i+1 < n && w.strict[i+1]
	}
	for i, b := range w.Branches {
		same, _ := b.When.text(exact)
		w.denied[i] = w.strict[i] && same == ""
		ways := waysOf(b.When, w.Hosts)
		asked := ways != nil
		w.asks[i] = ways
		if !asked {
			ways = []way{{hosts: w.Hosts, path: "/*", rest: b.When}}
		}
		ways = slices.DeleteFunc(slices.Clone(ways), func(o way) bool { return w.taken(i, &o) })
		for k := range ways {
			w.narrow(i, &ways[k])
		}
		if asked {
			w.ways[i] = ways
		}
		ends := !w.label(i) && (len(ways) > 1 || b.To.End.body) // one rule is shorter than several routes
		w.labelled[i] = len(ways) > 0 && (!asked || !b.When.Known() || len(ways) > 1 && len(b.To.Steps) > 0 ||
			n > branchesMax || b.To.asked || ends)
	}
	for again := true; again; {
		again = false
		for i := n - 1; i >= 0; i-- {
			if !w.labelled[i] && w.needsLabel(i) {
				w.labelled[i], again = true, true
			}
			if !w.labels && w.labelled[i] && w.label(i) {
				w.labels, again = true, true
			}
		}
	}
}

// taken reports whether other sites or branches before i take all requests for a way.
func (w *siteWriter) taken(i int, o *way) bool {
	switch {
	case o.hosts != nil && w.left(o.hosts) == nil:
		return true
	case !w.hidden(i, o) || o.loss != "" && w.strict[i]:
		return false
	case o.loss != "":
		w.Lose(w.Branches[i].From[0], o.loss+" of "+w.Branches[i].What, wholeSegments)
	}
	return true
}

// narrow leaves hosts out of a way whose requests other sites or branches before i take, unless these are all. A branch
// before may take the path that it is below.
func (w *siteWriter) narrow(i int, o *way) {
	if left := slices.DeleteFunc(w.left(o.hosts), func(name string) bool {
		return o.loss == "" && w.hidden(i, &way{hosts: []string{name}, path: o.path})
	}); len(left) > 0 {
		o.hosts = left
	}
	above := way{hosts: o.hosts, path: strings.TrimSuffix(o.path, "/*")}
	if o.below != nil && w.hidden(i, &above) {
		o.rest = o.below
	}
}

// hidden reports whether a branch before i takes all requests for a way.
func (w *siteWriter) hidden(i int, o *way) bool {
	if len(w.Branches) > branchesMax {
		return false
	}
	return slices.ContainsFunc(w.ways[:i], func(ways []way) bool {
		return slices.ContainsFunc(ways, func(before way) bool { return !before.vague && before.hides(o) })
	})
}

// label reports whether the requests of branch i have a label; those that end in its rule have none.
func (w *siteWriter) label(i int) bool {
	t := w.Branches[i].To
	return !w.denied[i] && (len(t.Steps)+len(t.Keys) > 0 || t.End.Name == "dest" || t.guarded && !t.End.refuses)
}

// needsLabel reports whether a route would take other requests than branch i does in its place.
func (w *siteWriter) needsLabel(i int) bool {
	for _, a := range w.ways[i] {
		// Among routes of one pattern, to have no label counts as much as a condition.
		if a.vague && w.strict[i] || a.fewer && w.Branches[i].To.refuses() ||
			w.labels && (weight(a.rest) > 0 || a.loss != "") {
			return true
		}
		for j := i + 1; j < len(w.Branches); j++ {
			if w.labelled[j] && a.mayMeet(w.Branches[j].When) {
				return true
			}
			if !w.labelled[j] && slices.ContainsFunc(w.ways[j], func(b way) bool {
				meets, wins := a.meets(&b)
				return meets && !wins
			}) {
				return true
			}
		}
	}
	return false
}

// rules writes the rules of branches that are no routes.
func (w *siteWriter) rules() {
	for i, b := range w.Branches {
		if !w.labelled[i] || b.To.asked {
			continue
		}
		when, s := w.own, usual
		if w.follows(i) {
			when = All(when, unlabelled)
		}
		do, from := []Action{Deny(403)}, b.From
		switch {
		case w.denied[i]:
			s = wide
			w.Lose(b.From[0], b.What, "edge cannot ask this condition as it is, and requests may be refused here or "+
				"after it: all that may meet it are refused")
		case w.strict[i]:
			s = exact
		case !b.When.Known():
			w.Lose(b.From[0], b.What, "edge does not know all of the condition; other requests go on to what comes "+
				"after it")
		}
		if !w.denied[i] {
			do = w.leads(b.To)
			w.used.written[b.To] = true
		}
		if w.used.of[b.To] == "" { // no route leads there
			from = slices.Concat(from, b.To.From)
		}
		w.rule("[[rules]]", All(when, b.When), s, Step{Do: do, What: b.What, From: from})
	}
}

// follows reports whether requests for branch i may have the label of one before it.
func (w *siteWriter) follows(i int) bool {
	for j := range i {
		if w.labelled[j] && w.label(j) && w.meet(i, j) {
			return true
		}
	}
	return false
}

func (w *siteWriter) meet(i, j int) bool {
	ways, other := w.asks[i], w.Branches[j].When
	if ways == nil {
		ways, other = w.asks[j], w.Branches[i].When
	}
	return ways == nil || len(w.Branches) > branchesMax ||
		slices.ContainsFunc(ways, func(a way) bool { return a.mayMeet(other) })
}

// leads returns what a rule does whose requests t is for.
func (w *siteWriter) leads(t *Target) []Action {
	switch {
	case len(t.Steps)+len(t.Keys) > 0 || t.Routed || t.guarded && !t.End.refuses && t.End.Name != "dest":
	case t.End.Name == "dest":
		w.used.of[w.used.bare] = bare
		return []Action{t.End, Local("to", bare)}
	default:
		return []Action{t.End}
	}
	name := w.used.of[t]
	if name == "" {
		name = Unused(cmp.Or(Name(t.Name), "route"), w.used.names)
		w.used.of[t] = name
	}
	return []Action{Local("to", name)}
}

func (p *Plan) rule(header string, when *Cond, s sense, do Step) {
	text, _ := when.text(s)
	if text == no {
		return
	}
	b := p.Add(header, do.From...)
	if text != yes {
		b.Set("when", Literal(text), Place{})
	}
	for _, a := range do.Do {
		a.set(b)
	}
}

// steps writes the rules of steps. refuses says that what comes after them may refuse requests.
func (w *siteWriter) steps(header string, when *Cond, steps []Step, refuses bool) {
	for i, s := range steps {
		sure := s.passes() && (refuses || slices.ContainsFunc(steps[i+1:], Step.refuses))
		if s.to != nil {
			s.Do = w.leads(s.to)
		}
		w.step(header, when, s, sure)
		if s.to != nil {
			when = All(w.own, unlabelled)
		}
	}
}

// step writes the rule of a step. Where it has to be sure, it takes no request that the program does not.
func (p *Plan) step(header string, when *Cond, s Step, sure bool) {
	c, as := s.when(), usual
	same, _ := All(when, c).text(exact)
	switch {
	case s.refuses():
		as = wide
	case sure:
		as = narrow
	case same != "" && s.moves(): // what refuses may look at it
		as = exact
	}
	if text, _ := c.text(as); !c.Known() || as == narrow && text == no && c.String() != no {
		p.Lose(s.From[0], s.What, "edge cannot ask all of the condition: "+map[bool]string{
			true: "all requests for which it may hold are refused", false: "other requests go on"}[as == wide])
	}
	p.rule(header, All(when, c), as, s)
}

func (w *siteWriter) routes() {
	for i, b := range w.Branches {
		for _, a := range w.ways[i] {
			if w.labelled[i] {
				break
			}
			when := a.rest
			for j := range w.Branches {
				if w.labelled[j] && w.label(j) && a.mayMeet(w.Branches[j].When) {
					when = All(when, unlabelled)
					break
				}
			}
			if a.loss != "" {
				w.Lose(b.From[0], a.loss+" of "+b.What, wholeSegments)
			}
			w.route(a.hosts, a.path, when, b.To, b.From)
			w.used.written[b.To] = true
		}
	}
}

func (w *siteWriter) route(hosts []string, path string, when *Cond, t *Target, from []Place) {
	b := w.Add("[[routes]]", slices.Concat(from, t.From)...)
	if hosts != nil {
		b.Set("host", Strings(hosts...), Place{})
	}
	if path == "/" {
		path = "=/" // "/" is a prefix
	}
	b.Set("path", String(path), Place{})
	if w.Site != nil && w.Listeners != nil {
		b.Set("listener", Strings(w.Listeners...), Place{})
	}
	if text, _ := when.text(usual); text != yes {
		b.Set("when", Literal(text), Place{})
	}
	w.fill(b, t)
}

func (w *siteWriter) fill(b *Block, t *Target) {
	for _, note := range t.Notes {
		b.Comment(note)
	}
	steps := w.closed(joined(t.Steps), t.guarded)
	switch end := t.End; {
	case end.Name == "dest" || end.Name == "redirect":
		b.Set(end.Name, end.Value, end.At)
	case end.status != "" && (!end.body || slices.ContainsFunc(steps, Step.filters)): // filters run after rules
		b.Set("dest", String("status:"+end.status), end.At)
		if end.body {
			w.Lose(end.At, "the text of an answer with the status "+end.status,
				"filters run before it: edge answers with a page")
		}
	default:
		b.Set("dest", `"status:403"`, end.At)
		steps = append(slices.Clip(steps), Step{Do: []Action{end}, From: t.From})
	}
	for _, k := range t.Keys {
		b.Set(k.Name, k.Value, k.At)
	}
	own := func(i int) bool {
		if s := steps[i]; s.When != nil || len(s.Do) != 1 || !s.Do[0].ofRoute() || b.Has(s.Do[0].Name) {
			return false
		}
		steps[i].Do[0].set(b)
		b.From(steps[i].From...)
		return true
	}
	if n := len(steps) - 1; n >= 0 && steps[n].filters() && own(n) { // filters of a route run after its rules
		steps = steps[:n]
	}
	for len(steps) > 0 && own(0) {
		steps = steps[1:]
	}
	w.steps("[[routes.rules]]", Always, steps, t.End.refuses)
}

// closed makes steps refuse where they answer after filters: rules of a route run before filters that they name, and
// these may be filters of the site, guarded, that would have run before.
func (p *Plan) closed(steps []Step, guarded bool) []Step {
	at := slices.IndexFunc(steps, Step.filters)
	for i := range steps {
		if s := &steps[i]; at >= 0 && (guarded || i > at) && s.passes() {
			p.Lose(s.From[0], s.What, "edge would answer before the filters of the route run: such requests are "+
				"refused")
			s.Do = []Action{Deny(403)}
		}
	}
	return steps
}

// labelled writes the routes of requests with a label. They have the hosts of the sites, whose other routes these pass
// by: else they would meet the routes of any host.
func (p *Plan) labelled(sites []*Site, used labels) {
	var list []*Target
	hosts := map[*Target][]string{}
	add := func(t *Target, s *Site) {
		if used.of[t] != "" && hosts[t] == nil {
			list = append(list, t)
		}
		for _, h := range (&way{hosts: s.Hosts}).names() {
			if !slices.Contains(hosts[t], h) {
				hosts[t] = append(hosts[t], h)
			}
		}
	}
	for _, s := range sites {
		for _, b := range s.Branches {
			add(b.To, s)
		}
	}
	for _, s := range sites {
		add(used.bare, s)
	}
	w := &siteWriter{Plan: p}
	for _, t := range list {
		when := Test(`local.to == "` + used.of[t] + `"`)
		named := slices.DeleteFunc(slices.Clone(hosts[t]), func(h string) bool { return h == "" })
		if len(named) > 0 {
			w.route(named, "/*", when, t, nil)
		}
		if len(named) < len(hosts[t]) {
			w.route(nil, "/*", when, t, nil)
		}
	}
}
