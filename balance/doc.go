// Package balance picks a backend for a request.
//
// It opens no connection and probes nothing, and knows neither time nor I/O. A View says which backends there are, what
// they weigh and which of them are open; a Picker chooses among those. A backend is an index; the caller knows what it
// stands for.
//
//	view := balance.NewView([]int{3, 1})       one for all reactors
//	rr := balance.NewRoundRobin(reactor)       one per reactor, each starting elsewhere
//	i := rr.Pick(view, 0, nil)                 -1 when none is open
//	view = view.With(0, false)                 backend 0 is closed: another View
//
// A request that is tried again keeps in a Tried which backends it has been to, so that it goes to none of them twice:
//
//	var tried balance.Tried
//	for {
//		i := rr.Pick(view, 0, &tried)
//		tried.Add(i)
//		...
//	}
//
// RoundRobin is fair over a cycle, the sum of the weights: backends of weight 3 and 1 are picked aaba, and not aaab, so
// that none gets a burst because it is heavy. While some are closed, the others share in the ratio of their weights.
// Backends of equal weight take turns in order, found by bit scans in words of 64; otherwise a pick walks all backends.
//
// Other methods implement Picker, also outside of this package: View and Tried answer what they need to know.
//
// Ownership: a View is immutable. A Picker is owned by one goroutine, a Tried by its request. A pick allocates nothing
// while the backends and their weights stay the same. Limits: 65535 backends in a view, weights up to 65535, and a
// Tried holds the last 7.
package balance
