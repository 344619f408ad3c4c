// Package issue gets certificates from authorities and renews them in time, for as long as a process runs and over its
// restarts.
//
// It knows no authority and no HTTP: an Issuer speaks to an authority, a Storage keeps files or the keys of a database,
// and Challenges are what listeners answer with.
//
//	Plan ── Renewer.Load ──► Set ── Renewer.Use ──► looks at each name in time ── lock, read again, order, store, swap
//	                          │
//	                          └── Find, Obtain ──► handshakes
//
// # Life
//
// A Plan says which names are wanted, of which authorities, and where certificates are kept. Load makes a Set of it,
// with what the Storage has, and after Use the Renewer looks after the Set. A certificate for names that were wanted
// before is presented until there is another one.
//
// With a Demand in the Plan, a handshake may ask for another name: Obtain waits for its certificate, which the Renewer
// looks after like the others from then on, as long as handshakes use it and Demand.Allow says yes.
//
// # When
//
// A certificate is renewed at a moment of the window that its authority tells (ARI, RFC 9773), the same moment for all
// replicas; without a window after two thirds of its life, after half of a life below ten days. After a failure comes a
// pause of 1, 2, 5, 10, 20, 30 minutes, 1, 2, 3, then 6 hours: it is kept in the Storage, and goes on over restarts and
// replicas. The second try asks the staging authority first, and so does the first one for names that do not lead here,
// as Leads says; the third goes to the next authority of the list.
//
// # Files
//
// A Storage has the keys that certmagic uses, so that the files of a Caddy are taken over, and ours by a Caddy. Keep
// adds a pair that another program has got. The key of a new certificate is stored beside the present pair before its
// chain: whatever ends the process, a whole pair is there.
//
// # Threads
//
// A Renewer has one goroutine, and as many more as orders and questions at once. Find reads atomic pointers and takes
// no lock. Obtain blocks: it is for handshakes that give their turn to others meanwhile.
package issue
