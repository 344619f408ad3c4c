// Package server makes a running server of a configuration: reactors, listeners, backends, routes, access logs.
//
// It neither parses configurations (package config) nor proxies requests (package proxy): it makes the parts, joins
// them, and exchanges them while they run. It knows no signal, no user and no pid file: package internal/process runs a
// Server as a process. Package internal/server/metrics has the names of its counters.
//
// # Life cycle
//
//	New ─► Listen ─► Start ─► Apply … Apply ─► Drain ─► Stop
//
// After Listen all addresses are open and connections wait in the kernel: the time to give up rights. Start serves
// them. Start alone does both.
//
// # Apply
//
// A Server is a list of parts, each for one thing that a configuration describes: see part. A reload prepares all of
// them next to what is present and then puts that in its place; after an error nothing has changed. What the two
// configurations have in common goes on undisturbed:
//
//	backends     members of an upstream that is named again stay, with their states; others join it or go
//	upstreams    kept, with their idle connections, when all their options are equal
//	listeners    kept when the address is named again, whatever else changed; new ones open before old ones close
//	log files    kept when the path is named again; the others are closed a minute later
//	routes       always made anew; a request ends with those that it began with
//
// Limits of a listener hold for connections that are accepted after the change. Worker threads and the memory limit do
// not change at run time. What follows the configuration outside the Server takes part by Options.Prepare.
//
// # Handover
//
// Another process may take over the listening sockets and the connections: see Handover and Options.Adopt. The old
// Server keeps its descriptors until Abandon, so that Resume takes everything back when the new process dies.
//
// # Threads and ownership
//
// A Server is safe for any goroutine. One mutex orders Start, Apply and Stop, another one guards what they change and
// is free while an Apply waits for registries. Requests take neither.
package server
