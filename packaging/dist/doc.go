// Command dist makes the files of a release: for each program and architecture a tar archive and a list of its modules
// (an SBOM in SPDX 2.3), packages for deb and rpm, an image of edge as an OCI layout, the Helm chart, notes, SHA256SUMS
// over all, and signatures.
//
//	go run . -version 1.2.3 -release -key secret.key     all files, of a tree without changes
//	go run . -version 1.2.3 -commit 0123456789abcdef… -epoch 1767225600 -parts archives
//
// With -release it refuses a tree with changes, a version that CHANGELOG.md has not or calls unreleased, and a tag
// at another commit: nothing is made then. It sets no tag and sends nothing anywhere. It is not for installing edge on
// this machine (make install).
//
// # Reproducible
//
// The same sources, Go release, version, commit, epoch and key give the same bytes, in any folder, by any user, with
// any umask: paths are trimmed, Go's build ID is empty, no file of an archive has a time of its own or an owner,
// signatures have no time, and the authorities in the image come from a module of Go. What the environment could change
// (GOFLAGS, GOAMD64, GOARM64, GOEXPERIMENT, GOWORK, cgo) is set for the builds.
//
// # What is made
//
//	edge-1.2.3-linux-amd64.tar.gz         edge, static; edge.toml, edge.1, LICENSE, completions/, systemd/, docs/
//	edge-bench-1.2.3-linux-amd64.tar.gz   edge-bench and LICENSE; edge bench runs it
//	edge-import-1.2.3-linux-amd64.tar.gz  likewise
//	….spdx.json                           what each of these is linked of
//	edge_1.2.3_amd64.deb, edge-1.2.3-1.x86_64.rpm …    packages of the archives, by packaging/deb and packaging/rpm
//	edge-image-1.2.3.tar                  the OCI layout: an index of an image for each architecture
//	edge-chart-1.2.3.tgz                  the Helm chart
//	edge-notes-1.2.3.md                   the section of CHANGELOG.md, and what changed in each Go package
//	SHA256SUMS, SHA256SUMS.minisig
//
// With a key the archive of edge has edge.minisig too, the signature of the program itself, for edge upgrade --verify.
//
// It is a module of its own, so that its libraries (of images, SPDX, API differences) are in no importer's graph.
//
// One goroutine does all; a file that could not be written whole is removed.
package main
