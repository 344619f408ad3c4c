package http3

import (
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// refusedStatus is the status that an HTTP/1 client would have got.
func refusedStatus(err error) int {
	switch err {
	case h3.ErrHeadTooLarge, h3.ErrTooManyFields:
		return 431
	case h3.ErrTargetTooLong:
		return 414
	case h3.ErrExpectation:
		return 417
	case h3.ErrHeadTimeout:
		return 408
	}
	return 400
}

// codeOfReset says what a reset means to an exchange.
func codeOfReset(ev *h3.Event) session.Code {
	switch {
	case ev.Err != h3.ErrPeerReset:
		return session.Malformed
	case ev.Code == h3.NoError, ev.Code == h3.RequestCancelled:
		return session.Cancelled
	}
	return session.Aborted
}

// causeOf says what the end of the connection of QUIC means to its exchanges.
func causeOf(k quic.Closure) (session.Code, error) {
	if _, fault := k.Err.(*quic.Error); fault {
		return session.Malformed, k.Err
	}
	if k.ByPeer && k.App && h3.Code(k.Code) == h3.NoError {
		return session.Cancelled, k.Err
	}
	return session.ConnectionLost, k.Err
}

// reasonCode is what the client is told.
var reasonCode = [...]h3.Code{
	shared.ReasonDone: h3.NoError, shared.ReasonCancel: h3.RequestCancelled,
	shared.ReasonRefuse: h3.RequestRejected, shared.ReasonProtocol: h3.MessageError,
	shared.ReasonInternal: h3.InternalError, shared.ReasonConnectBroken: h3.ConnectError,
}
