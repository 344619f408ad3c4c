// Package testutil is shared by the tests over real sockets and real processes.
//
// It has twelve parts:
//
//   - Must ends a test whose set-up has failed;
//   - Eventually waits for a condition with a deadline, since tests do not sleep;
//   - Listen, ListenUnix and FreeAddr give addresses of their own, since tests fix no port;
//   - Wire is one raw connection that a test talks over byte by byte;
//   - CheckLeaks compares goroutines and file descriptors before and after a test;
//   - Authority issues certificates;
//   - Allocs counts allocations;
//   - EventLog gives a test the events of its process;
//   - Silent and Firewall are addresses that do not answer;
//   - StartNginx and AskNginx run nginx, and ask it which server a request goes to;
//   - Process is a binary of this module, built once per test run, started, watched, stopped; EDGE_QEMU_ARM64 has it
//     emulated;
//   - RunSite runs the script of a site of examples/sites, and Bash any script.
//
// It is not a mock of anything: the scripted kernel for tests without sockets is internal/test/sim.
// Only test files and the benchmark programs import it.
//
// Everything takes a testing.TB, reports its failures there and cleans up in t.Cleanup, so
// nothing is returned that must be closed. A failure is Fatal: call it from the goroutine of
// the test. All waiting is bounded: by the deadline that is passed, by Patience, or by
// Minutes where another process is awaited.
package testutil
