// Package forwarding changes the fields of a message that passes a proxy: RFC 9110 §7.6.
//
//	request  ─► Request ──► fields of one hop dropped, Via, X-Forwarded-For, -Proto, -Host, Forwarded
//	answer   ◄─ Response ◄─ fields of one hop dropped, Via
//
// What a client claims of itself in these fields is dropped, in any spelling that an origin could take for them, unless
// a Trust says that the peer is a proxy to be believed. Then its addresses stay, and its own joins them.
//
// A request that came through proxies of the same Name too often goes in circles: Request says so.
//
// Name and Trust are immutable, for any goroutine. A head belongs to its caller. A request may have come 8 times
// through proxies of our name. Of X-Forwarded-For 32 addresses are looked at.
package forwarding
