// Package report sends panics, errors of the error log, and bursts of failed requests to Sentry.
//
//	error log ── Handler ──┐
//	                       ├──► once in 10 minutes for each kind ──► 64 events that wait ──► Sentry
//	counters ── watch ─────┘
//
// # Configuration
//
// The section [sentry] is this package's. A reload that changes it begins with another project at once; what waits for
// the one before is sent as long as 2 s.
//
// # Threads and ownership
//
// A line of the error log is taken on the goroutine that logs it, which may be a reactor's: it looks up when an event
// of the kind was last sent, copies the texts of the line where that is long ago, and does not wait. All else is done
// by two goroutines, which there are only while the configuration has the section.
//
// # Secrets
//
// Events have neither fields nor bodies of requests, no host, no path, no query, and the address of a client only with
// client_ip. The number of a request leads to the rest, by "edge why" and the access log.
//
// # Failures
//
// An event that Sentry does not take in 5 s, or refuses, is lost and counted, as are those that find no room, and those
// that Sentry asks not to be sent for a time. The error log says so once a minute. An event of the kind may come again
// after a minute. The end of the process waits 2 s.
package report
