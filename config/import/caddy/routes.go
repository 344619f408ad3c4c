package caddy

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// route is an entry of [[routes]] whose hosts and listeners are not known yet.
type route struct {
	region  region
	methods []string
	atoms   []*atom
	unless  []*atom // in the language, which do not hold, where others do: a route with one says all of them
	mask    int     // of atoms, among those of the region
	out     outcome
}

// id returns what the route takes and does.
func (r *route) id() string {
	return fmt.Sprint(r.region, r.methods, conditionsID(r.atoms), conditionsID(r.unless), "\n", r.out.whole())
}

// conditionsID names a set of conditions.
func conditionsID(list []*atom) string {
	var b strings.Builder
	for _, a := range list {
		fmt.Fprintf(&b, "%#v;", a.list)
	}
	return b.String()
}

// served are the routes for some hosts at some listeners.
type served struct {
	listeners []*listener
	hosts     []string // one "" is any
	routes    []*route
	id        string
}

// route walks all sites and writes the routes.
func (im *importer) route() {
	var all []*served
	var open []*listener
	for _, l := range im.listeners {
		if l.forward {
			continue
		}
		open = append(open, l)
		for _, s := range im.served(l) {
			same := slices.IndexFunc(all, func(o *served) bool {
				return o.id == s.id && slices.Equal(o.hosts, s.hosts)
			})
			if same >= 0 {
				all[same].listeners = append(all[same].listeners, l)
				continue
			}
			all = append(all, s)
		}
	}
	for _, s := range all {
		for _, r := range s.routes {
			im.write(s, r, len(s.listeners) == len(open))
			if r.out.certified && r.region == (region{"/", true}) && r.mask == 0 && r.methods == nil {
				other := *r
				other.out = outcome{status: 403, from: r.out.from}
				im.write(s, &other, len(s.listeners) == len(open))
			}
		}
	}
}

// served returns the routes of a listener.
func (im *importer) served(l *listener) (all []*served) {
	var hosts []string
	add := func(p place) {
		if !slices.Contains(hosts, p.host) {
			hosts = append(hosts, p.host)
		}
	}
	for _, p := range l.places {
		add(p)
	}
	for _, secure := range im.listeners {
		for _, p := range secure.places {
			if p.host != "" && secure.tls && im.redirectTarget(l, p.host) == secure {
				add(p)
			}
		}
	}
	if im.redirectTarget(l, "") != nil {
		add(place{})
	}
	named := len(hosts)
	for i := 0; i < len(hosts); i++ {
		routes := im.routes(l, hosts[i], &hosts)
		id := ""
		for _, r := range routes {
			id += r.id() + "\n"
		}
		same := slices.IndexFunc(all, func(o *served) bool { return o.id == id && o.hosts[0] != "" && hosts[i] != "" })
		switch {
		case same >= 0 && i >= named && slices.ContainsFunc(all[same].hosts, func(h string) bool {
			return h != hosts[i] && covers(h, hosts[i])
		}):
		case same >= 0:
			all[same].hosts = append(all[same].hosts, hosts[i])
			for n, r := range all[same].routes { // as many as those of this host, since the ids are equal
				r.out.from = slices.Concat(r.out.from, routes[n].out.from)
			}
		default:
			all = append(all, &served{[]*listener{l}, []string{hosts[i]}, routes, id})
		}
	}
	return all
}

// routes returns the routes for a host: those of each region that are not the routes of the one around it.
func (im *importer) routes(l *listener, host string, hosts *[]string) (list []*route) {
	v := &survey{regions: []region{{"/", true}}, hosts: hosts, lost: map[*atom]bool{}}
	found := map[region][]*route{}
	for i := 0; i < len(v.regions); i++ {
		found[v.regions[i]] = im.cells(l, host, v.regions[i], v)
	}
	slices.SortStableFunc(v.regions, func(a, b region) int {
		if a.prefix != b.prefix { // the narrowest region around an exact path is known before it
			if a.prefix {
				return -1
			}
			return 1
		}
		return len(a.path) - len(b.path)
	})
	var kept []region
	for _, r := range v.regions {
		var around *region
		for i, o := range kept {
			if r.within(o) && (around == nil || len(o.path) > len(around.path)) {
				around = &kept[i]
			}
		}
		if around == nil || !sameRoutes(found[*around], found[r]) {
			kept = append(kept, r)
			list = append(list, found[r]...)
			continue
		}
		for i, o := range found[*around] { // the lines of what is not written are those of what stands for it
			o.out.from = append(o.out.from, found[r][i].out.from...)
		}
	}
	slices.SortStableFunc(list, func(a, b *route) int { return strings.Compare(b.region.path, a.region.path) })
	return list
}

