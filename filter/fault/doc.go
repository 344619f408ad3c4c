// Package fault is the filter type "fault": failures and delays on purpose, to see what clients and backends make of
// them.
//
//	[filters.chaos]
//	type      = "fault"
//	when      = 'header.x-chaos == "on"'
//	abort     = "1%"
//	status    = 503
//	delay     = "10%"
//	delay_for = "2s"
//
// It is no load generator, and nothing of it belongs into a configuration that is not for a test: the log has a line
// when a configuration with it is loaded.
//
// # What happens
//
// A request is delayed, aborted, both, or neither: the two shares are drawn independently of each other, by chance or
// by a key, whose requests then always fare alike, on every server and after a restart. A delay comes first. An aborted
// request is answered with a status or, with cut, by the end of its connection; a backend never sees it.
//
// # Life cycle, threads and ownership
//
// A filter is safe for all reactors. A delayed request is parked with a timer of its reactor: see package delay. A
// request that nothing happens to costs a random number or the hash of its key, and no allocation.
//
// # Limits
//
// So many requests are delayed at a time as delay_most says. Further ones are not delayed, and counted.
package fault
