package nginx

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// A location /admin takes /adminx too, and a pattern of edge whole segments. Where the location refuses or counts
// requests, or was a regular expression, the others of its paths are asked for by a condition:
//
//	location /     { A }               /admin/*                                  B
//	location /admin { B }      ──►     /*   when = 'path starts_with "/admin"'   B
//	                                   /*                                        A

// partial is a location that has such a condition.
type partial struct {
	*location
	pattern string // around the last segment of its path
}

// partialsMax is how many of them one pattern has.
const partialsMax = 16

// plainPath matches paths that are the same in all spellings, but for those that edge refuses.
var plainPath = plan.Expr(`^/[A-Za-z0-9_/.~-]*$`)

// partials finds the locations that have a condition, the longest ones first.
func partials(s *server, all []*location) (list []*partial) {
	count := map[string]int{}
	for _, l := range all {
		part := slices.ContainsFunc(l.routes, func(r *route) bool { return r.path != "/*" })
		if l.mark == "@" || l.exact || l.whole || part || s.rewritten || strings.HasSuffix(l.path, "/") ||
			!plainPath().MatchString(l.path) || !l.regular() && !l.keepsAway(all) {
			continue
		}
		p := &partial{l, prefixOf(l.path[:strings.LastIndexByte(l.path, '/')])}
		if slices.ContainsFunc(s.lost, func(o lostLocation) bool { return o.goesBefore(p) }) {
			continue
		}
		if count[p.pattern]++; count[p.pattern] > partialsMax {
			continue
		}
		l.partial = true
		list = append(list, p)
	}
	slices.SortStableFunc(list, func(a, b *partial) int { return len(b.path) - len(a.path) })
	return list
}

// goesBefore reports whether l, which is not carried, may take requests of p: those are refused at the pattern of p.
func (l *lostLocation) goesBefore(p *partial) bool {
	return !l.regular() && prefixOf(l.dir) == p.pattern && strings.HasPrefix(l.path, p.path)
}

// keepsAway reports whether l, or an expression that takes some of its requests, refuses or counts requests.
func (l *location) keepsAway(all []*location) bool {
	return l.closed != nil || l.counts() || refusesSome(l, all) ||
		slices.ContainsFunc(l.before, func(o *location) bool {
			return o.closed != nil || o.counts() || refusesSome(o, all)
		})
}

// counts reports whether the requests of l are counted.
func (l *location) counts() bool {
	for at := l.scope; at != nil; at = at.outer {
		if at.block.child("limit_req") != nil {
			return true
		}
	}
	return false
}

// holds returns the condition that a path begins as that of p, or that it does not.
func (p *partial) holds(begins bool) string {
	if begins {
		return `path starts_with "` + p.path + `"`
	}
	return `not (path starts_with "` + p.path + `")`
}

// routesOf returns the routes for the requests of p that its own pattern does not take.
func (p *partial) routesOf(list []*partial) (routes []*route) {
	when := []string{p.holds(true)}
	for _, longer := range list {
		if longer.pattern == p.pattern && longer != p && strings.HasPrefix(longer.path, p.path) {
			when = append(when, longer.holds(false))
		}
	}
	for _, own := range p.routes {
		r := own.on(p.pattern)
		r.when = strings.Join(when, " and ")
		routes = append(routes, r.withExpressions()...)
	}
	return routes
}

// without has r, and what expressions take of it, take no request of those in list.
func (r *route) without(list []*partial) {
	for _, p := range list {
		if p.pattern == r.path {
			r.unless = append(r.unless, p.holds(false))
		}
	}
}
