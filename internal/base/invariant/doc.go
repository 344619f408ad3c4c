// Package invariant holds the assertions that the rest of edge makes about itself.
//
// An assertion states what must be true of our own code: an owner, an order, a state that a
// callback may be called in. It is never about bytes from a peer: those are answered with an
// error, whatever they are. A failed assertion is a bug, and it panics on the spot.
//
// Assertions exist only in a build with
//
//	go build -tags invariants
//
// Without the tag On is the constant false and That has an empty body: the compiler inlines
// it and removes it, together with arguments that are plain values. An argument that is a
// call with effects is still evaluated, so where the condition itself costs something, or
// where the function is hot, the whole check stands in an if on the constant:
//
//	if invariant.On {
//		c.check()
//	}
//
// An Owner is the goroutine of a reactor: OnReactor fails a method of what the reactor owns when another goroutine
// calls it.
package invariant
