package session

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// TLS below sessions: crypto/tls makes handshakes on goroutines, and reactors read and write records.
type (
	Digest     = tlsconn.Digest        // what the handshake of a connection has agreed upon; nil without TLS
	Handshaker = tlsconn.Handshaker    // the handshakes of an engine, bounded
	TLSServer  = tlsconn.ServerOptions // for Handshaker.Server, which stands before Server.Accept
	TLSClient  = tlsconn.ClientOptions // for Client.DialTLS and Mux.DialTLS
)

// DigestOf returns the Digest of a connection; nil: it has no TLS.
func DigestOf(c *engine.Conn) *Digest { return tlsconn.DigestOf(c) }

// NewHandshaker makes the Handshaker of an engine, with the bounds that a Server of package edge has.
func NewHandshaker(e *engine.Engine) *Handshaker {
	return tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{})
}
