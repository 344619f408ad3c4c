// Package terms decides on what terms clients are served by TLS: it evaluates conditions on handshakes, which know what
// the first message of one tells.
//
//	when, err := scope.Condition(`client.ip in {10.0.0.0/8}`, lang.Handshake)
//	holds := terms.Holds(when, hello, "web") // in a callback of a tls.Config
//
// It reads no configuration and opens no certificate: package server makes its values of what package config has read.
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
package terms
