// Package maintenance is the filter type "maintenance": a route that is closed for a while, by a switch in the
// configuration or by a file that an operator makes and removes.
//
//	[filters.closed]
//	type   = "maintenance"
//	file   = "/run/edge/maintenance"
//	allow  = ["10.0.0.0/8"]
//	except = ["/healthz"]
//
// It is no page of failures: `error_pages` has those. Without a body of its own it shows the one for its status.
//
// # The file
//
// Nothing waits for the file system on an event loop, and nothing polls. A request that comes a second or more after
// the last look has a worker look again, and waits for it; all others go by what the last look found. So an operator's
// own request, after a pause, sees what the file says now, and a busy server looks once a second.
//
//	reactor   request ─► 1 s since the last look? ─ yes ─► parked ──────────────────► goes on, or is answered
//	worker                          │ no                    └─ stat ─► closed or open ─┘
//	                                └─► by what is known
//
// The directory of the file is to be a local one: the request that has the look taken waits as long as stat does.
//
// # Life cycle, threads and ownership
//
// New looks once, so that the first request knows. What is known is two atomics, which all reactors share. A request
// that passes costs a load and a comparison, and allocates nothing.
package maintenance
