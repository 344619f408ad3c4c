// Package slab keeps values of many types for the exchanges of a reactor, without an allocation for each: a slot of
// every type for every exchange, found by the number of the exchange.
//
//	Kind[T] ─► Set.columns[slot] ─► chunks[number/64] ─► entry[number%64] ─► *T
//	one in a process    one for each reactor       made when an entry of it is used, given back when its numbers are
//
// # Life cycle, threads and ownership
//
// A Kind is made once, as a variable of a package. A Set belongs to a reactor, which alone takes and returns numbers
// and clears what they have. Of may also be called by the goroutine that owns the holder of a number at the time; the
// two meet where a Set grows, which a mutex guards. Values do not move: a pointer holds until its number is cleared.
//
// # Limits
//
// 4096 kinds. Each takes memory for 64 holders at a time, which Set.Bytes counts.
package slab
