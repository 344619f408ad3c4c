// Package pingora reads the configuration of a server that is built with Pingora, and of proxies of its users, into a
// plan for edge.
//
// It is not a second reader of edge's configuration: edge loads these files as they are. The package rewrites them with
// the keys that edge's reference has, so that a file can grow.
//
//	text ─ internal/config/syntax ──► tree ─┬ known ────► [global], [upstream_defaults]: the keys of Pingora
//	                               └ sections ► listeners, routes, upstreams: [network], [http], [https],
//	                                            [[proxy.rules]], [[load_balancing.backends]]
//
// A key that has the same name and place in edge is copied. A key that edge does not know is a loss; a key
// that edge accepts and ignores is a note.
//
// Import may be called from any goroutine; what it returns belongs to the caller.
//
// Limits: the limits of plan.Reader and of package syntax.
package pingora
