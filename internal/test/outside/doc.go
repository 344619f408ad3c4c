// Package outside is a module of its own that adds to edge what a program of another project would: it can import no
// more than they can. Each file but this one is one addition, whole:
//
//	destination.go  a Destination: requests answered by a stream of its own
//	logfield.go     a member of the access log
//	section.go      a section of the configuration
//	method.go       a method of balancing
//
// Its tests use each over sockets, with clients of net/http, and hold each to 40 lines of code. An addition that gets
// longer, or that needs a change elsewhere, says that a contract of edge got worse. One more test uses package tinyufo
// as any program may, and holds what it did against a model by a checker of linearizability.
//
// # Not to be imported
//
// These are tests in the form of examples. What is meant to be copied stands in examples/.
//
// # Limits
//
// None: the additions bound nothing that edge does not bound.
package outside
