package shared

import (
	"errors"

	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/message"
)

// Wire is the version of HTTP that a connection speaks. A Link asks it for its streams, whose Handle is the codec's
// stream. Its methods make no callbacks of streams, but for EndBatch.
type Wire interface {
	// SendHead queues a head; with end nothing follows it. ErrUnsettled: it has to wait until the peer has said what it
	// can do, see Settled.
	SendHead(s *Stream, h *message.Head, end bool) error
	// SendData queues as much of p as windows, the queue and the turns of other streams allow. With why Unblocked it
	// took all of p, and the end.
	SendData(s *Stream, p []byte, end bool) (n int, why Blocking, err error)
	// SendTrailers ends the message with h.
	SendTrailers(s *Stream, h *message.Head) error
	// Release opens the window of s by n bytes.
	Release(s *Stream, n int)
	// Reset tells the peer that s is over.
	Reset(s *Stream, why Reason)
	// Discard throws away the rest of a request whose answer was sent whole.
	Discard(s *Stream)
	// Await puts s among the streams that wait for room in the queue.
	Await(s *Stream)
	// NextSendable returns the next stream that may send, in the order of their priorities; false when there is none,
	// or no room. The stream is nil when its exchange is over.
	NextSendable() (*Stream, bool)
	// Congested reports whether senders should wait for room in the queue.
	Congested() bool
	// Settled reports whether it is known what the peer can do, or that it takes an extended CONNECT.
	Settled() bool
	// CodeOf says what an error of SendHead means to an exchange whose request could not be sent.
	CodeOf(err error) stream.Code
	// EndBatch ends a batch: RunStreams, then what the connection itself has to do.
	EndBatch()
}

// End is what the two ends of a connection do differently with their streams. ServerTimes and ClientTimes have most of
// it.
type End interface {
	// SetDeadline sets the deadline for what s waits for.
	SetDeadline(s *Stream)
	// OnDeadline acts on the deadline of s.
	OnDeadline(s *Stream)
	// OnEnded is told that a stream ended, which is not in the list of the Link any more.
	OnEnded(s *Stream)
	// OnBodyReceived is told of n bytes of data that came for s.
	OnBodyReceived(s *Stream, n int)
	// OnBodySent is told of n bytes of data that were sent on s after it was blocked.
	OnBodySent(s *Stream, n int)
	// OnTunnel is told that an exchange became a tunnel.
	OnTunnel()
}

// ErrUnsettled is why a head cannot be sent yet: the peer has not said what it can do.
var ErrUnsettled = errors.New("the settings of the peer are not known yet")

// Reason is why the peer is told that a stream is over. Each version has codes for it.
type Reason uint8

// The reasons.
const (
	ReasonDone          Reason = iota // the answer was sent whole, nothing is wrong with it
	ReasonCancel                      // our side has lost interest
	ReasonRefuse                      // nothing of the request was processed
	ReasonProtocol                    // the peer broke the protocol
	ReasonInternal                    // our side has failed
	ReasonConnectBroken               // the connection that a CONNECT asked for broke
)

// reasonOf is what the peer is told when we end a stream. A server that cuts an answer off has failed; a client that
// does so has lost interest.
func reasonOf(code stream.Code, client bool) Reason {
	switch {
	case code == stream.Refused:
		return ReasonRefuse
	case code == stream.Malformed:
		return ReasonProtocol
	case client, code == stream.Timeout:
		return ReasonCancel
	}
	return ReasonInternal
}
