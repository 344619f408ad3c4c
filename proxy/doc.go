// Package proxy has the parts of an HTTP proxy: routes, which choose where a request goes; filters, which look at
// requests and answers and change them; and destinations, which answer: backends, handlers, or the proxy by itself.
// Package edge makes a server of them.
//
// It holds no connection: package session has the streams of clients, package edge the connections to backends. Which
// version of HTTP either side speaks decides nothing but what a version cannot say: Via, how a tunnel is asked for, and
// whether an answer may close the connection. Both sides of an exchange live on one reactor, so nothing here locks.
//
// # The way of a request
//
//	head ─► what the listener asks for ─► filters ─► route ─► request filters ─► Destination.Open ─► Stream
//	                                                   To: a backend of an upstream: pick, take or dial
//	                                                   Answer, Redirect: a status of the route's own
//	                                                   handler.FromHTTP, and handlers of other packages
//	answer ◄─ response filters ◄─ head ◄──────────────────────────────────────────────────────────────┘
//
// An Exchange is that way in progress; run is the loop over its steps. It is pooled by its reactor: a Ref names it from
// elsewhere. Service.Fetch begins one without a client.
//
// # Snapshot
//
// Routes and filters are immutable in a Snapshot. Proxy.Swap puts another one in place at any time; each exchange keeps
// the one it began with.
//
// # Filters
//
// A Filter is a struct of optional functions, one for each phase. They are composed when a Snapshot is built, so a
// phase that no filter uses costs a comparison. What a Listener asks for is composed likewise when a Service is given
// it. Requests to a Forwarder lose hop-by-hop fields and get the forwarding ones before the filters that see what is
// sent.
//
// # Failures
//
// Every failure is an Error: an answer, a Proxy-Status field (RFC 9209) with its reason, and a defined fate of the
// connection; docs/errors.md has the table. An exchange is tried again by a RetryPolicy: where the origin has
// provably processed nothing, or where the request is idempotent, and its body, if any, was kept.
//
// # Limits
//
// Interim answers of one exchange, attempts, the size of a request body; docs/limits.md has them all.
package proxy
