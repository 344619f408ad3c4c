// Package limits limits and counts events by key: requests of a client, calls of a customer, connections of an address.
//
// It reads no clock, starts no goroutine, knows no HTTP and keeps no state outside the process: each call is told the
// time and the hash of a key, and costs some nanoseconds and no allocation. The memory is fixed when a structure is
// made, whatever the number of keys. There is nothing to close: the garbage collector takes it.
//
//	LocalGCRA, SharedGCRA            a rate with a burst for one thing: Take; Lease for cells that all cores write
//	LocalGCRATable, SharedGCRATable  the same for each key, in 8 bytes
//	LocalInFlight, SharedInFlight    how many at once for each key: Enter gives a Guard, Leave ends it
//	LocalRate, SharedRate            events of each key in a sliding window
//	LocalEstimator, SharedEstimator  events of each key since the start
//	Concurrency                      how many requests a service takes at a time, by their latency
//	TopK, SpaceSaving                the keys with the most events
//
// A key is given by its hash. All hashes that are compared or merged are of one Hasher, whose seed is secret: so no
// client can choose keys that count for each other. GCRA and in-flight tables are exact for a key, unless the
// fingerprints of two keys, 20 bits each, meet in a bucket. Rate, Estimator and TopK estimate; their comments give
// the bounds.
//
// Times are nanoseconds, from 0, of any clock; a monotonic one is best. They may go back a little, as the times of
// goroutines do that read the clock once for many events. Each type says what happens then.
//
// Ownership: a Local type is owned by one goroutine, such as an event loop, and is plain memory. What loops count is
// put together by message: Snapshot copies, the copy is handed over, Merge adds it up. A Shared type is safe for any
// goroutine. Its calls are locked operations, which take two to six times as long; processors that ask for the same
// key wait for each other.
//
// A limit by key, as a server asks it for each request:
//
//	hasher := limits.NewHasher()
//	table := limits.NewSharedGCRATable(limits.Quota{Count: 10, Per: time.Second, Burst: 20}, 100_000)
//	if ok, wait := table.Take(hasher.Addr(client), now, 1); !ok {
//		answer 429 with Retry-After: limits.Seconds(wait)
//	}
//
// Limits: a table has 2^26 buckets at most, a row of a sketch 2^26 counters, SpaceSaving 2^24. Constructors panic
// where an option is out of its range; Quota.Validate tells before. With -tags invariants what changes checks itself.
package limits
