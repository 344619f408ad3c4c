// Package haproxy reads the configuration of HAProxy into a plan for edge.
//
// It is not a HAProxy: it knows sections, their lines, and the conditions that can be told from a request and its
// connection.
//
//	text ── read.go ──► sections, ── frontend.go ──► listeners; sites: actions.go, conditions.go, fetches.go
//	                    lines                        services
//	                                 backend.go ───► upstreams
//	                                 words.go ─────► findings about all the rest
//
// A frontend is a site: lines about requests are its steps, use_backend lines its branches, and backends are targets
// with steps of their own. The order is HAProxy's. Conditions compare a path in normal form, where more spellings
// are the same, and have the form as it came beside it, for where that matters.
//
// Every line of the file is in the result or among the findings.
//
// Import may be called from any goroutine; what it returns belongs to the caller.
//
// Limits: 1000 words of a line, 500 values of one condition, and the limits of plan.Reader.
package haproxy
