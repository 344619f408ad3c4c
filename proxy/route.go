package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/message"
)

// Route says which requests go where.
// Immutable once it is part of a Snapshot.
type Route struct {
	Name    string
	Host    string // lower case, without a port; "": every host
	Path    string // "" or "/": every path
	Exact   bool   // Path is the whole path; else it is a prefix by segments: /api takes /api and /api/x, not /apix
	To      Destination
	Filters []*Filter
	Log     []AccessLog // by Reactor.Index; nil: the listener's

	chain *chain
}

// errEarly refuses a filter of a route that has an early phase.
var errEarly = errors.New("the early phase comes before the route")

// Snapshot is a set of routes and filters.
// Immutable.
type Snapshot struct {
	router router
	chain  *chain
}

// NewSnapshot composes routes and the filters that run for every request.
func NewSnapshot(routes []Route, filters []*Filter) (*Snapshot, error) {
	s := &Snapshot{router: router{hosts: map[string]*paths{}}}
	var err error
	if s.chain, err = compose(filters); err != nil {
		return nil, err
	}
	for i := range routes {
		r := routes[i]
		if r.To == nil {
			return nil, fmt.Errorf("route %q leads nowhere", r.Name)
		}
		if _, ok := r.To.(*unbound); ok {
			return nil, fmt.Errorf("route %q: Backends is for the routes of a Server; use To", r.Name)
		}
		for _, f := range r.Filters {
			if f.Early != nil {
				return nil, fmt.Errorf("route %q: filter %q: %w", r.Name, f.Name, errEarly)
			}
		}
		all := append(slices.Clip(filters), r.Filters...)
		if _, ok := r.To.(*toUpstream); ok {
			all = append([]*Filter{forwarding}, all...)
		}
		if r.chain, err = compose(all); err != nil {
			return nil, fmt.Errorf("route %q: %w", r.Name, err)
		}
		if err := s.router.add(&r); err != nil {
			return nil, err
		}
	}
	s.router.sort()
	return s, nil
}

// router finds the most specific route: by host first, then an exact path, then the longest prefix.
// Immutable once built.
type router struct {
	hosts map[string]*paths
	any   paths // routes for every host
}

// paths are the routes of one host.
type paths struct {
	exact    map[string]*Route
	prefixes []*Route // the longest first; Path without a slash at the end
}

func (r *router) add(route *Route) error {
	p := &r.any
	if route.Host != "" {
		host := strings.ToLower(route.Host)
		if p = r.hosts[host]; p == nil {
			p = &paths{}
			r.hosts[host] = p
		}
	}
	if route.Exact {
		if p.exact == nil {
			p.exact = map[string]*Route{}
		}
		if p.exact[route.Path] != nil {
			return fmt.Errorf("route %q: another one has the same host and path", route.Name)
		}
		p.exact[route.Path] = route
		return nil
	}
	route.Path = strings.TrimSuffix(route.Path, "/")
	for _, other := range p.prefixes {
		if other.Path == route.Path {
			return fmt.Errorf("route %q: another one has the same host and path", route.Name)
		}
	}
	p.prefixes = append(p.prefixes, route)
	return nil
}

func (r *router) sort() {
	longest := func(a, b *Route) int { return len(b.Path) - len(a.Path) }
	slices.SortFunc(r.any.prefixes, longest)
	for _, p := range r.hosts {
		slices.SortFunc(p.prefixes, longest)
	}
}

// match returns the route for a request, nil when there is none.
func (r *router) match(h *message.Head) *Route {
	path := h.Path()
	if len(r.hosts) > 0 {
		var lower [256]byte
		if host := hostOf(h, &lower); len(host) > 0 {
			if p := r.hosts[string(host)]; p != nil {
				if route := p.match(path); route != nil {
					return route
				}
			}
		}
	}
	return r.any.match(path)
}

func (p *paths) match(path []byte) *Route {
	if route := p.exact[string(path)]; route != nil {
		return route
	}
	for _, route := range p.prefixes {
		n := len(route.Path)
		if len(path) >= n && string(path[:n]) == route.Path && (len(path) == n || n == 0 || path[n] == '/') {
			return route
		}
	}
	return nil
}

// hostOf returns the host of the authority in lower case and without its port, in buf; nil when it is too long.
func hostOf(h *message.Head, buf *[256]byte) []byte {
	host := h.Bytes(h.Authority)
	for i := len(host) - 1; i >= 0 && host[i] != ']'; i-- {
		if host[i] == ':' {
			host = host[:i]
			break
		}
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
