// Package http3 is HTTP/3 under the streams of internal/stream/shared: the server's end. Receivers of its requests
// notice no difference from HTTP/1 and HTTP/2.
//
// A Server stands beside a session.Server, whose service, times, limits and counters it shares, and takes the
// connections that package quicconn carries. It knows no sockets, no datagrams and no TLS.
//
//	quicconn ──OnEvent──► conn ──Next──► h3.Conn       events go to the streams, one after another
//	                        ├── Stream ── Receiver     turns by RFC 9218 where windows or memory end
//	         ◄───Wake──── conn ◄──Send── h3.Conn ──► quic.Conn
//
// # Batches
//
// The events of all datagrams of a tick are a batch. At its end, EndBatch, streams do what their methods postponed, and
// times are set. What streams send outside a batch wakes the carrier, which writes datagrams at the end of the tick.
//
// # Back-pressure
//
// The windows of QUIC are the back-pressure of requests: they open by Release. QUIC keeps what is sent until the client
// has acknowledged it. Once it keeps as much as it may, streams wait, and go on in the order of their priorities.
//
// # The end
//
// A connection without an exchange ends after its idle time, or when the engine asks for it, by CONNECTION_CLOSE with
// H3_NO_ERROR. In a drain GOAWAY goes before, twice: see h3.Conn.Shutdown. The client closes the connection then, once
// it has read its answers. A connection that stays is closed after leaveTime.
package http3
