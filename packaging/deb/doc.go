// Command deb makes a package for Debian, Ubuntu and what comes from them, of an archive that packaging/dist has made:
//
//	go run . -archive ../../dist/edge-1.2.3-linux-amd64.tar.gz -out ../../dist
//
// It compiles nothing: the package has the files of the archive, at the places that Debian's policy gives them.
// The version and the architecture are those in the name of the archive; all files have the time of the archive's.
//
// The package is written by nfpm, of which only the part for deb is linked. edge-bench and edge-import are a program
// each. The package of edge makes a user "edge", starts the service where systemd runs, keeps /etc/edge/edge.toml as a
// conffile, and does not restart a proxy that serves. Scripts that it shares with the package for rpm are in
// packaging/scripts.
//
// The module is one of its own, so that nothing of nfpm is in the module graph of edge. The tests of packaging install
// the package on a copy of this machine: an overlay of its root, in a mount namespace, with a network of its own.
//
// The same archive makes the same package, bit by bit. One goroutine does all.
package main
