// Package metering is the section [metrics] of a configuration: what is counted of requests, and how much room that may
// take. It counts nothing itself: package server/metrics does what it says.
//
// Another package may add keys to the section by a schema.Section that Extends it. It imports this one, so that there
// is something to extend.
//
// # Limits
//
// A server shows up to series_max lines of routes and upstreams. With more routes than a 25th of that, their durations
// are left out, and a warning says so.
//
// # Life cycle and threads
//
// An init function registers the section with package config. A Section is immutable after the configuration was read,
// and SectionOf is safe for any goroutine.
package metering
