package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/edge-proxy/edge/message"
)

// router finds the most specific route, whatever the order in which they were given: by host (exact, then the longest
// name above it, then any), by path (exact, then the longest prefix), by the number of conditions. A part that has no
// route whose conditions hold leaves it to the less specific ones.
//
//	hosts "a.example"    ─┐
//	below ".example"     ─┼─► paths ─┬─► exact "/v1/x" ──────────┬─► choice ─┬─► equals (2 conditions) ─► route
//	any                  ─┘          └─► segment / ─ v1 ─ x ─────┘           └─► equals (none)  ─┬ 90 ─► route
//	                                                                                             └ 10 ─► route
//
// Immutable once built.
type router struct {
	hosts  map[string]*paths
	below  map[string]*paths // by the end of the name, with its dot
	any    paths             // routes for every host
	splits int               // how many equals are split by weight
}

// paths are the routes of one host.
type paths struct {
	exact map[string]*choice
	root  segment
}

// segment is a step of a path: prefixes are found by walking down, and the longest of them by walking up again.
type segment struct {
	up     *segment
	below  map[string]*segment
	choice *choice // of the prefix that ends here; nil: none does
}

// choice are the routes of one host and path, those with the most conditions first.
type choice struct {
	list []*equals
	keys map[string]*equals // by what conditionsKey says of their routes
}

// equals are routes that take the very same requests. When they are several, each has a weight.
type equals struct {
	conditions
	key    string // what conditionsKey says of the routes
	routes []*Route
	total  int // of their weights
	split  int // their place in turns
}

// turns is how far one reactor is in sharing requests among equal routes.
// Owned by its reactor.
type turns struct {
	of      *router
	current [][]int // by equals.split, by place in equals.routes
}

// What is wrong with a route.
var (
	errSameRoute = errors.New("another one has the same host and path, the same conditions, and no weight")
	errPath      = errors.New("a path begins with a slash")
	errHost      = errors.New("a star stands for the first labels of a host alone: *.example.com")
)

func (r *router) add(route *Route) error {
	p, err := r.pathsOf(strings.ToLower(route.Host))
	if err != nil {
		return err
	}
	if route.Path != "" && route.Path[0] != '/' {
		return errPath
	}
	if route.Path != "" {
		route.Path = string(resolvePath(nil, []byte(route.Path), 0))
	}
	var at **choice
	if route.Exact {
		if p.exact == nil {
			p.exact = map[string]*choice{}
		}
		if p.exact[route.Path] == nil {
			p.exact[route.Path] = &choice{}
		}
		c := p.exact[route.Path]
		at = &c
	} else {
		route.Path = strings.TrimSuffix(route.Path, "/")
		at = &p.segment(route.Path).choice
		if *at == nil {
			*at = &choice{}
		}
	}
	return r.choose(*at, route)
}

func (r *router) pathsOf(host string) (*paths, error) {
	to, key := &r.hosts, host
	switch {
	case host == "":
		return &r.any, nil
	case strings.HasPrefix(host, "*."):
		to, key = &r.below, host[1:]
	}
	if strings.Contains(key, "*") || key == "." {
		return nil, errHost
	}
	if *to == nil {
		*to = map[string]*paths{}
	}
	if (*to)[key] == nil {
		(*to)[key] = &paths{}
	}
	return (*to)[key], nil
}

// segment returns the segment where a path ends, made when it is new.
func (p *paths) segment(path string) *segment {
	s := &p.root
	for path != "" {
		name, rest := path[1:], ""
		if slash := strings.IndexByte(name, '/'); slash >= 0 {
			name, rest = name[:slash], name[slash:]
		}
		if s.below == nil {
			s.below = map[string]*segment{}
		}
		if s.below[name] == nil {
			s.below[name] = &segment{up: s}
		}
		s, path = s.below[name], rest
	}
	return s
}

// choose puts route among those of one host and path.
func (r *router) choose(c *choice, route *Route) error {
	cond, err := newConditions(route)
	if err != nil {
		return err
	}
	key := conditionsKey(route)
	if e := c.keys[key]; e != nil {
		if route.Weight <= 0 || e.routes[0].Weight <= 0 {
			return errSameRoute
		}
		if len(e.routes) == 1 {
			e.split = r.splits
			r.splits++
		}
		e.routes = append(e.routes, route)
		e.total += route.Weight
		return nil
	}
	if c.keys == nil {
		c.keys = map[string]*equals{}
	}
	e := &equals{conditions: cond, key: key, routes: []*Route{route}, total: route.Weight}
	c.keys[key] = e
	at := sort.Search(len(c.list), func(i int) bool { return e.before(c.list[i]) })
	c.list = slices.Insert(c.list, at, e)
	return nil
}

