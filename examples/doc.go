// Package examples holds programs that show how the packages of edge are used. Each is a main package of its own; the
// tests of this one build them, run them and ask them something.
//
//	configured    the edge program with a filter of one's own, named in a configuration
//	discover      the edge program with a source of backends of one's own
//	echo          a TCP server on package engine
//	hello         an HTTP server on package session
//	filter        a proxy with one filter
//	https         a proxy that speaks TLS and HTTP/2 with its clients
//	http3         a proxy that speaks HTTP/3, too
//	loadbalancer  a server of one's own with flags and a configuration: two backends and a filter
//	lines         a chat over TLS: a service of one's own
//	nethttp       a ServeMux of net/http, moved over by handler.FromHTTP
//	plugin        a type of filters in a module of its own, for edge build
//	resp          a store that speaks the protocol of Redis: a service of one's own
//	services      three services that register themselves and find each other through edge
//	ssh           a server that blocks, on connections of event loops
//	traces        a proxy whose requests are spans in an OpenTelemetry collector
//	subrequest    two answers that a filter joins into one
//	udpecho       a UDP server on package engine
//	upgrade       handlers of net/http that stream, and a handler that takes over its connection
//	edge.toml     a configuration of the edge program to start from; docs/configuration.md leads to every key
//	https.toml    a configuration for HTTPS, HTTP/2, gRPC and WebSockets
//
// # What they are not
//
// They are not libraries: nothing imports them. They keep to what a reader has to see, and so leave out what a program
// for production would add, such as options for every limit.
//
// # Life cycle
//
// Each runs until SIGINT or SIGTERM, then finishes the requests in progress.
package examples