// sameRoutes reports whether the routes of the outer region do with requests of the inner one what its own routes do.
func sameRoutes(outer, inner []*route) bool {
	return slices.EqualFunc(outer, inner, func(o, i *route) bool {
		return slices.Equal(o.methods, i.methods) && slices.Equal(o.atoms, i.atoms) &&
			slices.Equal(o.unless, i.unless) && o.out.id() == i.out.id() &&
			(o.out.dest == "" || sameMove(o, i))
	})
}

// sameMove reports whether o and i change a path in the region of i in the same way.
func sameMove(o, i *route) bool {
	if o.out.query != i.out.query {
		return false
	}
	if !o.out.rest {
		return !i.out.rest && o.out.cur == i.out.cur
	}
	below, found := strings.CutPrefix(i.region.path, o.region.path)
	if !found { // /api of /api/*
		return i.out.cur == i.region.path && o.out.cur == o.region.path || o.out.cur == "/" && i.out.cur == "/"
	}
	return i.out.rest == i.region.prefix && i.out.cur == o.out.cur+below
}

// class is a class of requests for a host and a region: those that fulfil a set of conditions, with a method or with
// one that no matcher names.
type class struct {
	mask   int // of conditions
	method string
}

// cells are all classes of a region, with how walks for them end.
type cells struct {
	atoms   []*atom
	methods []string
	ends    map[class]outcome
}

// cells walks a region once for each class of requests that its directives tell apart, and returns the routes for them.
// Of the routes whose conditions hold, edge takes the one with the most conditions. So a class needs no route of its
// own where the routes that would take its requests end as it does.
func (im *importer) cells(l *listener, host string, r region, v *survey) (list []*route) {
	c := &cells{methods: []string{""}, ends: map[class]outcome{}}
	for im.explore(c, l, host, r, v) {
		clear(c.ends)
	}
	for _, of := range c.classes() {
		end := c.ends[of]
		if !c.needed(list, of, end.whole()) {
			continue
		}
		one := &route{region: r, atoms: subset(c.atoms, of.mask), out: end, mask: of.mask}
		if of.mask&c.inLanguage() != 0 {
			one.unless = subset(c.atoms, c.inLanguage()&^of.mask)
		}
		if of.method != "" {
			one.methods = []string{of.method}
			same := slices.IndexFunc(list, func(o *route) bool {
				return o.mask == of.mask && o.methods != nil && o.out.whole() == end.whole()
			})
			if same >= 0 {
				list[same].methods = append(list[same].methods, of.method)
				list[same].out.from = slices.Concat(list[same].out.from, end.from)
				continue
			}
		}
		list = append(list, one)
	}
	return list
}

// inLanguage returns the mask of the conditions in the language.
func (c *cells) inLanguage() (mask int) {
	for i, a := range c.atoms {
		if len(whens([]*atom{a})) > 0 {
			mask |= 1 << i
		}
	}
	return mask
}

