// Package admission bounds the requests that are under way at the members of a service, and keeps those in a line that
// have to wait for room.
//
// It does not choose the member: its caller, package proxy, picks one and asks for a place there. Package upstream has
// the line of exchanges that wait for a connection.
//
// # Life of a request
//
//	Crowded? ──no──► pick, Hold ──yes──► … under way … Leave ─► the first of the line is woken
//	    │yes             │no: all are full
//	    └────────────────┴─► Wait ─► its turn: Asker.Choose, OnTurn
//	                              ─► too late: OnRefused
//
// A place is counted at the Member, by one atomic number that all reactors write: a limit of one is one, whatever the
// number of reactors, and holds over reloads. It is counted only where there is a limit.
//
// # A limit that is found
//
// With Options.Adaptive the requests under way at all members together have a limit, too, which limits.Concurrency
// finds by their latency. Reactors count in plain memory and tell the others at the end of each tick: see meter.
//
// # The line
//
// A Limiter has one line, kept as a list on each reactor, since an exchange never changes its reactor. A member that
// gets room has the reactor woken whose first request has waited longest; that one gives places while there are any and
// passes the turn on. So requests are served by class, and in the order in which they came, but for those that come in
// the same tick on different reactors.
//
// A request waits for Options.Wait at the most while the line was empty within the last 100 ms, or the last 100 places
// that came free. In a line that has not been empty for so long it waits for 5 ms, or for five such places: see Line.
// Those that wait for a connection, in package upstream, all wait for the same time: how fast connections come free
// says little of how fast requests are served, since one of HTTP/2 serves many.
//
// # Threads and ownership
//
// A Limiter is safe for any goroutine where it says so. A Waiter belongs to the reactor of its request. No lock is
// taken.
//
// # Limits
//
// Options.Pending requests wait. Places are counted up to 2^31.
package admission
