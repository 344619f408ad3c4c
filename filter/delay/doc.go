// Package delay holds exchanges back for a time: requests that come faster than a rate, and those that a test of faults
// slows down.
//
// It is no queue: each exchange has a time of its own, and nobody waits for another one.
//
//	Hold ─► parked, a timer of its reactor runs ─► the time is over: the exchange goes on with its verdict
//	                     └────────────────────────► the client leaves, the exchange ends: Leave, the timer is stopped
//
// # Life cycle, threads and ownership
//
// A Line belongs to a filter. Hold and Leave run on the reactor that owns the exchange: Hold in a phase that may park,
// Leave in the phase Log. There is no goroutine. Exchanges that are held when a server drains go on when their time is
// over, as any request in progress, and are ended with the others at the end of the grace.
//
// # Limits
//
// A Line has a number of places. One that is full refuses: its caller says what becomes of the request. A held exchange
// costs two allocations, a request that is not held none.
package delay
