// Package stream is the contract between a message of HTTP and the connection that carries it, for all versions: a
// Stream sends the one half of an exchange, a Receiver receives the other. Package session explains it, and makes
// streams; programs use the names that session has for them.
//
// The rest is for the makers of streams, which bound times and sizes. Pace is the time that a client has for a body or
// an answer, Patience the time that an origin has. Framing and TunnelState say how far a message and an exchange have
// come. It knows no version of HTTP and no codec.
//
// # Ownership
//
// A Stream, its Receiver and all that is kept for them belong to the reactor of their connection. Heads and bytes are
// borrowed for the time of one call, in both directions.
package stream
