// Package grpc is what a proxy has to know of gRPC calls: their types and deadlines, the status that ends them, and
// gRPC-Web, which is gRPC for browsers, whose scripts see no trailers (doc/PROTOCOL-WEB.md in the repository of gRPC).
//
//	application/grpc           Native    passes as it is
//	application/grpc-web       Web       the trailers follow the messages as one more frame
//	application/grpc-web-text  WebText   the same in base64, in pieces of which each may end with padding
//
// A failure of the proxy's own is said as grpc-status: StatusOf maps a status of HTTP, AddStatus writes it.
//
// A Quartet belongs to one goroutine, as the heads do. Of a text 256 bytes go into grpc-message. A deadline is 1000
// hours at the most.
package grpc
