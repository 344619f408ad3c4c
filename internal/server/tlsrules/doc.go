// Package tlsrules decides on what terms clients are served by TLS: whether they show a certificate, which one they
// get, how old their TLS may be, and whether they are served at all. Rules have conditions on handshakes, which know
// what the first message of a handshake tells.
//
//	ClientHello ─ Choose ─► tls.Config, made at load for each combination ─► handshake ─► Digest.Asked
//	request ───── Fit ────► would a handshake for its host have come to the same terms as Digest has? no: 421
//
// A connection is secured for one name, and its requests may name any host: Fit is what keeps a host from being reached
// on the terms of another one. It asks the same rules with the same client, so nothing is kept for a connection but the
// words for what it was asked, and rules that have changed since then bind it.
//
// It reads no configuration and opens no certificate: package server makes its values from a configuration.
//
// # Names
//
// The name of a server is what variables.AppendServerName makes of a text: in lower case, without the dot of the root,
// and missing where it is an address or no name at all. A handshake without a name and one for an address are alike.
//
// # Threads
//
// Handshakes compute on goroutines of their own, so what an evaluation needs comes from a pool: it allocates nothing
// once the pool is filled. All functions are safe for any goroutine.
package tlsrules
