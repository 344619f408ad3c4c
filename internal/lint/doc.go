// Package lint holds the rules of this repository that a machine can check, as tests.
//
// Each rule is one file and one test: arrows.go says which package may import which, and
// TestArrows reads every Go file of the module and fails with one line per finding. Beside
// it stands a fixture that proves that the rule fires, since a rule that cannot fail checks
// nothing. There is no configuration and no plug-in; the standard library is all it uses.
//
//	make lint                                  all rules
//	go test ./internal/lint -run 'Arrows'      one rule
//
// A finding names file, line and symbol:
//
//	engine/conn.go:41: func-length: (*Conn).flush has 83 lines, 70 are allowed
//
// The way out of a finding is to mend the code. Where the rule is wrong for one place, a line
// in allow.txt says so with its reason:
//
//	func-length engine/conn.go:(*Conn).flush   a table of cases that reads better whole
//
// An exception that nothing needs any more is a finding too (TestAllow), so the list only
// holds what is true.
//
// One number bounds the whole: the lines that are linked into edge (TestLinkedLines).
//
// The rules check the working tree, committed or not; directories named testdata, bin and dist, and those with a
// leading dot, are left alone.
//
// Files are parsed once per test run and shared; nothing is type-checked for a rule, so they take
// about a second, and a package that does not compile yet is checked all the same. The price:
// rules know names, not types. A rule asks for "time.Now" by the import's name in that file.
//
// The folder elsewhere has no rules: it type-checks what is built for arm64 and for darwin.
package lint
