// Package build says which build of the program runs: its version, its commit, and the SHA-256 of its file.
//
// It knows also which modules of others are linked into it: those that edge build was asked for, and the modules of a
// program that imports edge.
//
// The version and the commit come from the linker in releases and in what make builds:
//
//	go build -ldflags "-X github.com/edge-proxy/edge/internal/base/build.version=1.2.3
//	                   -X github.com/edge-proxy/edge/internal/base/build.commit=0123456789abcdef…"
//
// Without these, Version returns what the go command has noted: the version of the module, else its commit.
//
// Two files are the same build where their sums are equal. Go's build ID is no help, since releases are linked with an
// empty one, so that each machine makes the same file. The version alone is no help either: a build of a changed tree
// has the version of its last commit.
//
// Own and Sum read a file of about 13 MB, so they do not belong on a reactor.
package build
