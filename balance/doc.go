// Package balance picks a backend for a request.
//
// It opens no connection and probes nothing: a Set says which backends there are, what they weigh and which of them are
// up, and a RoundRobin takes turns among those. A backend is an index; what stands behind it is the caller's.
//
//	set := balance.NewSet([]int{3, 1})           one per upstream
//	rr := balance.NewRoundRobin(set, reactor)    one per reactor, each starting elsewhere
//	i := rr.Pick(nil)                            -1 when none is up
//	set.SetUp(i, false)                          from any goroutine; every picker skips it from now on
//
// A request that is tried again remembers where it has been in a Tried, so that it does not go there twice:
//
//	var tried balance.Tried
//	for {
//		i := rr.Pick(&tried)
//		tried.Add(i)
//		...
//	}
//
// Turns are fair over a cycle, the sum of the weights: backends of weight 3 and 1 are picked aaba, and not aaab, so
// that none gets a burst because it is heavy. While some are down, the others share in the ratio of their weights.
// Backends of equal weight take turns in order, found by bit scans in words of 64; otherwise a pick walks all backends.
//
// Ownership: a Set is safe for any goroutine. A RoundRobin is owned by one goroutine, a Tried by its request. Nothing
// allocates after New. Limits: 65535 backends in a set, weights up to 65535, and a Tried remembers the last 7.
package balance
