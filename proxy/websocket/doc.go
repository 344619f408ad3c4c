// Package websocket is what a proxy has to know of WebSockets (RFC 6455). They begin by Upgrade in HTTP/1 (§4) and by
// an extended CONNECT in HTTP/2 (RFC 8441), which has no use for the key. What either side misses is made here:
//
//	client without a key ──► Ask makes one ─────► origin
//	client with a key    ◄── Accept makes Accept ◄── origin that says none
//	                     ◄── an Accept that comes is checked against the key, in every case
//
// Frames follows what passes once the tunnel is open, so that a proxy that ends knows where it may put in GoingAway.
//
// The package works on heads and bytes alone. It does no I/O.
//
// # Concurrency
//
// A Frames belongs to one goroutine, as the heads do.
//
// # Limits
//
// None: of a frame its head is looked at, never its content.
package websocket
