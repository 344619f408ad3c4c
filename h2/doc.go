// Package h2 is HTTP/2 without the network, at both ends: bytes in, events out; heads and data in, bytes out.
//
// It does no I/O, holds no descriptor and reads no clock: the time is a parameter. Connections and timers belong to
// package session, routing and hop-by-hop fields to package proxy. Heads have the normal form of HTTP/1: a WebSocket
// over HTTP/2 is a GET with Upgrade and its answer a 101, whatever they were on the wire.
//
// # Receiving
//
// A Conn is asked again and again with the bytes that are there, until it needs more. Each stream is
//
//	       HEADERS                 END_STREAM of the peer
//	idle ───────────► open ─────────────────────────────► half closed (remote) ──┐ our END_STREAM
//	 │                 │ our END_STREAM                                          ▼
//	 │ a higher one    └───────────► half closed (local) ──────────────────────► closed ─► history
//	 └──────────────────────────────── END_STREAM of the peer, RST_STREAM of either ──┘
//
//	HeadDone … Data … Data|End or Trailers          what a good peer makes
//	Reset                                           instead of the end, once; none after our Reset or Linger
//
// A header block that comes in one frame is decoded where it lies; only one with CONTINUATION is joined. Data is passed
// on as it comes. Malformed messages (RFC 9113 §8) never get to be a HeadDone: their streams are reset. The history
// knows the last 128 streams that closed: frames that were on their way when we reset one are ignored, and counted.
//
// # Sending
//
// The Append methods write into the caller's queue. Control frames of c are pending until AppendControl or the next
// Append, which writes them first. Data stops at the windows; a stream that was stopped, by a window or by the caller's
// Block, comes again from NextSendable, by urgency and in turns.
//
//	n, ev := c.Next(in, &head, now)              // until NeedMore
//	out, n, err = c.AppendData(out, s, body, end)
//	c.Release(s, n)                              // n bytes of Data are done with
//	for c.Deadline() <= now { c.Expire(now) }    // until NeedMore
//
// # Windows
//
// The stream's window is the back-pressure: it opens as bytes are released, and grows while that is fast. The
// connection's window is a budget of memory: see flow.go.
//
// # Ownership and limits
//
// A Conn, its streams and its Arena belong to one reactor. A Stream is dead after Reset, and after both ends; it is
// another exchange's from the next Next or Expire on. Call Tick before methods that take no time, when it has passed.
// Everything has a limit, see Options, and each abuse has a budget and a counter, see Stats. An idle connection holds
// no buffers: a Conn of 0.9 KiB, 0.5 KiB of history and its HPACK tables as far as they are filled, together less than
// 4 KiB after exchanges with a browser's heads.
package h2
