// Package quic holds the parts of a codec of QUIC version 1 (RFC 8999, 9000, 9001, 9002), for both ends.
//
// It does no I/O, holds no socket, reads no clock and makes no handshake: datagrams, secrets and the time are
// parameters. Routing by connection id and sockets belong to the program around it.
//
// # Without a connection
//
// Parse reads the header of the first packet of a datagram. AppendVersions, AppendRetry and AppendReset make the
// answers that need no keys. What Parse does not accept is dropped: the header has no protection, so a fault in it
// proves nothing about the peer.
//
// # The parts, from the bottom up
//
//	integer, number      how values are written
//	header, keys         a packet: what can be read of it, and how it is opened and sealed, in place
//	frames, parameters   what is in it; all rules that need no state
//	spans, ranges        sets of numbers in fixed memory: offsets, and packets that came
//	reassembly           data that comes out of order, in pages of the Arena
//	chunks, sent         data that is kept until it is acknowledged, in pages of the Arena
//	rtt, window          round trips, and how much may be on its way
//	budget               how much useless work a peer may make
//
// # Ownership and limits
//
// All values belong to one reactor, as does its Arena. Parsed slices are borrowed from the datagram. Nothing that a
// peer sends makes a panic; what it can make this package keep is bounded, and charged by pages of 4 KiB.
package quic
