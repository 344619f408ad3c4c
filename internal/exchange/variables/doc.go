// Package variables has the variables that texts of the language (package lang) may name beside the language's own:
// what a proxy knows of a client, its connection, TLS, the route, the upstream and the answer.
//
// It knows names and kinds, not exchanges: a Subject tells what they are. Package proxy makes one of each exchange
// (proxy.View); a configuration needs the names alone. It is apart from package proxy so that a configuration can
// compile texts without it.
//
// # Trust
//
// What a client says of itself is text like any other: the name that it asks for in its handshake is missing where it
// is none, names of a certificate are missing unless that leads to an authority that the listener trusts. What comes
// of a trusted proxy (client.ip, scheme) is what the proxy made of it.
//
// # Ownership
//
// All is immutable after init. A Subject is asked on the goroutine of the evaluation, and what it returns is borrowed
// until that ends. An evaluation allocates nothing here.
package variables
