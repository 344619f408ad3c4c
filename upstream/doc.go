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
// # Between reactors
//
// A reactor without an idle connection to an address asks, by mail, the one that seems to have most of them, and takes
// over the one it gives: the oldest. Meanwhile the exchange waits, 1 ms at the most; then it opens a connection of its
// own, and what comes late is parked. How many a reactor has is published as a hint, which may be wrong: then the
// answer is that there is none.
//
// A connection that is secured, or speaks HTTP/2, stays where it is.
//
// # Shared connections
//
// An HTTP/2 connection is never parked: a set for each address and reactor keeps it while it takes exchanges, and gives
// it to as many as there is room for, also while it is being opened. Another one is opened when all are full. One that
// the backend leaves (GOAWAY), or that is old or worn out, ends with its last exchange. With Auto the handshake tells
// the protocol; exchanges wait for it in line.
//
// # A limit of connections
//
// With Options.PerBackend every connection holds a slot, be it dialling, in use, idle or on its way. Where none is
// left, exchanges wait in line on their reactor. Whatever becomes free, a slot or an idle connection, goes by mail to
// the one that has waited longest, on whichever reactor. A slot is never given back while somebody waits for it. Where
// connections cannot move, one is closed for who has waited elsewhere for 10 ms.
//
// # Names
//
// A backend is an address or a host name. Names are resolved by a Resolver on ordinary goroutines and again from time
// to time; a name stands for all its addresses, used in turn. A backend whose name does not resolve is down, like one
// that was marked so, and comes back when it does.
//
// # Threads and ownership
//
// An Upstream is safe for any goroutine where it says so; Take, a Waiter, and a Conn belong to one reactor. A
// connection that moves becomes another Conn.
//
// # Limits
//
// Options.Idle connections are parked over all reactors, each for Options.IdleTimeout, or what the origin promises, at
// the most, and none that is older than Options.Lifetime or has served Options.Requests. Options.PerBackend bounds
// those that are open, Options.Queue and Options.QueueTimeout the wait for one.
package upstream
