// Package edge puts an HTTP reverse proxy into a Go program, in a few lines: addresses to listen on, routes, and the
// servers that requests are sent to.
//
// The first program is a load balancer before two servers, which get requests by load and latency:
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
//	proxy/cache    a cache of answers before the destination of a route
//	backend        the servers of a service: addresses and weights, and which of them are up
//	program        a main with a configuration file, flags, reloads and upgrades
//	session        an HTTP server without a proxy
//	engine         connections and event loops without HTTP
//
// Backends makes a Destination of addresses alone, To also takes options of the connections. Either is for the routes
// of a Server, which connects them with its engine.
//
// # Configuration
//
// Nothing here reads a configuration file. A program that wants one begins with package program, and keeps its filters:
// examples/configured is one of a few lines.
//
// # Concurrency
//
// The methods of a Server are safe for any goroutine. Filters run on the reactor of their exchange: see package proxy.
package edge
