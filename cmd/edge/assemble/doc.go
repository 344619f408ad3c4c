// Package assemble builds edge programs that are linked with modules of others: what the command edge build does.
//
// It loads no code into a program that runs, and it is no package registry: the go command finds modules, checks their
// sums and compiles.
//
// A Job names the modules, the version of edge and the file to write. Run writes a module of its own into a temporary
// folder, whose main package is cmd/edge and one more file:
//
//	go.mod       requires edge and the modules in the versions asked for; folders are replacements
//	*.go         the files of cmd/edge of that version
//	modules_added.go   import _ "example.com/tenant"
//
// The files of cmd/edge are copied since no module can import a main package, and since the go command refuses overlays
// of files in its module cache. The module has a path below the path of edge, so it may import what is internal there.
//
// Then the program is compiled into a temporary file beside the one asked for and started twice, by "edge check" with
// an empty configuration and by "edge modules". Only when both end well does it get its name: there is never half a
// program, and an earlier one of that name stays until then.
//
// # Threads
//
// Run belongs to one goroutine and blocks for as long as the compiler takes: seconds, or minutes with an empty cache.
//
// # Limits
//
// What the go command and the program print is cut to its first lines. The program has startTimeout for each start.
package assemble