// classes returns all classes, those with fewer conditions first.
func (c *cells) classes() (list []class) {
	for mask := range 1 << len(c.atoms) {
		for _, method := range c.methods {
			if _, valid := c.ends[class{mask, method}]; valid {
				list = append(list, class{mask, method})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b class) int {
		conditions := func(of class) int { return count(subset(c.atoms, of.mask), of.method != "") }
		return cmp.Compare(conditions(a), conditions(b))
	})
	return list
}

// count returns how many conditions a route has.
func count(atoms []*atom, methods bool) int {
	all := map[condition]bool{}
	for _, a := range atoms {
		for _, c := range a.list {
			if c.when { // edge counts them as one
				c = condition{when: true}
			}
			all[c] = true
		}
	}
	if methods {
		return len(all) + 1
	}
	return len(all)
}

// needed reports whether a class needs a route of its own: no route of the list takes its requests, or one of those
// that edge may choose, with the most conditions, ends otherwise.
func (c *cells) needed(list []*route, of class, end string) bool {
	most, same := -1, false
	for _, r := range list {
		language := c.inLanguage()
		if said := r.mask & language; said != 0 && said != of.mask&language {
			continue
		}
		if r.mask&^of.mask != 0 || r.methods != nil && !slices.Contains(r.methods, of.method) {
			continue
		}
		n := count(r.atoms, r.methods != nil)
		if n > most {
			most, same = n, true
		}
		if n == most {
			same = same && r.out.whole() == end
		}
	}
	return !same
}

// explore walks all classes that are known so far, and reports whether there are more.
func (im *importer) explore(c *cells, l *listener, host string, r region, v *survey) (more bool) {
	for mask := range 1 << len(c.atoms) {
		set := subset(c.atoms, mask)
		if contradicts(set, c.atoms) {
			continue
		}
		for _, method := range c.methods {
			w := &walk{im: im, on: l, host: host, region: r, survey: v, set: set, method: method, known: c.methods}
			c.ends[class{mask, method}] = w.careful()
			if im.steps > stepsMax {
				continue
			}
			for _, a := range w.asked {
				more = v.takeCondition(a, &c.atoms) || more
			}
			for _, m := range w.methods {
				if len(c.methods) <= methodsMax {
					c.methods = append(c.methods, m)
					more = true
				}
			}
			if more {
				return true
			}
		}
	}
	return false
}

// takeCondition adds a condition to those of a region and reports whether it is new. One that routes cannot have
// beside the others is lost.
func (v *survey) takeCondition(a *atom, atoms *[]*atom) bool {
	if slices.Contains(*atoms, a) || v.lost[a] {
		return false
	}
	if len(*atoms) >= atomsMax || slices.ContainsFunc(*atoms, func(o *atom) bool { return a.to(o) == tangled }) {
		v.lost[a] = true
		return true
	}
	*atoms = append(*atoms, a)
	return true
}

// subset returns the conditions of a mask.
func subset(atoms []*atom, mask int) (list []*atom) {
	for i, a := range atoms {
		if mask>>i&1 == 1 {
			list = append(list, a)
		}
	}
	return list
}

// contradicts reports whether no request fulfils the conditions of a set and none of the others.
func contradicts(set, all []*atom) bool {
	var list []condition
	for i, a := range set {
		if slices.ContainsFunc(set[:i], func(o *atom) bool { return a.to(o) == opposite }) {
			return true
		}
		list = append(list, a.list...)
	}
	return slices.ContainsFunc(all, func(a *atom) bool { return !slices.Contains(set, a) && a.within(list) })
}

// trialsMax bounds how many sets of unknown tests are tried.
const trialsMax = 256

// careful walks as if tests that edge does not know did not hold. Where a request would be refused if some of them
// held, the route is closed. So it is where there are more sets of them than can be tried.
func (w *walk) careful() outcome {
	fresh := *w
	end := w.start()
	if end.denies {
		return end
	}
	var tests []*test  // in the order in which they were met, those of larger sets later
	var sets [][]*test // that remain to be tried, smaller ones first
	tried := map[string]bool{}
	add := func(holds, met []*test) {
		for _, t := range met {
			if !slices.Contains(tests, t) {
				tests = append(tests, t)
			}
			if slices.Contains(holds, t) {
				continue
			}
			id := make([]byte, len(tests))
			for _, h := range append(slices.Clone(holds), t) {
				id[slices.Index(tests, h)] = 1
			}
			if key := string(bytes.TrimRight(id, "\x00")); !tried[key] {
				tried[key] = true
				sets = append(sets, append(slices.Clone(holds), t))
			}
		}
	}
	add(nil, w.unknowns)
	for i := 0; i < len(sets); i++ {
		other := fresh
		other.assumed = sets[i]
		o := other.start()
		if o.denies || i == trialsMax {
			return w.closedBy(sets[i], &o)
		}
		w.learn(&other)
		add(sets[i], other.unknowns)
	}
	return end
}

// learn takes over what another walk for the same class has looked at: a refusal may need that too.
func (w *walk) learn(o *walk) {
	for _, a := range o.asked {
		if !slices.Contains(w.asked, a) {
			w.asked = append(w.asked, a)
		}
	}
	for _, m := range o.methods {
		if !slices.Contains(w.methods, m) {
			w.methods = append(w.methods, m)
		}
	}
}

// closedBy closes the route, since a request for which these tests hold would be refused, or may be.
func (w *walk) closedBy(holds []*test, refused *outcome) outcome {
	w.closed(&directive{name: holds[len(holds)-1].what})
	w.out.from = append(w.out.from, refused.from...)
	w.out.settings = slices.DeleteFunc(w.out.settings, func(s setting) bool {
		return s.name == "headers.request"
	})
	return w.out
}

// sent returns a path of the file in the encoded form of requests: Caddy compares decoded paths.
func sent(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return strings.ReplaceAll((&url.URL{Path: plain}).EscapedPath(), "%2A", "*")
	}
	return path
}

