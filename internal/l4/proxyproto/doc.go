// Package proxyproto reads and writes the headers of the PROXY protocol, by which a load balancer tells a server whose
// connection it passes on: the text of version 1 and the binary form of version 2.
//
// It does no I/O, holds no connection and trusts no sender: its caller decides whose headers are read, and which
// addresses hold when no header came. Any client can write a header, so it is read from known senders alone.
//
//	bytes of a connection ─► Parse ─► Header, and how many bytes it has   what follows is the client's
//	                          ├─► 0 bytes, no error: more are needed
//	                          ├─► ErrNone: they begin no header
//	                          └─► another error: a header that is wrong
//	addresses ─► AppendV1, AppendV2 ─► bytes
//
// # Decisions
//
// The specification is HAProxy's proxy-protocol.txt, with these decisions where it leaves a choice, or where senders
// do not keep to it:
//
//   - A header of version 2 has at most 4096 bytes after its first 16.
//   - LOCAL and UNKNOWN tell no addresses, whatever follows. Neither do PROXY without an address family, with Unix
//     sockets, and with families that do not exist: the block is skipped.
//   - An IPv4 address in the form of IPv6 (::ffff:192.0.2.1) is an IPv4 address.
//   - A TLV that is cut, and a CRC32c that is wrong, are errors. Other TLVs are skipped.
//
// A Header holds values only: nothing of the input is kept.
package proxyproto
