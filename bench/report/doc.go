// Package report holds what a run of micro-benchmarks measured, compares it with an earlier one, and writes it for
// people and programs.
//
// It measures nothing: package micro fills a Report. It makes no statistics of its own either: medians and quartiles
// show the spread, and whether a change is one is decided by golang.org/x/perf/benchmath, as benchstat does.
//
//	WriteText        tables for a terminal
//	WriteJSON        every sample and the facts of the machine; Read takes it back
//	WriteBenchstat   the text of go test -bench, for benchstat and other tools
//	WriteHTML        one page with plots, without anything from a network, to be shown to others
//	Compare          what changed since another report, with its significance
//
// A result is one of ours, or a baseline of one of ours. Its ratio is taken within a round, in which all of a family
// are measured in turn, so that a clock that changes in the course of a run changes both sides of it. A comparison of
// two reports has no such protection: it tells how the baselines moved, which nobody has changed, and in which facts
// the machines differ.
//
// A Report is a value, owned by what fills it. Once filled it is safe for any goroutine that reads.
//
// Limits: a page holds every sample as a mark of its plot; some hundreds of results with some dozens of rounds are
// about a megabyte.
package report
