// Package packaging holds what turns edge into a service: the configuration, the units of systemd, the manual page, and
// the tests of these files. It has no code of its own.
//
//	edge.toml         /etc/edge/edge.toml of packages, commented for a first change
//	systemd/          the unit
//	man/              the manual page, written by the tests of cmd/edge from the commands
//	dist/             the program that makes all files of a release, a module of its own
//	deb/, rpm/        what makes packages of its archives
//	scripts/          what both packages do when they are installed and removed
//	helm/, kubernetes/ the chart, and plain manifests that are made of it
//	docker/           the configuration in the image of the Dockerfile, and an example for compose
//
// The tests are about what these files do: a real edge runs under the restrictions of the unit, as an ordinary user,
// with a file system that it cannot write and a filter of system calls. systemd itself is not there: bubblewrap and a
// seccomp filter of the test take its place, made from the lines of the unit. What only systemd can show (that it
// starts the unit again after a crash, that it kills the remaining processes after TimeoutStopSec) has no test.
//
// Tests skip, and say why, where a tool is missing: make packages-deps installs them all (Debian).
//
// # Threads
//
// Nothing here runs in edge.
package packaging
