// Package micro measures every hot function of edge beside what else one would use for it: fasthttp,
// net/http, netpoll, the timers, locks and channels of Go.
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
// Run and the benchmarks own nothing of each other: whatever a benchmark starts (engines, servers,
// sinks) ends with it, but for the pollers of netpoll, which sleep. Run sets the flag test.benchtime
// while it lasts, so only one Run at a time.
package micro
