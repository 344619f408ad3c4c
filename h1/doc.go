// Package h1 parses and writes HTTP/1 without the network: bytes in, events out; heads in, bytes out.
//
// It does no I/O, holds no descriptor and reads no clock. Connections, deadlines, pipelining and the order of answers
// belong to package session; routing and hop-by-hop fields to package proxy.
//
// # Decoding
//
// A Decoder reads one direction of a connection: the session calls it with the bytes that have come:
//
//	         ┌────────────── End (no body, or its last byte) ─────────────┐
//	         ▼                                                            │
//	start ──head──HeadDone──┬─ Content-Length ──Data…───────────────Data|End
//	         ▲              ├─ chunked ──size──Data──CRLF──…──Trailers|End or End
//	         └── 1xx ───────┴─ until close, tunnel ──Data…──EOF()─────────End
//
// A head that is whole is parsed in one pass, in place. An incomplete head is searched for its end from where the last
// search stopped, and parsed when that is found: a client that sends byte after byte costs no more than its bytes.
//
// # Strictness
//
// RFC 9112 as written, without the leniencies it allows to recipients, since every one of them is a way to make two
// parties read two messages from the same bytes. What is allowed beyond the grammar: one empty line before a request
// (§2.2), and a status line that ends after its code. A fault ends the decoder: nothing after it can be trusted.
// Framing is decided in one place, for requests and for responses.
//
// After a 101, or a 2xx to CONNECT, the connection is a tunnel, if ExpectTunnel said that one was asked for.
//
// # Encoding
//
// AppendRequest and AppendResponse write a head anew, with the framing that Length, Chunked and Close of the head say.
// Fields of framing in the table (message.Name.Framing) are passed over. The caller answers for the syntax of what it
// put into the head itself.
//
// # Ownership and limits
//
// A Decoder is a value, owned by its session, and holds no bytes: heads and bodies alias the input until the caller
// lets go of that. Every length has a limit, see Limits.
package h1
