// Package haproxy reads the configuration of HAProxy into a plan for edge.
//
// It is not a HAProxy: it knows sections, their lines, and the conditions that can be told from a request and its
// connection.
//
//	text ─ read.go ──► sections, ── frontend.go ──► listeners, routes: acl.go, rules.go
//	                   lines        sequence.go ──► rules: conditions.go, fetches.go, actions.go, rates.go
//	                                backend.go ───► upstreams: server, balance, checks, times
//	                                import.go ────► findings about all the rest
//
// A frontend whose lines say where requests go, by what conditions of routes ask, becomes routes. HAProxy takes the
// first use_backend whose condition holds, edge the most specific route: where that is not the same, a route for what
// two lines both ask has the answer of the first. path_beg compares texts there: paths such as /apix for path_beg /api
// are among the losses.
//
// Any other frontend becomes rules, in the order in which HAProxy asks its lines: those that refuse requests, that have
// conditions of another kind, or that lead to backends with lines about requests. What is not known of a condition
// holds where a rule refuses, so that more is refused and nothing less. Elsewhere the rule is a loss.
//
// Every line of the file is in the result or among the findings.
//
// Import may be called from any goroutine; what it returns belongs to the caller.
//
// Limits: 100 000 lines, 500 values of one condition, and those of plan.Reader.
package haproxy
