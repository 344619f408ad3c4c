// Package fleet has a type of each kind that is no filter: an example of what else modules register. docs/plugins.md
// has a section for each of them.
//
//	destination.go   answers requests: fleet_info
//	balance.go       picks backends: fleet_primary
//	connfilter.go    closes connections by address and by name: fleet_door
//	discoverer.go    finds backends in a list: fleet_directory
//	dns.go           writes records of proofs into a zone: fleet_zone
//	service.go       speaks a protocol of lines: fleet_pager
//	storage.go       keeps certificates encrypted: fleet_sealed
//	logsink.go       sends lines of the access log to a collector: fleet_collector
//	usage.go         adds up the bytes of each route, from records of the access log: fleet_usage
//
// fleet_test.go runs all of them as a file has them. The names begin with the name of the package, so that none of a
// later edge, or of another module, is the same.
//
// # Threads and ownership
//
// What is made belongs to a configuration, and is used by all reactors at once: see each file.
package fleet
