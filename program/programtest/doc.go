// Package programtest runs a configuration in a test. It is for modules with types of filters, destinations, balancing
// methods and the like, whose tests want to see them used by a file.
//
//	Check(text)              what edge check says of it, and starts nothing
//	Read[*Config](t, text)   the structs that its tables were read into
//	Start(t, text)           a server on sockets of this machine, until the test ends
//	s.Addr(0), s.Reload(…)   where it listens, and another configuration in its place
//
// The package under test registers its types in an init function, as edge build links them. The types of edge itself
// are there too.
//
// # Configurations
//
// Listen on "127.0.0.1:0": the kernel chooses a port, which Addr tells. Paths of files are absolute, or below the
// folder of the test. Certificates, counters and locks that edge keeps between runs are in a folder of the test, which
// is removed with it.
//
// # Concurrency
//
// A Server is for the goroutine of its test. Several may run at a time in one process.
//
// # Limits
//
// There is no process around the server: [admin], error_log, daemon, upgrades and signals do nothing here.
package programtest
