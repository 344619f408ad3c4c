// Package quic is QUIC version 1 without the network, at both ends: datagrams and time in, events and datagrams out. It
// has RFC 8999, 9000, 9001 and 9002, with CUBIC (RFC 9438) and HyStart++ (RFC 9406).
//
// It does no I/O, holds no socket, reads no clock and knows no TLS and no HTTP. The program around it has the sockets,
// finds the Conn of a datagram by its connection id, and drives crypto/tls as the other side of the handshake.
//
// # Life of a connection
//
// Parse reads the header of a datagram that belongs to no connection; InitServer makes one of a client's first Initial,
// InitClient begins one to a server. Then, whenever a datagram comes, Receive and Next until None; at the end of a tick
// AppendDatagram until nothing leaves; at Deadline, Expire. After the event Closed the connection answers what still
// comes for a while, until Over.
//
//	        SendCrypto, SetSecret, SetParameters, HandshakeDone
//	TLS ◄─────────────────── Crypto ────────────────────┐
//	                                                    │
//	datagram ─► Receive ─► packets ─► frames ─► Next ───┼─► Data, Reset, Sendable … ─► the caller
//	datagram ◄─ AppendDatagram ◄─ packets ◄─ frames ◄───┴── Send, Release, Reset, Done
//
// # Back-pressure
//
// Data of the peer is owed until Release: the window of its stream opens by that alone. The window of the connection is
// a budget of memory, which opens as data is delivered as long as less than half of it is owed: a stream that is not
// read does not stop the others. Send copies as much as windows and memory allow, once, and keeps it until the peer has
// acknowledged it; Sendable says that more may be sent.
//
// # Ownership
//
// A Conn, its Streams and their Arena belong to one reactor. A datagram is opened in place and borrowed until Next
// returns None; the Body of an Event is borrowed until the next call of Next. A Stream is alive until Done was called.
//
// # Limits
//
// All that a peer can make this package keep or do has a bound: see Options, the constants beside them, and budget.go.
// Data out of order is charged by pages of 4 KiB. Nothing that a peer sends makes a panic.
package quic
