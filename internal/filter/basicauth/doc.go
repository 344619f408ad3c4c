// Package basicauth is the filter "basic_auth": it asks for a user and a password, as RFC 7617 has it.
//
// Passwords cross the connection as they are, so it is for connections that are secured. It does not count attempts: a
// filter that limits the rate by address stands before it where guessing is to be slow.
//
// # Users
//
// A table or a file has lines name:hash, as htpasswd writes them. Hashes are made by bcrypt or Argon2id; the command
// edge hash-password and the function Hash make them. What can be guessed fast, and a password as it is, is refused.
// The file is looked at each second, by a request, and read again when it has changed; a wrong file then changes
// nothing.
//
// # Verification
//
// A hash takes 20 to 100 ms by design. So a request is parked meanwhile, and a pool that all filters of the process
// share does the work:
//
//	request ─► remembered? ─► goes on                                                              on the reactor
//	                └─ no ─► waits, 64 at the most ─► verified ─► goes on, or 401     on half of the processors,
//	                            └─ 503, Retry-After                                   within 128 MiB
//
// At most 16 of those that wait are of one client, as its address says, of IPv6 the first 64 bits. A client that has no
// address has no such bound. Networks and clients take turns, those that guess after the others, and where too many
// wait the client that has the most gives way: guessing does not keep out those whose passwords are not remembered.
//
// A pair that was verified is remembered for a minute after its last use, as an HMAC with a key of the process: a hit
// takes no worker and no allocation. The hash of the user is a part of it, so that a password that was changed is not
// remembered. A name that is no user's takes as long as a user's: the hash of a user is computed for it.
//
// # What backends see
//
// The field Authorization is removed unless forward says otherwise. Other filters and logs have the name as auth.user.
//
// # Threads
//
// A filter belongs to all reactors. Its users are replaced as a whole; all else of it never changes.
package basicauth
