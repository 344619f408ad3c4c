// Package selfcheck asks a listener whether it serves: it is the client of one connection, which package server feeds
// to the listener as if it had been accepted.
//
// It is no health check of backends (package upstream/health): no request leaves the process, so that a backend that is
// down does not fail it.
//
// # What is asked
//
//	H1    OPTIONS *, which the proxy answers itself (RFC 9110 §9.3.7): any answer below 500 will do
//	H2C   the preface of HTTP/2 with prior knowledge: the listener answers with its SETTINGS
//	TLS   a handshake without a name, which is answered with the listener's default certificate; then H1 where
//	      HTTP/1 was agreed on
//
// # Threads and ownership
//
// Each function owns its connection until it returns, and blocks until the deadline of that connection at most.
//
// # Limits
//
// A head of an answer is read up to 64 KiB.
package selfcheck
