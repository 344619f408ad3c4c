// Package changes says what a reload does, before it does it: which entries of a configuration are added, removed and
// changed, by which keys, and which connections that touches.
//
// It compares two configurations, and neither starts nor asks anything: package server knows how many connections are
// open, and applies a configuration. The order of entries is the order of the files, removed ones last.
//
// # Which connections a reload touches
//
//	of clients    none is closed: an address that goes stops to accept, and its connections are served to their end
//	to backends   connections of an upstream or pool with new options, or of a backend that goes, are closed once they
//	              are idle; what is under way on them runs to its end
//
// A key that takes effect at a restart changes nothing until then. An upgrade of the binary is a restart in that sense:
// the new process begins with the files as they are, and takes over the sockets.
//
// # Threads and ownership
//
// A Diff belongs to the caller of Of. It keeps nothing of the configurations but names and addresses: no value of a
// key, which may be secret.
package changes
