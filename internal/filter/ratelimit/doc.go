// Package ratelimit is the filter type "rate_limit": so many requests of each client, or of each value of another key,
// in a time.
//
// It bounds no connections and no requests at a time: `limits` of a listener and `breaker` of an upstream do.
//
// # What is counted
//
// Requests, when they arrive, by the generic cell rate algorithm: at once as many as burst, and in the long run as many
// as rate. The default key is the address of the client, of IPv6 the first 64 bits. A key that is empty, as where the
// field is missing, is one as any other: all those requests share a count.
//
//	request ─► key ─► hash ─► cell of the table ─┬─ room: goes on                     allowed
//	                                             ├─ delay: parked until its turn      delayed
//	                                             └─ none: 429 and Retry-After         limited
//
// # Life cycle, threads and ownership
//
// All reactors share one table (package limits), whose memory is fixed. It is kept over reloads of the configuration as
// long as key, rate, burst and max_keys stay as they are; a new one begins with every burst whole. It knows the clock
// of the reactors alone, which does not jump when the time of day is set. A request costs its key, a hash and a
// compare-and-swap, and no allocation.
//
// # Limits
//
// max_keys is how many keys are told apart at a time. Where more are active, a key that would soon be whole again gives
// its cell to a new one, and begins anew when it comes back: a flood of made-up keys makes the limit lenient for
// others, never stricter. This is counted as evicted, and the log has a line each minute.
package ratelimit
