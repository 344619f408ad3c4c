// Package caddy reads Caddyfiles and writes what edge has for them into a plan.
//
// It is not a Caddy: it knows no modules and starts none. Directives that it does not know are findings.
//
//	Caddyfile ── lexer ──► tokens ── parser ──► directives ── program ──► steps
//	             quotes,             imports,   of sites      matchers,     │ walked for each
//	             heredocs            snippets                 Caddy's order ▼ class of requests
//	                                                                      routes
//
// Caddy runs the directives of a site one after the other, in an order of its own; edge takes the most specific
// route. So the steps of a site are not translated one by one. They are walked, as Caddy would, for each class of
// requests that matchers tell apart: a host, a path or all paths with a beginning, and which conditions hold. What
// a walk ends with is a route for that class. A class whose route is that of the class around it needs none.
//
//	handle /api/* { … }     walked for /api/…, for /api, and for all other paths
//	@post method POST       walked for POST, and for all other methods
//
// What conditions of routes do not ask, addresses and ends of paths, is a condition in the language. edge counts
// those of a route as one, so a route with one says of all of them whether they hold.
//
// A matcher that edge has no condition for is taken as one that does not hold, unless a request would then get
// past an answer that refuses it: there the route is closed, with 403.
//
// An import is one call of Import; it belongs to one goroutine and keeps nothing.
//
// Limits: those of package plan, and 100000 tokens, 200000 walked steps, 4 conditions for one path.
package caddy
