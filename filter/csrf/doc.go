// Package csrf is a filter that refuses requests which another site made a browser send: cross-site request forgery.
//
// It is no token and no cookie, and it authenticates nobody. A browser says by itself where a request comes from:
//
//	GET, HEAD, OPTIONS                          pass
//	Sec-Fetch-Site: same-origin, none           passes
//	Sec-Fetch-Site: anything else               is refused
//	no Sec-Fetch-Site, Origin is that of Host   passes
//	no Sec-Fetch-Site, another Origin           is refused
//	neither field                               passes: no browser sent it, and no cookie of a victim comes with it
//
// These are the rules of net/http.CrossOriginProtection, with which the filter is compared by a test. It is stricter in
// three cases: where one of the two fields comes more than once, where an Origin is none (such as one with a path), and
// where a GET asks for a tunnel, as one that opens a WebSocket does: these are checked as unsafe methods are.
//
// What is trusted passes all the same: requests whose Origin is in trusted_origins, and those that bypass holds for.
// With isolate, requests of safe methods that another site caused are refused as well, but for the following of a link:
// a resource isolation policy, against leaks by timing and by embedding.
//
// A safe method must have no effect: a GET that logs out is not protected.
//
// The filter is immutable and runs on the reactor. A request costs a walk over its fields, and no allocation.
package csrf
