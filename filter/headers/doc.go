// Package headers is the filter "security_headers": the fields by which an answer tells a browser to be careful.
//
// A preset has the fields, a key changes one of them, and "off" leaves it out:
//
//	field                          basic                            strict
//	Strict-Transport-Security      max-age=31536000                 max-age=63072000; includeSubDomains
//	X-Content-Type-Options         nosniff                          nosniff
//	Referrer-Policy                strict-origin-when-cross-origin  no-referrer
//	X-Frame-Options                SAMEORIGIN                       DENY
//	Content-Security-Policy        none                             default-src 'self'; …; frame-ancestors 'none'
//	Permissions-Policy             none                             no camera, microphone, location, payment, USB, …
//	Cross-Origin-Opener-Policy     none                             same-origin
//	Cross-Origin-Embedder-Policy   none                             require-corp
//	Cross-Origin-Resource-Policy   none                             same-origin
//
// basic breaks next to no site. strict is for a site that was made for it: it has no inline scripts and nothing from
// other sites. No preset asks browsers to preload the domain, which cannot be taken back for months.
//
// What the backend says stands, unless override is set. The answers of the proxy itself get the fields too.
// Strict-Transport-Security is sent on secured connections only, as RFC 6797 §7.2 demands: those to the proxy, or to a
// trusted proxy in front of it.
//
// It is not a filter for fields in general: the key headers of a route and of [defaults] is.
//
// The filter is immutable and runs on the reactor. An answer costs one walk over its fields, and no allocation.
package headers
