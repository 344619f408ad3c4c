// Package upstream keeps the connections to the backends of one service: which backend is next, an idle connection of
// it or a fresh one, and what becomes of a connection afterwards.
//
// It knows sessions and addresses; it knows no routes and answers no client. What to do when a backend fails is for
// whoever asked: package proxy.
//
// # Life of a connection
//
//	Pick(tried) ─► backend ─► Take ─► idle and quiet? ──yes──► Open … exchange … OnIdle ─► parked
//	                                     │no                                         └──► closed: age, pool full
//	                                     └──► dial ─► Open …
//
// Each reactor has its own shard of idle connections and its own picker, so nothing here takes a lock. The connection
// that was parked last is taken first: few stay warm and the others grow old.
//
// # Names
//
// A backend is an address or a host name. Names are resolved by a Resolver on ordinary goroutines and again from time
// to time; a name stands for all its addresses, used in turn. A backend whose name does not resolve is down, like one
// that was marked so, and comes back when it does.
//
// # Threads and ownership
//
// An Upstream is safe for any goroutine where it says so; Take, and a Conn, belong to one reactor.
//
// # Limits
//
// Options.Idle connections are parked over all reactors, each for Options.IdleTimeout at the most.
package upstream
