package proxy

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// downSide is an Exchange as the client's stream sees it: a conversion, not an object of its own.
type downSide Exchange

// OnHead takes the request and sets it on its way.
func (d *downSide) OnHead(_ session.Stream, h *message.Head, end bool) {
	x := (*Exchange)(d)
	h.MoveTo(&x.Request)
	x.started = x.local.reactor.Now()
	x.target, x.authority = x.Request.Target, x.Request.Authority
	x.snapshot = x.proxy.snapshot.Load()
	x.toUp.ended = end
	x.local.stats.Exchanges++
	x.digest = x.down.Digest()
	asked := x.Request.HTTPS
	x.Request.HTTPS = x.digest != nil
	if x.listener.Trusted != nil {
		believe(x, asked)
	}
	switch {
	case x.local.reactor.Overloaded():
		x.fail(FaultOverload)
		return
	case asked && !x.trusted && x.digest == nil:
		x.fail(faultMisdirected) // RFC 9110 §7.4: rejected unless the connection is secured, or a trusted gateway's
		return
	case x.Request.Underscores && x.listener.Underscores == UnderscoresDrop:
		dropUnderscores(&x.Request)
	}
	for _, admits := range x.listener.guards {
		if !admits(x) {
			return
		}
	}
	x.run()
}

// OnData passes a piece of the request's body on.
func (d *downSide) OnData(s session.Stream, p []byte, end bool) {
	x := (*Exchange)(d)
	if x.own { // answered already: nobody wants it
		s.Release(len(p))
		return
	}
	x.bodyIn += int64(len(p))
	switch {
	case x.working:
		x.toUp.wait(p, end)
	case x.tunnel:
		x.pushUp(p, len(p), end)
	case x.bodyIn > x.listener.bodyMax:
		s.Release(len(p))
		x.fail(faultTooLarge)
	case x.step < stepForward:
		x.toUp.wait(p, end)
	default:
		x.pushUp(p, len(p), end)
	}
}

// pushUp passes a piece of the request's body on. in is how many bytes it stands for that are not in the account yet.
func (x *Exchange) pushUp(p []byte, in int, end bool) {
	if x.toUp.staged {
		var ok bool
		if p, ok = stageUp(x, p, in, end); !ok {
			return
		}
	}
	if x.toUp.trailers != nil {
		siftTrailers(x)
	}
	if err := x.toUp.push(x.down, x.try.stream, p, in, end); err != nil {
		x.upError(err)
		return
	}
	if !end {
		spliceUp(x)
	}
	x.requestSent()
	if x.tunnel {
		x.answerSent()
	}
}

// discardBody lets what is left of the request's body come and throws it away.
func (x *Exchange) discardBody() {
	x.own = true
	if n := x.toUp.owed; n > 0 {
		x.toUp.owed = 0
		x.down.Release(n)
	}
}

// requestSent looks whether the backend is through with both messages.
func (x *Exchange) requestSent() {
	if x.toUp.endSent && x.toDown.ended {
		x.try.drop()
	}
}

// OnTrailers ends the body with trailer fields.
func (d *downSide) OnTrailers(s session.Stream, h *message.Head) {
	if !d.own {
		d.toUp.endWith(h)
	}
	d.OnData(s, nil, true)
}

// OnSendable goes on with the body of the answer.
func (d *downSide) OnSendable(session.Stream) {
	x := (*Exchange)(d)
	if !x.answering {
		return
	}
	if err := x.toDown.resume(x.try.stream, x.down); err != nil {
		x.downError(err)
		return
	}
	spliceDown(x)
	x.answerSent()
}

// OnReset is the client's end before ours: the backend is told at once.
func (d *downSide) OnReset(_ session.Stream, code session.Code, cause error) {
	x := (*Exchange)(d)
	x.downGone = true
	x.local.stats.ClientGone++
	if x.fault == nil {
		x.fault = whyLeft(x, code, cause)
	}
	x.dropUp()
	if x.working {
		x.cancel()
		return // the worker owns x; its Done ends it
	}
	x.finish()
}

// whyLeft returns why the client's end came before ours.
func whyLeft(x *Exchange, code session.Code, cause error) *Fault {
	switch {
	case x.tunnel && x.local.reactor.Engine().Draining(), cause == engine.ErrStopped:
		return faultDrain
	case cause == session.ErrSlowBody && !x.answering: // the session answers it
		return faultSlowBody
	case code == session.Timeout:
		return faultClientSlow
	case code == session.Malformed: // the session answers it
		return faultMalformedBody
	}
	return faultClientGone
}

// downError acts on an error of the client's stream. A stream that is dead says so by OnReset. A head, or trailers, may
// be larger than the client takes. All others are ours: the body did not fit its head.
func (x *Exchange) downError(err error) {
	switch err {
	case session.ErrDead:
		x.dropUp()
	case session.ErrHeadSize:
		x.cut(faultAnswerSize)
	default:
		x.cut(faultBodyMismatch)
	}
}

// cut ends an answer that has begun and cannot be completed. What a worker owns ends with its Done.
func (x *Exchange) cut(f *Fault) {
	if x.working {
		x.lost = f
		return
	}
	x.local.stats.Cut++
	x.fault = f
	x.dropUp()
	if !x.downGone && !x.call.end(x, f) {
		x.downGone = true
		x.down.Reset(session.Cancelled)
	}
	x.finish()
}

// answerSent ends the exchange when the answer has been sent whole; a tunnel ends when both sides have.
func (x *Exchange) answerSent() {
	if !x.toDown.endSent || x.tunnel && !x.toUp.endSent {
		return
	}
	if x.tunnel && x.own {
		x.downGone = true
		x.down.Reset(session.Cancelled)
	}
	x.finish()
}

// finish writes the log record and frees x. The client's stream may serve the next request already.
func (x *Exchange) finish() {
	x.dropUp()
	x.downGone = true
	if x.total != nil {
		x.local.reactor.Disarm(x.total)
	}
	if x.status > 0 {
		x.local.stats.Answered[x.status/100%6]++
	}
	if x.snapshot != nil {
		if list := x.filters().log; len(list) > 0 {
			x.local.runLog(x, list)
		}
		x.local.logExchange(x)
	}
	x.local.recycle(x)
}
