// Package haproxy reads the configuration of HAProxy into a plan for edge.
//
// It is not a HAProxy: it knows sections, their lines, and the conditions that can be told from a request's host, path,
// method, fields and parameters.
//
//	text ─ read.go ──► sections, ── frontend.go ──► listeners, routes: acl, use_backend, redirect, http-request
//	                   lines        backend.go ───► upstreams: server, balance, checks, times
//	                                words.go ─────► findings about all the rest
//
// HAProxy takes the first use_backend whose condition holds; edge takes the most specific route. The routes of one
// condition after another come to the same where the earlier one is the more specific. Where it is not, and both could
// hold for one request, the later rule is among the losses.
//
// path_beg compares texts: path_beg /api takes /apix. Such paths are among the losses, unless the text ends with "/".
// A rule whose condition is not known does not become a route, and is a loss. What denies requests and is not carried
// closes what it stands in: 403.
//
// Every line of the file is in the result or among the findings.
//
// Import may be called from any goroutine; what it returns belongs to the caller.
//
// Limits: 100 000 lines, and those of plan.Reader.
package haproxy
