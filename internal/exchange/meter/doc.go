// Package meter counts what a proxy has done, by route and by upstream. It knows no names: a number stands for
// each route, listener and upstream.
//
// It is not the counters of a Proxy as a whole, which are proxy.Stats, and not what Prometheus reads: package
// internal/server/metrics adds up and names what is counted here.
//
//	reactor 0: Route.Count, Upstream.Observe ── cells ──┐
//	reactor 1: Route.Count, Upstream.Observe ── cells ──┴── Take, on each reactor ──► Deltas, for any goroutine
//
// # What a count costs
//
// Plain additions to memory of the reactor: a status and a duration of a route, durations of an upstream. Nothing is
// allocated, but for the first request of a method on a listener. Take empties the cells that were touched since the
// last Take, and no others: a thousand idle routes cost nothing. What it returns are differences, so that a Take that
// comes late, or whose result was not looked at yet, loses nothing.
//
// # Histograms
//
// A Histogram counts in the buckets that are shown, 1 ms to 30 s, so that they are exact. There is at most one bound
// between two powers of 2, so that the bucket of a duration is found by its bit length and one comparison.
//
// # Life cycle, threads and ownership
//
// Meters.Route, Upstream and Listener make counters, for any goroutine and at any time; their numbers are never used
// twice. Each may be used for as long as its caller likes. Count, Observe and Take are for the reactor whose index
// they are given. Deltas belong to the caller of Take.
//
// # Limits
//
// A Route has cells for methods that came, 10 at most for each listener: 6 classes of statuses, or 65 statuses of
// Exact. A reactor remembers the routes and upstreams that were touched since the last Take, each once.
package meter
