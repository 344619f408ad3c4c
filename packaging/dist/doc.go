// Command dist makes the files of a release: for each architecture a tar archive with the static binaries and
// what belongs to them, for each binary a list of the modules that are linked into it (an SBOM in CycloneDX 1.6), and
// SHA256SUMS over all.
//
//	go run ./packaging/dist -version 1.2.3 -commit 0123456789abcdef… -epoch 1767225600 -out dist
//	go run ./packaging/dist -sums -out dist     writes SHA256SUMS anew, after packages were added
//
// It is not for installing edge on this machine (make install), and makes no packages: packaging/deb and packaging/rpm
// take what they need from the archives.
//
// # Reproducible
//
// The same sources, Go release, version, commit and epoch give the same bytes, in any folder, by any user, with any
// umask: paths are trimmed, Go's build ID is empty, no file of the archive has a time of its own or an owner, and the
// numbers in the SBOM are made from the binary's sum. What the environment could change (GOFLAGS, GOAMD64, GOARM64,
// GOEXPERIMENT, GOWORK, cgo) is set for the builds.
//
// # What is in an archive
//
//	edge-1.2.3/edge                       static, for Linux
//	edge-1.2.3/edge-bench                 likewise; edge bench runs it
//	edge-1.2.3/edge-import                likewise; edge import runs it
//	edge-1.2.3/edge.toml                  /etc/edge/edge.toml of the packages
//	edge-1.2.3/edge.1                     the manual page
//	edge-1.2.3/LICENSE
//	edge-1.2.3/completions/               for bash, zsh and fish, by the binary itself
//	edge-1.2.3/systemd/                   the units
//	edge-1.2.3/docs/                      all pages
//
// One goroutine does all; a file that could not be written whole is removed.
package main
