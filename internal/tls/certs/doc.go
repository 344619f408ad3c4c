// Package certs holds the certificates of a server: from PEM files to what a handshake presents.
//
// It is neither a TLS stack nor a client of a certificate authority: it reads files that others write, watches them,
// and gives crypto/tls what it asks for.
//
//	files ── Load ──► Certificate ── NewSet ──► Set ── Chooser ──► tls.Config.GetCertificate
//	          ▲                                  │
//	          └────────── Look, Watch ───────────┘   a pair that changed is read again and swapped
//
// A Set is made once for a configuration; pairs that the set before it has are taken over without reading them again. A
// Chooser is one listener's view: its own certificate is asked first, then the certificates of all listeners, by the
// exact name, then by "*.parent", then by an Authority; others get the default. A choice is two look-ups in a map,
// whatever their number.
//
// # Change
//
// Files are compared by their inode, size and time, following symbolic links, so that a rename over a file and the
// swap of a folder by its link (as Kubernetes mounts secrets) are both seen. A pair that is wrong keeps the one
// before it and is reported, once it was found wrong twice: certificate and key do not change in one step.
//
// # Threads and ownership
//
// A Certificate is immutable. A Set and its Choosers are safe for any goroutine: handshakes read atomic pointers and
// take no lock. Watch has one goroutine; Stop ends it and waits.
//
// # Limits
//
// 1 MiB a file. Encrypted keys are refused: a server has no user to ask for the password.
//
// A Follower watches files that are read elsewhere: files of authorities. Tickets are the keys of session tickets,
// which rotate for all listeners at once. Authority is a certificate authority on this machine, for development: it
// makes certificates in handshakes.
package certs
