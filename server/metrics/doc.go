// Package metrics gives names to what the parts of a server count, and lists it in a registry.
//
// It counts next to nothing itself: the parts count, each reactor for itself. A Server copies everything out into a
// Sample, which Counters.Show puts in the place of the one before.
//
//	engine, tlsconn, session, upstream, proxy ── tally.Add ──► Sample ── Show ──► Counters ── rows ──► Registry
//
// # Rows
//
// A row joins the name of a series with the field of a struct of counters, by the name of the field. A field that no
// row names is a failure of a test, unless that test lists it with a reason.
//
// # Counters never fall
//
// What a reload takes away is counted to its end by Retire. Its counters stay in the registry under its name, and those
// of a successor with the same name continue them. Its gauges become 0.
//
// # Threads and ownership
//
// Reading the registry, and counting, is safe for any goroutine. Show, Retire and what registers series are for one
// goroutine at a time. A Sample that was shown is immutable.
package metrics
