// Package nginx reads the configuration of nginx into a plan for edge.
//
// It is not an nginx: it follows the rules by which nginx chooses a server and a location and by which directives hold
// in inner blocks, and writes routes that choose alike by edge's own rules. Where they cannot, it says so.
//
//	text ─ lex.go ──► tree, with ── servers.go ──► listeners
//	       includes   lines         routes.go ───► routes: locations.go, reach.go, expression.go (paths),
//	                                               rewrite.go, branch.go (return, rewrite, if),
//	                                               content.go, proxy.go (answers)
//	                                upstreams.go ► upstreams
//	                                words.go ────► findings about all the rest
//
// What differs between the two, and what is done about it:
//
//   - nginx compares texts, edge segments: location /api takes /apix there. Where it refuses or counts requests that
//     gets a condition (partial.go), else it is among the losses. A location /api/ does not take /api there: that
//     path gets a route of its own, the redirect that nginx answers with.
//   - A regular expression that is a text which paths begin with becomes a path, where the order of nginx, in which the
//     first expression goes before longer paths, comes to the same: see reach.go. Others become conditions of routes,
//     where those mean the same: see expression.go. Where one that is not carried refuses requests, the locations are
//     closed that would take them.
//   - set makes constants, where the value has no variable of a request. They are put in their places.
//   - limit_req, allow, deny and auth_basic become filters: limits.go, guards.go. A location with other guards, or with
//     some that mean something else here, stays closed: 403. So does what comes after an if that refuses requests and
//     that edge cannot follow.
//   - if and limit_except go one after the other, routes by the number of their conditions: see expand.go, and
//     decisions.go for tests that are conditions in the language.
//   - What a request is answered with where edge cannot do what the file says is 503, never another location.
//
// Every directive of the file is in the result or among the findings: what nothing has used is found at the end.
//
// Import may be called from any goroutine; what it returns belongs to the caller.
//
// Limits: 64 blocks or files in each other, 100 000 directives, and those of plan.Reader.
package nginx
