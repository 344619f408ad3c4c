// Package tlsconn puts TLS between the engine's connections and their sockets, as server and as client. It is no TLS of
// its own: crypto/tls, unmodified, computes behind a seam, without a goroutine for each connection. It knows nothing of
// HTTP and nothing of where certificates come from: both ends are described by a tls.Config.
//
// # Life cycle
//
// A Handshaker belongs to an Engine. Server wraps what Engine.Listen wants; Dial is Reactor.Dial with a handshake. The
// handler's OnOpen comes when the handshake is done, and from then on it sees plaintext and does not notice.
//
// DigestOf tells what is known of a connection: version, names, certificates, times. FIN without close_notify is OnEOF
// with Conn.Truncated; a handshake that failed is a *HandshakeError.
//
// # The handshake
//
// crypto/tls can stop in the middle of a handshake only by keeping its goroutine. So there is one for each handshake,
// but not before the ClientHello is whole and its turn to compute has come: a client that says nothing costs a Conn and
// a deadline. It computes only while it holds one of Computing turns, which it gives back while it waits for bytes.
// When more come than can be computed, what was begun goes on, the networks of clients take turns with what is new, and
// further clients are not accepted: see turns for the order, crowd for their number.
//
//	silent ── ClientHello ─► waits for its turn ─► computes ⇄ waits for bytes ─► Secure ─► records, on the reactor
//	  └─────────────── timeout, too many, too late, FIN, not TLS ──────────┘
//
// Over QUIC (ServerQUIC) tls.QUICConn computes. Its own goroutine waits; ours is there for one flight at a time, and
// handshakes over TCP and over QUIC share turns and crowd. The Conn has a Carrier, which encrypts: its Layer is there
// for the Digest alone. Callbacks find no Conn in their tls.ClientHelloInfo; HelloDigest, HelloTerms and Await work as
// over TCP.
//
// # The records
//
// After it the goroutine is gone. The reactor feeds one whole record at a time and calls tls.Conn.Read in place; what a
// tick writes is sealed at its flush. After the record a read would block, and says so by a temporary net.Error,
// after which crypto/tls goes on with the next call. contract_test.go pins down what is relied on, lend.go lends the
// buffers for a record, so that an idle connection has none: it holds some 4 KiB.
//
// # Without TLS
//
// Peek reads the name and the protocols of a ClientHello for a router that passes TLS through. It needs no Handshaker.
//
// # Threads and ownership
//
// A Handshaker and a Digest are safe for any goroutine; everything of a connection is owned by its reactor. Callbacks
// of a tls.Config run on the handshake's goroutine and may block: they keep their turn meanwhile, but in Await. A
// ClientSessionCache is also called on reactors.
//
// # Limits
//
// HandshakerOptions, and 16 KiB for a ClientHello: see docs/limits/engine.md. Each is counted by Stats.
package tlsconn