// before reports whether e is more specific than other: it has more conditions. Where both have as many, a request can
// meet both; then listeners come before certificates before methods before fields before the query, and after that the
// alphabet decides, since the order in which routes were given never does.
func (e *equals) before(other *equals) bool {
	if order := slices.Compare(e.ranks[:], other.ranks[:]); order != 0 {
		return order > 0
	}
	return e.key < other.key
}

// conditionsKey is equal for routes whose conditions are the same, in whatever order.
func conditionsKey(route *Route) string {
	var all []string
	for _, m := range route.Methods {
		all = append(all, fmt.Sprintf("m%q", m))
	}
	for _, c := range route.Header {
		all = append(all, fmt.Sprintf("h%q%q", strings.ToLower(c.Name), c.Value))
	}
	for _, c := range route.Query {
		all = append(all, fmt.Sprintf("q%q%q", c.Name, c.Value))
	}
	for _, l := range route.Listeners {
		all = append(all, fmt.Sprintf("l%q", l))
	}
	if c := route.ClientCert; c != nil {
		all = append(all, fmt.Sprintf("c%q%q%q", c.Subject, c.Issuer, c.SAN))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// match returns the route for a request, nil when there is none.
func (r *router) match(h *message.Head, from *arrival, t *turns) *Route {
	return t.pick(r.find(h.Path(), h, from), r)
}

// find returns the routes that take a request for path, nil when there is none.
func (r *router) find(path []byte, h *message.Head, from *arrival) *equals {
	if len(r.hosts)+len(r.below) > 0 {
		var lower [256]byte
		if host := hostOf(h, &lower); len(host) > 0 {
			if e := r.findHost(host, path, h, from); e != nil {
				return e
			}
		}
	}
	return r.any.find(path, h, from)
}

func (r *router) findHost(host, path []byte, h *message.Head, from *arrival) *equals {
	if p := r.hosts[string(host)]; p != nil {
		if e := p.find(path, h, from); e != nil {
			return e
		}
	}
	if len(r.below) == 0 {
		return nil
	}
	for i := 1; i < len(host); i++ { // the star stands for one label at least
		if host[i] != '.' {
			continue
		}
		if p := r.below[string(host[i:])]; p != nil {
			if e := p.find(path, h, from); e != nil {
				return e
			}
		}
	}
	return nil
}

func (p *paths) find(path []byte, h *message.Head, from *arrival) *equals {
	if c := p.exact[string(path)]; c != nil {
		if e := c.find(h, from); e != nil {
			return e
		}
	}
	s := &p.root
	for rest := path; s.below != nil && len(rest) > 0 && rest[0] == '/'; {
		name := rest[1:]
		if rest = nil; len(name) > 0 {
			if slash := bytes.IndexByte(name, '/'); slash >= 0 {
				name, rest = name[:slash], name[slash:]
			}
		}
		next := s.below[string(name)]
		if next == nil {
			break
		}
		s = next
	}
	for ; s != nil; s = s.up {
		if s.choice == nil {
			continue
		}
		if e := s.choice.find(h, from); e != nil {
			return e
		}
	}
	return nil
}

func (c *choice) find(h *message.Head, from *arrival) *equals {
	for _, e := range c.list {
		if e.hold(h, from) {
			return e
		}
	}
	return nil
}

// pick returns the route of e whose turn it is, nil when e is.
func (t *turns) pick(e *equals, r *router) *Route {
	switch {
	case e == nil:
		return nil
	case len(e.routes) == 1:
		return e.routes[0]
	}
	return e.routes[t.next(e, r)]
}

// next returns whose turn it is among equal routes: each gets its share of any run of requests, spread evenly (smooth
// weighted round-robin).
func (t *turns) next(e *equals, r *router) int {
	if t.of != r {
		*t = turns{of: r, current: make([][]int, r.splits)}
	}
	current := t.current[e.split]
	if current == nil {
		current = make([]int, len(e.routes))
		t.current[e.split] = current
	}
	best := 0
	for i, route := range e.routes {
		if current[i] += route.Weight; current[i] > current[best] {
			best = i
		}
	}
	current[best] -= e.total
	return best
}

// hostOf returns the host of the authority in lower case, without its port and the dot of the root, in buf; nil when it
// is too long.
func hostOf(h *message.Head, buf *[256]byte) []byte {
	host := h.Host()
	if n := len(host); n > 1 && host[n-1] == '.' {
		host = host[:n-1]
	}
	if len(host) > len(buf) {
		return nil
	}
	for i, c := range host {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(host)]
}
