// Package micro measures hot functions of edge beside what else one would use for them: fasthttp, net/http, netpoll,
// the timers, locks and channels of Go, caches and rings of others. What has no such counterpart, or none that a page
// tells of, has its benchmark in its own package.
//
// It is not about a proxied request on real sockets: that is bench/proxybench. Here one function runs
// in a loop, on one machine, in one process.
//
// Entries lists the benchmarks. Each is either ours, or a baseline of one of ours. They run in two ways:
//
//	go test -bench . ./bench/micro        ordinary Go benchmarks, for benchstat
//	edge-bench micro                      interleaved rounds with ratios, without a Go toolchain
//
// The second is what a comparison should rest on. Run measures one of ours and its baselines by turns,
//
//	round 1: edge, fasthttp, nethttp    round 2: edge, fasthttp, nethttp    …
//
// and takes each ratio within a round, so that a clock that changes in the course of a run changes both
// sides of it.
//
// Run and the benchmarks own nothing of each other: whatever a benchmark starts (engines, servers) ends with it, but
// for the pollers of netpoll, which sleep.
// Run sets the flag test.benchtime while it lasts, so only one Run at a time.
//
// A test holds what the compiler has to make of the hot path: functions that it must inline, and how many checks of
// bounds it may leave in the files that walk over bytes.
//
//	testdata/inlined.txt  one function a line: package, a space, its name as the compiler writes it
//	testdata/bounds.txt   one file a line: the most checks of bounds, a space, the file
//
// The lists belong to one release of Go, which the test names: with another one they are skipped. A number of
// bounds.txt may fall: then the test says so, and -update writes the list. It may rise where the new check stands in no
// loop over bytes: the commit says which it is. The lists say nothing of how often a function is called: what is listed
// was seen in a profile.
package micro
