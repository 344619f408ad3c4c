// Package h3 is HTTP/3 (RFC 9114) without the network, at both ends: events of a quic.Conn in, events of HTTP out;
// heads and data in, bytes on streams of QUIC out.
//
// It does no I/O, holds no descriptor and reads no clock: the time is a parameter. Datagrams and timers belong to the
// program around it, routing and hop-by-hop fields to package proxy. Heads have the normal form of HTTP/1: a WebSocket
// over HTTP/3 is a GET with Upgrade and its answer a 101, whatever they were on the wire.
//
// # Receiving
//
// Each event of QUIC is given to Next again and again, without the bytes that were used, until Next needs more:
//
//	for in := q.Next(); ; in = q.Next() {
//		for n, ev := c.Next(&in, &head, now); ev.Kind != NeedMore; n, ev = c.Next(&in, &head, now) {
//			in.Body = in.Body[n:] // and act on ev
//		}
//		if in.Kind == quic.None { break }
//	}
//
//	HeadDone … Data … Data|End or Trailers          what a good peer makes
//	Reset                                           instead of the end, once; none after our Reset or StopRequest
//
// A frame that comes at once is decoded where it lies; a head in parts is joined in memory of the Arena. Data is passed
// on as it comes. Malformed messages (RFC 9114 §4.1.2) never get to be a HeadDone: their streams are reset.
//
// # Sending
//
// SendHead, SendData and SendTrailers copy into the Conn of QUIC. Data stops where windows or memory end, and Sendable
// tells when it goes on. A head that windows do not allow is kept in memory of the Arena.
//
// # Ownership and limits
//
// A Conn, its streams and its Arena belong to the reactor of the quic.Conn. A Stream is dead after Reset, and after
// both ends; it is another exchange's from the next Next or Expire on. QUIC limits windows and the number of
// streams, Options limit heads, and each abuse has a budget and a counter in Stats. A stream makes room for another
// one when it is dead, a reset one too: how often a peer may reset is bounded. An idle connection holds two streams:
// the control streams of both ends.
package h3
