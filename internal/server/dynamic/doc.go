// Package dynamic leads each request to a destination that it names itself: a text with variables of the request, such
// as "http://{header:X-Tenant}.svc.internal:8080", filled in for each one.
//
// It leads only to what a target.List has, and connects only to addresses that it has judged: see package
// internal/route/target for the rules. It follows no redirect: what a destination answers goes to the client.
//
//	request ─► Template ─► canonical form ─► List ─► known? ─yes─► proxy.To its own upstream
//	                          │ no             │ no    │ no
//	                          ▼                ▼       ▼
//	                         403              403    parked ─► look-up ─► each address judged ─► resumed, or 403
//
// # What is kept
//
// A destination is a scheme, a name and a port. It has an upstream of its own, whose connections are to the addresses
// that were judged, and which asks for the name in TLS. The answer to a look-up is good for its TTL, for 1 s at least
// and 5 min at most, and is asked for again in the background before it ends. When a look-up fails, the addresses are
// kept for a minute more. That a name does not exist, or is not allowed, is kept as long as the answer says, for 10 s
// at most. Names are full: no search list applies, since it would lead to names that were not judged.
//
// # Life cycle
//
// Lead, before the routes become a Snapshot. Close ends look-ups and closes connections, connections of requests in
// progress with their ends.
//
// # Threads and limits
//
// A Destinations is safe for any goroutine, except Stats. Reactors take no lock: what needs one runs on a worker. There
// are 1024 destinations: the destination that was used longest ago leaves, and its idle connections are closed. As many
// names that lead nowhere are remembered. 256 look-ups are under way at one time, or one for each 2 MiB of memory where
// that is less, each for 5 s at most, on goroutines of their own; above that requests are answered 503. A destination
// keeps 64 addresses.
package dynamic
