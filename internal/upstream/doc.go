// Package upstream keeps the HTTP connections to the members of a backend.Set: idle ones, shared ones, and the
// exchanges that wait for one.
//
// It knows sessions and addresses; it knows no routes, answers no client and does not choose the backend. What to do
// when a backend fails is decided by its caller: package proxy.
//
// # Life of a connection
//
//	View.Pick ─► member ─► Take ─► idle and quiet? ──yes──► Open … exchange … OnIdle ─► parked
//	                                    │no                                         └──► closed: age, pool full
//	                                    └──► dial ─► Open …
//
// Each reactor has its own shard of idle connections, so nothing here takes a lock. The connection that was parked last
// is taken first: few stay warm and the others grow old. Take is the file to begin with: its steps stand in their
// order.
//
// # Members that come and go
//
// A member that joins the set has connections when it is first picked. When one leaves, its idle connections are
// closed; exchanges that have it, or wait for it, go on. A member that stays keeps all that is kept for it.
//
// # Between reactors
//
// A reactor without an idle connection to an address asks, by mail, the reactor that seems to have most of them, and
// takes over the one it gives: the oldest. Meanwhile the exchange waits, 1 ms at the most; then it opens a connection
// of its own, and what comes late is parked. How many a reactor has is published as a hint, which may be wrong: then
// the answer is that there is none.
//
// A connection that is secured, or speaks HTTP/2, stays where it is.
//
// # Shared connections
//
// An HTTP/2 connection is never parked: a set for each address and reactor keeps it while it takes exchanges, and gives
// it to as many as there is room for, also while it is being opened. Another one is opened when all are full. A
// connection that the backend leaves (GOAWAY), or that is old or worn out, ends with its last exchange. With Auto the
// handshake tells the protocol: such a connection is a probe, and exchanges wait for it in the queue.
//
// # A limit of connections
//
// With Options.PerBackend every connection holds a slot, be it dialling, in use, idle or on its way. Where none is
// left, exchanges wait in the queue of their reactor. Whatever becomes free, a slot or an idle connection, goes by mail
// to the exchange that has waited longest, on whichever reactor. A slot is never given back while an exchange waits for
// it. Where connections cannot move, one is closed for an exchange that has waited elsewhere for 10 ms.
//
// # Threads and ownership
//
// An Upstream is safe for any goroutine where it says so; Take, a Waiter, and a Conn belong to one reactor. A
// connection that moves becomes another Conn.
//
// # Limits
//
// Options.Idle connections are parked over all reactors, each for Options.IdleTimeout, or what the origin promises, at
// the most, and no connection that is older than Options.Lifetime or has served Options.Requests. Options.PerBackend
// bounds those that are open, Options.Queue and Options.QueueTimeout the wait for one.
package upstream
