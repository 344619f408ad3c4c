// Package page makes the bodies of answers that a proxy gives of its own: a page for people, JSON for programs and a
// text for terminals, as Accept prefers, or pages of one's own in their place.
//
//	Facts ─► Set.Append ─► a Page of the status or its class, where the client takes its type
//	                   └─► else HTML, JSON (RFC 9457) or text
//
// All that a peer has said is escaped as the type of the body needs it. The bodies tell nothing of what is behind the
// proxy: what went wrong there is in its logs, where the number of the request finds it.
//
// A Page and a Set are immutable once they are in use. A Page is as large as it is given; a host in it is cut off after
// 256 bytes.
package page
