// Package sticky keeps clients at the members of a service by a cookie.
//
// It knows no HTTP: a user, such as package proxy, finds the cookie of a request and adds the field to an answer.
//
//	request ─► value of the cookie ─► Cookie.Find ─► member, if it may have the request
//	answer of a member ─► Cookie.Append ─► the value of Set-Cookie
//
// # The token
//
// The value of the cookie is a token of 30 characters, base64url (RFC 4648 §5) of 22 bytes:
//
//	0        1        2                  6                               14                              22
//	├ version┼ key id ┼ expiry, minutes ─┼ tag of the member ────────────┼ MAC of all before ────────────┤
//
// The tag is a MAC of the identity of the member, so a client learns neither its address nor how many there are. Both
// MACs are HMAC-SHA256 (RFC 2104), cut to 64 bits, under keys that are derived from a secret and the name of the
// service: a token of one service is none of another one. A client cannot make a token, but can pass on its own.
// Instances with the same secrets and the same name of the service know each other's tokens.
//
// # Life cycle
//
// A Cookie follows a backend.Set from New to Stop. Members that join are given a tag, those that leave lose it.
//
// # Threads and ownership
//
// Keys are immutable. A Cookie is safe for any goroutine; Find and Append take no lock and allocate nothing.
//
// # Limits
//
// Two secrets, of 16 bytes or more each. The time to live of a cookie is a minute to a year.
package sticky
