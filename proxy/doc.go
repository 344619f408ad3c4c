// Package proxy joins a stream from a client with one to an origin: routes, filters, retries, answers of its own.
//
// It never asks which version of HTTP either side speaks, and it holds no connection: streams come from package
// session, connections from package upstream. Both sides of an exchange live on one reactor, so nothing here takes a
// lock.
//
// # The way of a request
//
//	head ─► early filters ─► route ─► request filters ─► destination
//	                                                        │ upstream: pick, take or dial, head and body pass
//	                                                        │ handler:  an http.Handler on the offload pool
//	                                                        └ answer:   a status of the route's own
//	answer ◄─ response filters ◄─ head ◄──────────────────────┘
//
// An Exchange is that way in progress. It is pooled by its reactor; whoever must name it from elsewhere keeps a Ref.
//
// # Snapshot
//
// Routes and filters are immutable in a Snapshot. Proxy.Swap puts another one in place at any time; each exchange keeps
// the one it began with.
//
// # Filters
//
// A Filter is a struct of optional functions, one for each phase. They are composed when a Snapshot is built, so a
// phase that nobody uses costs a comparison. What the proxy does of its own (hop-by-hop fields, forwarding fields,
// limits) is attached the same way.
//
// # Failures
//
// Every failure has an answer, a Proxy-Status field (RFC 9209) with its reason, and a defined fate of the connection;
// docs/operations.md has the table. An exchange is tried again only where the origin has provably processed nothing, or
// where the request is idempotent and came without a body.
//
// # Limits
//
// Interim answers of one exchange, attempts, the size of a request body; docs/limits.md has them all.
package proxy
