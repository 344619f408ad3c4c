package session

import (
	"errors"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tlsconn"
)

// Stream is the sending half of one exchange: of the answer on a server, of the request on a client.
// Owned by its reactor: no method is safe for any other goroutine. A Stream is dead after both ends or a reset; then
// its methods return ErrDead or do nothing.
type Stream interface {
	// SendHead sends a head; end says that no body follows. Interim (1xx) heads may come before the final one. h is
	// borrowed until return. Hop-by-hop fields in it are not sent; framing is written from h.Length. h.Close makes
	// the answer the last one on its connection. A head that is larger than the client takes is not sent:
	// ErrHeadSize. Another one may be sent instead; an interim one is dropped.
	SendHead(h *message.Head, end bool) error
	// SendData sends body bytes and reports how many it took. With n < len(p) the caller keeps the rest, and the
	// end, and waits for OnSendable. p is borrowed until return.
	SendData(p []byte, end bool) (n int, err error)
	// SendTrailers ends the message with trailer fields, where its framing allows them, else without. Trailers that
	// are larger than the client takes are not sent, and the message is not ended: ErrHeadSize.
	SendTrailers(h *message.Head) error
	// Congested reports whether the sender should wait: OnSendable will come.
	Congested() bool
	// Queued returns the bytes that were sent and have not left.
	Queued() int
	// Release says that n of the bytes that OnData delivered are no longer owed.
	Release(n int)
	// Reset ends the exchange at once. No callback follows.
	Reset(code Code)
	// Peer is the address of the other end of the connection.
	Peer() poller.Addr
	// Local is the address of our end.
	Local() poller.Addr
	// TLS is what is known of a TLS connection; nil without TLS.
	TLS() *tlsconn.Digest
}

// NopStream is a Stream that takes everything and does nothing with it: to be embedded.
type NopStream struct{}

// SendHead takes h.
func (NopStream) SendHead(*message.Head, bool) error { return nil }

// SendData takes all of p.
func (NopStream) SendData(p []byte, _ bool) (int, error) { return len(p), nil }

// SendTrailers takes h.
func (NopStream) SendTrailers(*message.Head) error { return nil }

// Congested is false.
func (NopStream) Congested() bool { return false }

// Queued is 0.
func (NopStream) Queued() int { return 0 }

// Release does nothing.
func (NopStream) Release(int) {}

// Reset does nothing.
func (NopStream) Reset(Code) {}

// Peer is no address.
func (NopStream) Peer() poller.Addr { return poller.Addr{} }

// Local is no address.
func (NopStream) Local() poller.Addr { return poller.Addr{} }

// TLS is nil.
func (NopStream) TLS() *tlsconn.Digest { return nil }

// Receiver receives the peer's message of one exchange. All methods run on the reactor, never nested in each other.
type Receiver interface {
	// OnHead delivers a head; end says that no body follows. An answer may be preceded by interim (1xx) heads.
	// h is borrowed until return.
	OnHead(s Stream, h *message.Head, end bool)
	// OnData delivers body bytes, which are owed until Release. p is borrowed until return.
	OnData(s Stream, p []byte, end bool)
	// OnTrailers delivers trailer fields and ends the message. h is borrowed until return.
	OnTrailers(s Stream, h *message.Head)
	// OnSendable says that the stream is no longer congested.
	OnSendable(s Stream)
	// OnReset says that the exchange ended before both its messages did. Exactly once, last. cause may be nil.
	OnReset(s Stream, code Code, cause error)
}

// TunnelDrainer is a Receiver that sends something when its tunnel is ended because the process drains.
type TunnelDrainer interface {
	// OnTunnelDrain is called last before OnReset. What it sends still leaves.
	OnTunnelDrain(s Stream)
}

// Service makes receivers for requests.
type Service interface {
	// Accept is called for each request, before its OnHead, on r, which owns the connection.
	Accept(r *engine.Reactor, s Stream) Receiver
	// Refused is told of a request that the session itself answered with status, because it could not be decoded or
	// did not come in time.
	Refused(r *engine.Reactor, peer poller.Addr, status int, cause error)
}

// A tunnel is what an exchange becomes after 101, or after 2xx to CONNECT: both messages go on as raw bytes, each
// until its sender ends it by FIN, with the same back-pressure as a body.
//
//	client ──Upgrade──► server …… Client ──► origin        requestDone: what follows the request waits
//	       ◄───101───── SendHead ◄─ OnHead ◄──              Tunnel of the head is set: both ends turn
//	       ◄══════════ SendData, OnData, Release ═════►     half close is passed on by SendData with end
//
// It is over when both sides have ended. The connection to the origin alone has a deadline, which every byte in
// either direction moves.

// tunnelState says how far an exchange has become a tunnel.
type tunnelState uint8

const (
	noTunnel    tunnelState = iota
	tunnelAsked             // the request has Upgrade, or is CONNECT
	tunnelOpen              // the answer agreed
)

// asksForTunnel returns the state in which the exchange of a request with head h begins.
func asksForTunnel(h *message.Head) tunnelState {
	if h.Upgrade || h.Verb == message.VerbConnect {
		return tunnelAsked
	}
	return noTunnel
}

// Code says why an exchange was reset.
type Code uint8

// The codes of a reset.
const (
	Cancelled      Code = iota // the peer, or the caller of Reset, no longer wants it
	Refused                    // the peer did not process any of it
	ConnectFailed              // there was no connection to send it on
	ConnectTimeout             // there was none, because connecting took too long
	Timeout                    // the peer was silent for too long
	Malformed                  // what the peer sent breaks the protocol
	Truncated                  // the peer ended before its message did
	ConnectionLost             // the connection broke
	Aborted                    // the peer reset it for a reason of its own; HTTP/2 only
	NoUpgrade                  // the peer takes no upgrades, and was sent nothing; HTTP/2 only
	HeadSize                   // the peer takes no head, or trailers, of that size, and was not sent it; HTTP/2 only
	WentAway                   // the peer ended the connection by GOAWAY with an error, maybe about this exchange
)

var codeText = [...]string{
	"cancelled", "refused", "connection failed", "connection timed out", "timed out", "malformed", "truncated",
	"connection lost", "aborted", "no upgrade", "head too large for the peer", "gone away with an error",
}

// String names c.
func (c Code) String() string { return codeText[c] }

// The errors of a Stream.
var (
	ErrDead      = errors.New("stream is over")
	ErrOrder     = errors.New("head, data and end are out of order")
	ErrTooMuch   = errors.New("more body than the head announced")
	ErrTooLittle = errors.New("less body than the head announced")
	ErrHeadSize  = errors.New("head larger than the peer takes")
)

// eventsPerBatch is how many events of a connection are worked on before other connections have a turn. Bytes are
// no measure for it: 256 KiB may be 16 pieces of a body or 20 000 requests that are answered here.
const eventsPerBatch = 128
