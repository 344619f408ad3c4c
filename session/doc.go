// Package session has servers and clients of HTTP on package engine: one Stream contract over all versions of HTTP.
//
// A Server takes connections of a listener and makes Streams of the requests that come in; a Client or a Mux is one
// connection to an origin on which requests are opened. All drive a codec that does no I/O over an engine.Conn that
// knows no HTTP. Routes, retries and upstreams are not its business: that is package proxy.
//
// # The contract
//
// A Stream is what we send on, a Receiver receives the peer's message. Both are for one exchange: a request and its
// answer. Framing belongs to the session: it alone writes Connection, Transfer-Encoding and Content-Length, from
// Head.Length. The sender says only where a message ends.
//
//	server   Service.Accept(stream) ─► OnHead  OnData…  [OnTrailers]     the request
//	         SendHead  SendData…  [SendTrailers] ◄─                       the answer, 1xx heads before it
//	client   Open(receiver) ─► SendHead  SendData…                        the request
//	         OnHead  OnData… ◄─                                           the answer
//
// The end of a message is a parameter of its last part, so that the last bytes and the end leave in one write. If
// an exchange does not reach both ends, OnReset tells its receiver, exactly once. No callback comes after that, or
// after both ends.
//
// # Tunnels
//
// An answer whose head has Tunnel (101 to a request with Upgrade, 2xx to CONNECT) turns the exchange into a tunnel: the
// Client by itself, the Server by SendHead. From then on OnData and SendData carry raw bytes, and end is a FIN.
//
// # Back-pressure
//
// What OnData delivers is owed until Release. While bytes are owed the session does not read on, or leaves the
// window of HTTP/2 as it is. A proxy releases at once what the other side took and did not congest, and the rest in
// OnSendable.
//
// # Ownership
//
// Everything runs on the reactor that owns the connection. Heads and bytes that a Receiver is given are borrowed until
// it returns; a head is kept by MoveTo.
//
// # HTTP/2
//
// A connection carries many exchanges, each a Stream of its own; for Receivers nothing is different. A Server takes
// HTTP/2 where ALPN agreed upon it, or where a connection without TLS begins with its preface (ServerOptions.H2C).
// A Mux is a connection to an origin that many exchanges share; a Probe finds out which version an origin speaks.
//
//	engine.Conn ── link ── h2.Conn        all that a tick produces, for any number of streams, is one write
//	                 ├── Stream ── Receiver
//	                 └── Stream ── Receiver     turns by RFC 9218 where the queue or a window is full
//
// Release opens the window of one stream: a slow receiver does not stop the others. A reset ends its stream, not
// the connection. One timer serves all deadlines of a connection.
//
// # Limits
//
// h1.Limits for what is parsed, ServerOptions, H2Options, ClientOptions and MuxOptions for times and numbers; see
// docs/limits.md. Pipelined requests of HTTP/1 are answered in order: the next one is decoded after the present one
// is done, so they hold no more than the engine's read buffer.
package session
