// Package limits counts and limits what comes by key: requests by client, calls by customer, connections by address.
//
// It reads no clock, starts no goroutine, knows no HTTP and keeps no state outside the process: each call is told the
// time and the hash of a key, and costs some nanoseconds and no allocation. The memory is fixed when a structure is
// made, whatever the number of keys. There is nothing to close: what is no longer referred to is collected.
//
//	LocalGCRA, SharedGCRA            a rate with a burst for one thing: Take; Lease for cells that all cores write
//	LocalGCRATable, SharedGCRATable  the same for each key, in 8 bytes
//	LocalInFlight, SharedInFlight    how many at once for each key: Enter gives a Guard, Leave ends it
//	LocalRate, SharedRate            events of each key in a sliding window
//	LocalEstimator, SharedEstimator  events of each key since the start
//	TopK, SpaceSaving                the keys with the most events
//
// A key is its hash, from one Hasher for all that is compared or merged. Its seed is secret, so no client can choose
// keys that count for each other. GCRA and in-flight tables answer for a key, but for keys whose fingerprints of 20
// bits meet in a bucket; Rate, Estimator and TopK estimate, with bounds that their comments give. None has a false
// sense of time: now is nanoseconds from 0 of any clock, the monotonic one at best. It may go back a little, as
// goroutines that read it once for many events make it do; each type says what happens then.
//
// Ownership: a Local type is owned by one goroutine, such as an event loop, and is plain memory. What loops count is
// put together by message: Snapshot copies, the copy is handed over, Merge adds it up. A Shared type is safe for any
// goroutine; its calls cost locked operations, two to ten times as much, and on the same key processors wait for each
// other.
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
