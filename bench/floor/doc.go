// Package floor is a TCP relay that parses nothing: the least that a proxy on this machine can
// cost, and the denominator of every ratio of the benchmark.
//
// For each accepted connection it opens one to the origin and carries bytes both ways: read, write,
// and nothing in between. It knows no HTTP, no pool, no timer, no log.
//
// A request on a warm connection costs four calls and its share of waiting:
//
//	client ──read──▶ ┌───────┐ ──write─▶ origin
//	                 │ Relay │
//	client ◀─write── └───────┘ ◀──read── origin
//
// Each descriptor is registered once, edge-triggered. A read shorter than the buffer means drained,
// so that no call is spent on EAGAIN; after FIN or an error it is read to its end.
//
// Back-pressure: bytes that one side does not take are owed to it, and the other side is not read
// until they have left. So at most one read buffer is owed per direction. A half close is passed on
// after the bytes before it; when both directions have ended, both sockets are closed.
//
// Life cycle: New, Serve in one goroutine, Stop from any, Close when Serve has returned.
//
// Threads and ownership: everything belongs to the goroutine in Serve; no allocation once as many
// connections were open as are open now.
//
// Limits: readBytes a read; the rest is the kernel's.
package floor
