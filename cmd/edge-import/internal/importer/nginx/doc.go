// Package nginx reads the configuration of nginx into a plan for edge.
//
// It is not an nginx: it follows the rules by which nginx chooses a server and a location and by which directives hold
// in inner blocks. What cannot be carried is among the findings.
//
//	text ─ lex.go ──► tree, with ── listeners.go ► listeners; servers.go ──► sites
//	       includes   lines         locations.go ► branches, in the order of nginx; expression.go (paths)
//	                                rewrite.go ──► steps: return, rewrite, set, if; tests.go (conditions), maps.go
//	                                content.go ──► targets: guards.go, limits.go (refusals), proxy.go
//	                                upstreams.go ► upstreams; import.go ─► services of stream
//	                                words.go ────► findings about all the rest
//
// What differs between the two, and what is done about it:
//
//   - nginx compares decoded paths whose slashes are merged, and beginnings of texts where edge has segments. Routes
//     compare as edge does; a rule, which all that refuses has, compares as nginx does.
//   - A regular expression is carried where edge reads it as nginx does: see expression.go. Others are unknown, and
//     where they refuse requests, all are refused that they may match.
//   - set makes constants, where the value has no variable of a request. They are put in their places. Others are
//     local.NAME.
//   - What a request is answered with where edge cannot do what the file says is 503, never another location; where a
//     guard is not carried, 403.
//
// Every directive of the file is in the result or among the findings: what nothing has used is found at the end.
//
// Import may be called from any goroutine; what it returns belongs to the caller.
//
// Limits: 64 blocks or files in each other, 100 000 directives, and the limits of plan.Reader.
package nginx
