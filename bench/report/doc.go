// Package report writes what the commands of edge-bench have found, for people and programs: all of them have one page,
// one plot, one table and one way to write numbers.
//
//	Page, Section, Card   a file for a browser that loads nothing: rows of marks, plots, tables, the machine
//	Plot, Dots            lines on two axes; a picture that stands by itself
//	Table                 columns for a terminal, Markdown, or a page
//	Digits, Nanos, Count  numbers; Spread and Quantile what is known of several
//
// It measures nothing. A Report is what package micro fills; the other packages write theirs with what is above. It
// makes no statistics of its own either: medians and quartiles show the spread, and whether a change is one is decided
// by golang.org/x/perf/benchmath, as benchstat does.
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
