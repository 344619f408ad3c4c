package stream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
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

// Service makes receivers for requests.
type Service interface {
	// Accept is called for each request, before its OnHead, on r, which owns the connection.
	Accept(r *engine.Reactor, s Stream) Receiver
	// Refused is told of a request that the session itself answered with status, because it could not be decoded or
	// did not come in time.
	Refused(r *engine.Reactor, peer poller.Addr, status int, cause error)
}

// TunnelDrainer is a Receiver that sends something when its tunnel is ended because the process drains.
type TunnelDrainer interface {
	// OnTunnelDrain is called last before OnReset. What it sends still leaves.
	OnTunnelDrain(s Stream)
}

// Unhurried is a Stream that can be exempted from the minimum rate of a body: for message streams such as gRPC.
type Unhurried interface {
	// Unhurry lifts the least rate off the body that is to come. The time between two messages is bounded like the time
	// in a tunnel. For a request that holds until the answer begins; from then on the answer's sender says how long it
	// lasts.
	Unhurry()
}

// Patient is a Stream to an origin whose exchange can have times of its own.
type Patient interface {
	// SetPatience sets what ClientOptions or MuxOptions say of FirstByte and BetweenBytes, for this exchange. 0: as
	// they say. Before SendHead.
	SetPatience(firstByte, between time.Duration)
}

// Discarder is a Stream to an origin on which an answer can be given up without the connection being lost.
type Discarder interface {
	// Discard gives the answer up whose head has come. Up to limit bytes of its body are read and thrown away, for a
	// second; then the connection can serve again. Otherwise it is Reset. No callback follows.
	Discard(limit int)
}
