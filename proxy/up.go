package proxy

import (
	"log/slog"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// interimsMax bounds the 1xx heads that are passed on in one exchange.
const interimsMax = 8

func (x *Exchange) resumeUp() {
	if x.toUp.trailers != nil {
		x.siftTrailers()
	}
	if err := x.toUp.resume(x.down, x.up); err != nil {
		x.upError(err)
		return
	}
	x.spliceUp()
	x.requestSent()
	if x.tunnel {
		x.answerSent()
	}
}

// upError acts on an error of the destination's stream. A stream that is dead says so by OnReset.
func (x *Exchange) upError(err error) {
	if err != session.ErrDead {
		x.fail(faultBodyMismatch)
	}
}

// upSide is an Exchange as the destination's stream sees it.
type upSide Exchange

// OnHead takes the answer's head, or passes an interim one on.
func (u *upSide) OnHead(_ session.Stream, h *message.Head, end bool) {
	x := (*Exchange)(u)
	if x.toUp.keep > 0 {
		x.toUp.forget()
	}
	switch {
	case h.Tunnel:
		if !x.openTunnel(h) {
			return
		}
	case h.Status < 200:
		x.interim(h)
		return
	}
	h.MoveTo(&x.Response)
	x.charge()
	x.noteConnect()
	x.firstByte = x.local.reactor.Now()
	x.toDown.ended = end
	if end {
		x.requestSent()
	}
	x.unmeasured(end)
	if x.call.form != noCall {
		x.answerCall()
	}
	for _, f := range x.route.chain.upstreamResponse {
		f(x)
	}
	x.step, x.at = stepResponse, 0
	x.advance()
}

func (x *Exchange) interim(h *message.Head) {
	most := interimsMax
	if h.Status == 100 {
		x.continued = true
	} else if x.Request.Continue && !x.continued {
		most-- // a place is kept for the one that the client waits for
	}
	if x.interims >= most {
		x.local.stats.InterimsLost++
		return
	}
	x.interims++
	dropHopByHop(h)
	if err := x.down.SendHead(h, false); err != nil {
		x.downError(err)
	}
}

// OnData passes a piece of the answer's body on.
func (u *upSide) OnData(_ session.Stream, p []byte, end bool) {
	x := (*Exchange)(u)
	if len(x.route.chain.responseBody) > 0 && !x.tunnel {
		x.filterDown(p, len(p), end)
		return
	}
	x.pushDown(p, len(p), end)
}

func (x *Exchange) pushDown(p []byte, in int, end bool) {
	to := x.down
	if !x.answering {
		to = nil
	}
	from := x.up
	if x.call.form > grpc && x.call.answered {
		p = x.pieceForWeb(p, end)
	}
	if x.tunnel && x.socket.asked {
		x.socket.sent.pass(p)
	}
	if end {
		x.toDown.ended = true
		x.requestSent()
	}
	if err := x.toDown.push(from, to, p, in, end); err != nil {
		x.downError(err)
		return
	}
	if !end {
		x.spliceDown()
	}
	x.answerSent()
}

// OnTrailers ends the answer with trailer fields.
func (u *upSide) OnTrailers(_ session.Stream, h *message.Head) {
	x := (*Exchange)(u)
	if x.toDown.endWith(h); x.working {
		x.toDown.late, x.toDown.ended = true, true
		x.requestSent()
		return
	}
	x.endAnswer()
}

// endAnswer filters the trailers of the answer and passes its end on.
func (x *Exchange) endAnswer() {
	h := x.toDown.trailers
	dropNamed(&x.Response, h)
	for _, f := range x.route.chain.trailers {
		f(x, h)
	}
	if x.call.answered {
		x.noteStatus(h)
	}
	(*upSide)(x).OnData(x.up, nil, true)
}

// OnSendable goes on with the request's body.
func (u *upSide) OnSendable(session.Stream) {
	x := (*Exchange)(u)
	if x.up != nil && !x.working && !(x.toUp.endSent && x.toUp.owed == 0) {
		x.resumeUp()
	}
}

// OnReset is the failure of the backend: another attempt, an answer of our own, or the end of a cut-off answer.
func (u *upSide) OnReset(_ session.Stream, code session.Code, cause error) {
	x := (*Exchange)(u)
	defer x.rescue()
	x.noteConnect()
	x.up, x.conn = nil, nil
	if cause == engine.ErrStopped { // it is not the backend that ended it
		x.upFailed(faultDrain)
		return
	}
	if x.step == stepForward && x.retry(code, cause) {
		return
	}
	if code != session.ConnectFailed && isAlert(cause) { // a handshake that fails is told by who made it
		x.tellAlert(cause)
	}
	x.upFailed(x.cancelled(faultOfReset(code, cause)))
}

// tellAlert says why a backend ended a secured connection. With TLS 1.3 it looks at our certificate when the handshake
// is done for us.
func (x *Exchange) tellAlert(cause error) {
	if d, ok := x.destination().(*toUpstream); ok {
		slog.Warn("a backend refused the secured connection", "upstream", d.upstream.Name(), "backend", x.Backend(),
			"error", cause)
	}
}

// upFailed ends an exchange whose destination is gone, as far as it still matters.
func (x *Exchange) upFailed(f *fault) {
	switch {
	case x.tunnel && x.answering && x.toDown.ended:
		x.endTunnel()
	case x.tunnel && x.answering:
		x.cutTunnel(f)
	case x.toDown.ended && (x.answering || x.parked || x.working):
		// The answer is here; that it came before the whole request was sent harms nobody.
		x.discardBody()
	case x.working:
		x.lost = f
	case x.answering:
		x.cut(f)
	default:
		x.fail(f)
	}
}

// refusalsMax bounds how often an exchange that was refused is offered again: once to the backend that refused it,
// whose connection may have been ending, then to others, if there are any.
const refusalsMax = 3

// retry tries once more where that is safe: on another backend when there was no connection, on any connection when the
// backend said that it did not process the request (RFC 9113 §8.7), and on a fresh connection when one of the pool died
// before a byte of the answer, if the request may be repeated (RFC 9110 §9.2.2). All that if the request had no body
// that is gone: none, or one that was kept whole.
func (x *Exchange) retry(code session.Code, cause error) bool {
	d, ok := x.destination().(*toUpstream)
	if !ok || x.toUp.begun() && x.toUp.keep == 0 || x.interims > 0 {
		return false
	}
	switch code {
	case session.ConnectFailed, session.ConnectTimeout:
		at := d.again(x, cause)
		if at == nowhere {
			return false
		}
		d.attempt(x, at, faultOfReset(code, cause))
		return true
	case session.Refused:
		if x.refusals++; x.refusals > refusalsMax || d.upstream.Retries() == 0 {
			return false
		}
		at := sameBackend
		if x.refusals > 1 && len(d.upstream.Options().Backends) > 1 {
			x.tried.Add(x.backend)
			at = nextBackend
		}
		x.toUp.rewind()
		x.local.stats.Retries++
		d.attempt(x, at, faultRefused)
		return true
	case session.ConnectionLost:
		if !x.reused || !x.Request.Verb.Idempotent() || !x.toUp.ended || x.retries >= d.upstream.Retries() {
			return false
		}
		x.toUp.rewind()
		x.retries++
		x.local.stats.Retries++
		d.attempt(x, sameAddress, faultLost)
		return true
	}
	return false
}
