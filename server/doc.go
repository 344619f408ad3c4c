// Package server puts one process together from a configuration: reactors, listeners, backends, routes, logs.
//
// It is neither a parser of configurations (package config) nor a proxy (package proxy): it makes the parts, joins
// them, and exchanges them while they run.
//
// # Life cycle
//
//	New ─► Start ─► Apply … Apply ─► Drain ─► Stop
//
// Run is all of it with the signals of a process around it; cmd/edge calls Run and little else.
//
// # Apply
//
// A configuration is built whole beside the one that runs, then swapped; after an error nothing has changed. What the
// two have in common goes on undisturbed:
//
//	upstreams    kept, with their idle connections, when all their options are equal; else a new one takes over
//	listeners    kept when the address is named again, whatever else changed; new ones open before old ones close
//	log files    kept when the path is named again; one that is gone stays open for a minute, for what has begun
//	routes       always made anew; a request ends with those it began with
//
// Limits of a listener hold for the connections that come after the change. Worker threads, the memory limit and the
// pid file do not change at run time.
//
// # Threads and ownership
//
// A Server is safe for any goroutine; one mutex orders Start, Apply, Reopen and Stop. Requests never take it.
//
// # Counters
//
// Each reactor counts for itself. Registry copies everything out by a task on each reactor and lists it by name.
package server
