// Package compiled holds what the compiler has to make of the hot path: functions that it must inline, and how many
// checks of bounds it may leave in the files that walk over bytes.
//
//	testdata/inlined.txt  one function a line: package, a space, its name as the compiler writes it
//	testdata/bounds.txt   one file a line: the most checks of bounds, a space, the file
//
// The lists belong to one release of Go, which the test names: with another one they are skipped. A number of
// bounds.txt may fall: then the test says so, and -update writes the list. It may rise where the new check stands in no
// loop over bytes: the commit says which it is.
//
// # Why lists
//
// A function that outgrows the budget of inlining costs a call on every request, and no test notices. A check of bounds
// in a loop over bytes costs a branch for each of them.
//
// # Limits
//
// The lists say nothing of how often a function is called: what is listed was seen in a profile.
package compiled
