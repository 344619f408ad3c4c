// Package dns asks the servers of the machine for the addresses of a name, and for the members of a service (SRV).
//
// It is a stub resolver (RFC 1034 §5.3.1): a recursive server does the work. The resolver of the standard library does
// not tell what a load balancer has to know: how long an answer is good, and whether no address is an answer or a
// failure. This one does. It keeps no answers: its callers do, and ask again when the time is up.
//
// # An answer and a failure
//
//	addresses, or services                           an answer
//	NXDOMAIN or no record, with a SOA record         an answer: there are none (RFC 2308 §5)
//	the same without a SOA record                    a failure: a server that knows nothing answers so, too
//	SERVFAIL, REFUSED, no answer in time             a failure
//
// A failure of one server has the next one asked. A Client never says "none" because of a failure.
//
// # Where a name is looked for
//
// IP addresses stand for themselves. Then comes /etc/hosts, then the servers of /etc/resolv.conf, with its search list
// and ndots. Both files are read again when they have changed. Options.Servers replaces the servers alone.
//
// # The wire
//
// Each question has a socket of its own, whose port the kernel chooses, and an identifier of 16 random bits; what comes
// from another address, or with another question, is ignored (RFC 5452). EDNS offers 1232 bytes (RFC 6891, DNS flag
// day 2020). A server that refuses EDNS is asked without it, and so is a server that leaves two questions with EDNS
// unanswered, for an hour. An answer that was cut off is asked for again over TCP (RFC 7766).
//
// # Threads and limits
//
// A Client is safe for any goroutine. A look-up of addresses has two goroutines, for A and AAAA, which end with it; one
// of services 16 look-ups at a time. A chain has 16 aliases, an answer 64 KiB.
package dns
