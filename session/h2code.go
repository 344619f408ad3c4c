package session

import (
	"fmt"

	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/stream/shared"
)

// frameHead is the size of the head of a frame: RFC 9113 §4.1.
const frameHead = 9

// ResetError is why a stream of HTTP/2 or HTTP/3 was reset: the peer's code with what the codec makes of it.
// Immutable.
type ResetError struct {
	Code fmt.Stringer
	Err  error
}

// Error names the code and the reason.
func (e *ResetError) Error() string { return e.Err.Error() + " (" + e.Code.String() + ")" }

// Unwrap returns the reason.
func (e *ResetError) Unwrap() error { return e.Err }

// codeOfReset says what a reset means to an exchange. goAwayError: the peer ends the connection for an error.
func codeOfReset(ev *h2.Event, goAwayError bool) Code {
	switch {
	case ev.Err == h2.ErrPeerGoAway && goAwayError:
		return WentAway // not processed either, but this request may be what the error was about
	case ev.Err == h2.ErrPeerGoAway:
		return Refused // RFC 9113 §6.8: not processed, safe to try again
	case ev.Err == h2.ErrStalledPeer, ev.Err == h2.ErrStalledReader:
		return Timeout
	case ev.Err != h2.ErrPeerReset:
		return Malformed
	}
	switch ev.Code {
	case h2.RefusedStream:
		return Refused // RFC 9113 §8.7: the request has not been processed
	case h2.NoError, h2.Cancel:
		return Cancelled
	}
	return Aborted
}

// reasonCode is what the peer is told.
var reasonCode = [...]h2.Code{
	shared.ReasonDone: h2.NoError, shared.ReasonCancel: h2.Cancel, shared.ReasonRefuse: h2.RefusedStream,
	shared.ReasonProtocol: h2.ProtocolError, shared.ReasonInternal: h2.InternalError,
	shared.ReasonConnectBroken: h2.ConnectError,
}
