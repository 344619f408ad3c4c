// Package metrics gives names to what the parts of a server count, and shows it as Prometheus reads it.
//
// It counts next to nothing itself: the parts count, each reactor for itself. A Gatherer asks all reactors to copy
// their numbers out, and a Server adds them up in a Sample, which Counters.Show puts in the place of the one before.
//
//	engine, session, upstream, proxy ── Gatherer ──► Sample ── Show ──► Counters ── rows ──► Registry ──┐
//	internal/exchange/meter: routes, upstreams ──── Gatherer ──► Traffic ────────────────────────────┴─► Pages
//
// # Rows
//
// A row joins the name of a series with the field of a struct of counters, by the name of the field. A field that no
// row names is a failure of a test, unless that test lists it with a reason.
//
// # Reactors are not delayed
//
// A round asks all reactors at once. Each copies some 32 structs, or 256 routes, in one turn, and goes on in the next
// one. Of routes it looks only at those that had requests since the last round. A reactor that does not answer within
// 100 ms is shown as it was, and edge_loop_stale says so.
//
// # Counters never fall
//
// What a reload takes away is counted to its end by Retire. Its counters stay in the registry under its name, and the
// counters of a successor with the same name continue them. Its gauges become 0. The series of a route that is gone
// stay for an hour, and are a part of the route "other" then.
//
// # Threads and ownership
//
// Reading the registry, Traffic and Pages are safe for any goroutine. Show, Retire, Gather and what registers series
// are for one goroutine at a time. A Sample that was shown is immutable.
//
// # Limits
//
// Traffic shows up to [metrics] series_max lines. Of the backends of an upstream 1000 have lines of their own. Pages
// are kept for four readers that come after each other; a page that is read has as much memory as its text.
package metrics
