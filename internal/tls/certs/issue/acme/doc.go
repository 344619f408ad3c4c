// Package acme is an issue.Issuer for authorities that speak ACME (RFC 8555): Let's Encrypt, ZeroSSL, Google and
// private ones. acmez speaks the protocol.
//
// It has no schedule, keeps no certificate and serves no port: package issue does the first two, and listeners answer
// with what it puts into issue.Challenges.
//
//	Order ──► account (Storage) ──► order ──► Challenges or DNS, until the authority has looked ──► chain
//	                                               │
//	          Settle: the Storage, and Share ◄─────┘ answers in other processes
//
// Reach plays the part of an authority that looks for a proof: it tells whether a name leads to this process.
//
// # Life
//
// New reads nothing and asks no server. The account is made at the first order, under a lock of the Storage, at the
// keys of certmagic: the account of a Caddy is used. An account that the authority does not know any more is made
// again.
//
// # Limits
//
// An answer has 1 MiB at the most and comes within 30 s, by HTTPS. A proof takes two minutes at the most. In the middle
// of an order, Retry-After delays the next request by one minute at the most. Links to other chains are not followed.
//
// # Threads
//
// An Issuer has no goroutine of its own, and between calls no connection. It is safe for any goroutine. acmez keeps
// directories, and which kinds of proofs went well, for the whole process.
package acme
