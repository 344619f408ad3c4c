// Package edge is a proxy as a part of a program: an engine with listeners and a set of routes, in a few lines.
//
//	go get github.com/edge-proxy/edge
//
// The first program has two backends, which get requests by load and latency:
//
//	package main
//
//	import (
//		"log"
//
//		"github.com/edge-proxy/edge"
//		"github.com/edge-proxy/edge/proxy"
//	)
//
//	func main() {
//		route := proxy.Route{To: edge.Backends("127.0.0.1:3000", "127.0.0.1:3001")}
//		if err := edge.Serve("127.0.0.1:8080", route); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// It speaks HTTP/1, passes WebSockets, and retries where that is safe. It ends on SIGINT or SIGTERM, after the requests
// in progress.
//
// Serve is the least of it. A Server has fields for all else: filters, TLS, HTTP/2 and HTTP/3, several listeners, an
// access log, options of the engine and of the sessions. It starts and ends with the program, or serves until a signal
// comes.
//
// # Where to look next
//
//	proxy          routes, filters, answers, exchanges
//	proxy/handler  an http.Handler as the destination of a route
//	upstream       options of connections to backends; backend has the set of them
//	session        an HTTP server without a proxy
//	engine         connections and event loops without HTTP
//
// Backends makes a Destination of addresses alone; the Server connects them with its engine. A program that has an
// engine of its own uses packages engine, upstream and proxy directly.
//
// # Configuration
//
// Nothing here reads a configuration file. A program that wants one, with filters of its own, is in
// examples/configured.
//
// # Concurrency
//
// The methods of a Server are safe for any goroutine. Filters run on the reactor of their exchange: see package proxy.
package edge
