// Package handler serves an http.Handler by the proxy, as the destination of a route: a ServeMux moves over as it is,
// and its routes can be mixed with backends.
//
//	proxy.Route{Path: "/app", To: handler.FromHTTP(mux)}
//
// A handler runs on a goroutine of its own, and the exchange stays on its reactor; what passes between them is bounded
// both ways. However many handlers stream, they take no worker of those that run blocking filters:
//
//	reactor                              the handler's goroutine
//	request body ─► in, 64 KiB ────────► Request.Body
//	answer       ◄─ 64 KiB on order ──── ResponseWriter
//
// Hijack makes a net.Conn of the same two ways: a tunnel through the exchange.
//
// A handler that reads slowly pauses its client, and a handler that writes fast waits for it.
//
// # Concurrency
//
// A Destination of FromHTTP is safe for any goroutine. The http.ResponseWriter belongs to the handler's goroutine, as
// with net/http; the body of the request may be read in another one, and be closed meanwhile.
package handler
