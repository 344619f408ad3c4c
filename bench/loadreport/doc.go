// Package loadreport holds what runs of package load have measured, compares it with an earlier report, and writes it
// for people and programs.
//
// It measures nothing: edge-bench and package proxybench fill a Report. A row is one run, of one target under one load.
//
//	WriteText   the only row of a report in words, or a table of several
//	WriteJSON   everything and the facts of the machine; Read takes it back
//	WriteHTML   one page with plots, without scripts and without anything from a network
//	Compare     what changed in the rows that another report has too
//
// A comparison is of one run with one run. It says nothing of chance: a machine that did something else meanwhile looks
// like a change. What has to be certain is measured several times.
//
// A Report is a value, owned by what fills it. Once filled it is safe for any goroutine that reads.
//
// Limits: a page holds the curve of each row; some dozens of rows are some hundred kilobytes.
package loadreport
