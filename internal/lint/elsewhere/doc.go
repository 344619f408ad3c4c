// Package elsewhere checks that edge builds for systems other than the system that runs its tests.
//
// It is one test: TestTypes type-checks the packages of all modules, with their tests, as they are for Linux on arm64,
// and those that know no descriptor as they are for darwin. It reads them, and all that they import, from their source:
//
//	go list -deps -test ──► files of that system ──► go/parser ──► go/types
//
// Functions of other projects, and of the standard library, are read without their bodies. So the whole takes about ten
// seconds of one processor; the compiler, which go vet needs for what a package imports, takes minutes.
//
// # Limits
//
// Types and constants are all that is looked at. Nothing is linked, and the checks of go vet are the checks of the
// system that runs them: make others has both for these systems, and make soak runs it.
package elsewhere
