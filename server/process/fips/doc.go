// Package fips has a process begin again in the FIPS 140-3 mode of Go, which GODEBUG chooses before any code runs. It
// computes nothing itself: the module is crypto/fips140, and package tlsconn decides which versions and suites a
// handshake may then use.
//
// # How it works
//
//	main ── fips = true ──► Enter ── enabled? ── yes ──► returns
//	                              └─ no ──► GODEBUG=fips140=on, execve of the same file with the same arguments
//
// The file is the one that runs, /proc/self/exe, also when another one has taken its name. A process that has begun
// again and is not in the mode ends with an error instead of beginning once more.
//
// # When to call it
//
// Enter is called once, before the process has listeners, children or files that a second start would open again:
// descriptors without close-on-exec, the process number, and so the unit of systemd, stay as they are.
//
// A program that was built with BoringCrypto cannot do it: the runtime panics where it finds both. Enter returns an
// error before that happens.
package fips
