// Package cors is a filter that lets pages of other sites read answers: cross-origin resource sharing, as the Fetch
// standard of the WHATWG has it.
//
// It protects nothing. Browsers forbid such reading unless an answer allows it, and other clients do not ask.
//
//	OPTIONS with Origin and Access-Control-Request-Method    answered here: 204, or 403 for other origins
//	any other request                                        goes on; its answer gets the fields
//
// Answers of the proxy itself have them as well, errors included: a browser would hide these from the page otherwise.
// The backend's own fields of this kind are removed, since a browser refuses an answer that has two.
//
// Where origins are listed, each answer says Vary: Origin, whether the request had an Origin or not: a cache must not
// give the answer for one site to another. Where "*" is allowed, all answers are the same.
//
// A preflight has no credentials. So the filter stands before those that ask for them, and its route must take OPTIONS.
//
// "*" together with credentials, and the origin "null", are refused when the configuration is loaded: the first would
// give any page what the user may read, the second any page that puts itself into a sandboxed frame.
//
// The filter is immutable and runs on the reactor. A request and its answer cost a walk over their fields and no
// allocation.
package cors