// write writes a route. everywhere is whether it stands for all listeners.
func (im *importer) write(s *served, r *route, everywhere bool) {
	o := &r.out
	b := im.Add("[[routes]]", o.from...)
	for _, text := range o.comments {
		b.Comment(text)
	}
	none := plan.Place{}
	if s.hosts[0] != "" {
		b.Set("host", plan.Strings(s.hosts...), none)
	}
	b.Set("path", plan.String(r.region.pattern()), none)
	if !everywhere {
		names := make([]string, len(s.listeners))
		for i, l := range s.listeners {
			names[i] = l.name
		}
		b.Set("listener", plan.Strings(names...), none)
	}
	if o.certified {
		b.Set("client_cert", "true", none)
	}
	if len(r.methods) > 0 {
		b.Set("methods", plan.List(r.methods...), none)
	}
	for _, kind := range []string{"header", "query"} {
		var list []plan.Field
		for _, a := range r.atoms {
			for _, c := range a.list {
				f := plan.Field{Name: c.name, Value: c.value}
				if !c.when && c.query == (kind == "query") && !slices.Contains(list, f) {
					list = append(list, f)
				}
			}
		}
		if len(list) > 0 {
			b.Set(kind, conditionTable(list), none)
		}
	}
	when := whens(r.atoms)
	for _, text := range whens(r.unless) {
		when = append(when, "not ("+text+")")
	}
	if len(when) > 0 {
		b.Set("when", plan.Literal(strings.Join(when, " and ")), none)
	}
	at := none
	if len(o.from) > 0 {
		at = o.from[len(o.from)-1]
	}
	switch {
	case o.dest != "":
		b.Set("dest", plan.String(o.dest), at)
		im.writeMove(b, r, at)
	case o.to != "":
		b.Set("redirect", "{ to = "+plan.String(o.to)+", status = "+strconv.Itoa(o.status)+" }", at)
	default:
		b.Set("dest", plan.String("status:"+strconv.Itoa(o.status)), at)
	}
	for _, k := range o.settings {
		b.Set(k.name, k.value, k.at)
	}
}

// conditionTable returns conditions on fields or parameters. Where there are several, a name that only has to be
// present gets "~": every value matches that expression.
func conditionTable(list []plan.Field) string {
	if len(list) == 1 && list[0].Value == "" {
		return plan.String(list[0].Name)
	}
	for i := range list {
		if list[i].Value == "" {
			list[i].Value = "~"
		}
	}
	return plan.Table(list)
}

// writeMove writes what becomes of the path.
func (im *importer) writeMove(b *plan.Block, r *route, at plan.Place) {
	o := &r.out
	from, to := r.region.path, o.cur
	switch {
	case from == to && o.query == "" && o.rest == r.region.prefix:
	case !o.rest || o.query != "":
		path := templateText(sent(to))
		if o.rest {
			path = templateText(sent(strings.TrimSuffix(to, "/"))) + "{rest}"
		}
		b.Set("rewrite.path", plan.String(path+o.query), at)
	case !strings.HasSuffix(to, "/"):
		im.Lose(at, "the path "+to+"… of requests for "+r.region.pattern(), "a path is put together of whole segments")
	case strings.HasSuffix(to, from):
		b.Set("rewrite.add_prefix", plan.String(sent(strings.TrimSuffix(to, from))), at)
	default:
		if strip := strings.TrimSuffix(sent(from), "/"); strip != "" {
			b.Set("rewrite.strip_prefix", plan.String(strip), at)
		}
		if add := strings.TrimSuffix(sent(to), "/"); add != "" {
			b.Set("rewrite.add_prefix", plan.String(add), at)
		}
	}
}

// templateText returns a path as a template has it.
func templateText(path string) string {
	return strings.NewReplacer("{", "%7B", "}", "%7D").Replace(path)
}
