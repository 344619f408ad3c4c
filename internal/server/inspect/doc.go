// Package inspect sees what a running server.Server has, for the admin surface: listeners, routes, upstreams, backends,
// connections and certificates, as the types of package admin. It changes one thing: what an operator asks of a
// backend.
//
// It makes nothing run, and holds no state of the Server: each answer is made of what Server.Parts returns at that
// moment.
//
// # Connections
//
// A connection is owned by its reactor, so each reactor is asked by a task, which looks at a few hundred of its slots
// and copies what it finds. The rest, such as texts and filters, is done by the goroutine that asks. A page goes on
// where the one before it has ended; connections that come and go meanwhile may be missing, and none is told twice
// unless its slot is used again.
//
// # Threads and ownership
//
// An Inspector is safe for any goroutine but a reactor's: it waits for them, two seconds at most for each answer.
package inspect
