// Package language holds benchmarks of package lang beside the two languages for conditions that Go programs use, CEL
// and expr, and beside the same conditions written by hand.
//
//	go test -bench . ./language        in the folder bench
//
// Each benchmark evaluates one condition, or one template, for the request of a browser with a dozen fields. All get
// the same request. CEL and expr are asked as a proxy would ask them: programs are compiled once, and the variables
// that a condition names are looked up in the head when it is evaluated, as strings. lang has its own variables for
// that. A test compares the answers of all four.
//
// A load benchmark compiles a rule of five clauses from its text.
//
// Nothing here is linked into a program: the package has tests alone, so that edge-bench stays without CEL and expr.
//
// Threads: one. Each benchmark owns what it evaluates with.
package language
