// Package http2 writes and reads frames of HTTP/2 for tests, from RFC 9113 in the plainest way, so that the codec of
// edge has something else to agree with.
//
// It is slow, allocates everything, and knows no connection: what a frame means is the business of its test. Its names
// are those of golang.org/x/net/http2, of which it is a small part. Package interop holds the one against the other. It
// is here because a module that tests of edge require is in the module graph of every program that imports edge.
//
// A Framer writes whatever it is told, also what is wrong. It refuses to read a frame that breaks RFC 9113 §4 or §6, by
// a ConnectionError.
//
// # Ownership and limits
//
// One goroutine may write with a Framer while another one reads with it. A frame is read whole, so
// SetMaxReadFrameSize bounds what it holds.
package http2
