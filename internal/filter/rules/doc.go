// Package rules is a filter of rules: what is done with requests that a condition of the language holds for.
//
//	when = 'path ~ "^/old/(.*)$"'     redirect = {to = "/new/{match.1}", status = 301}
//	when = 'header.user-agent == ""'  deny = 403
//
// It compiles no text and reads no file: conditions and templates come compiled. Package config reads the rules of a
// file, and the server makes filters of them.
//
// # Order
//
// The rules of a list are asked in their order, all of them, until one ends the request: Respond, Redirect, Deny, Drop.
// What the others do adds up; of two that set the same thing the later one counts. First-match is what routes are for.
//
// In the phase BeforeRoute a rewrite is what routing sees, and the path of the rules after it. In the phase Request the
// route is known, and a rewrite changes what is sent on.
//
// # Moments
//
// A template is evaluated when its rule holds, but for fields of answers: these are evaluated when the answer is there,
// also one of the proxy's own, with match.N as it was when the rule held. Fields of the request are set when it is sent
// on, after the fields of the proxy; a rule that comes later sees the request without them, and names of package
// variables (local.X) as they were set.
//
// # Bytes of clients
//
// A value may be any bytes. In a field control characters are percent-encoded; in a target, all that it cannot have; in
// a body of HTML or JSON, what would end the text there. A target with dot segments is refused, since the backend would
// resolve them; a target that begins with two slashes gets one. A request never chooses the host of a redirect, but by
// host where the rule says so.
//
// Ownership: a filter is immutable. Nothing is allocated where no rule holds, nor for fields, rewrites and queries.
package rules
