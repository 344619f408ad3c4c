// Package edge is a proxy as a part of a program: an engine with one listener and a set of routes, in a few lines.
//
//	log.Fatal(edge.Serve("127.0.0.1:8080", proxy.Route{To: edge.Backends("10.0.0.1:80", "10.0.0.2:80")}))
//
// Serve is the least of it. A Server has fields for all else: filters, TLS, options of the engine and of the sessions.
// It starts and ends with the program, or serves until a signal comes.
//
// Backends makes a Destination of addresses alone; the Server connects them with its engine. Where a program has an
// engine of its own, or several listeners, it uses packages engine, upstream and proxy directly.
//
// # Configuration
//
// Nothing here reads a configuration file or logs requests: that is the binary, cmd/edge. An access log is set by
// Server.Listener.
//
// # Concurrency
//
// The methods of a Server are safe for any goroutine. Filters run on the reactor of their exchange: see package proxy.
package edge
