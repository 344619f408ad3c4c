// Package compiled checks what the compiler makes of the hot paths: which functions it inlines, and how many checks of
// bounds are left. A change for the worse shows in no other test, only in the time of each request.
//
// testdata/inlined.txt and testdata/bounds.txt are of one release of Go on amd64; elsewhere the tests are skipped. The
// latter is written by
//
//	go test ./internal/lint/compiled -run Bounds -update
package compiled
