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
	x.snapshot = x.proxy.snapshot.Load()
	x.toUp.ended = end
	x.local.stats.Exchanges++
	switch {
	case x.local.reactor.Pressure() >= engine.PressureShed:
		x.fail(faultOverload)
	case x.listener.BodyMax > 0 && x.Request.Length > x.listener.BodyMax:
		x.fail(faultTooLarge)
	default:
		x.advance()
	}
}

// OnData passes a piece of the request's body on.
func (d *downSide) OnData(s session.Stream, p []byte, end bool) {
	x := (*Exchange)(d)
	if x.fault != nil { // answered already: nobody wants it
		s.Release(len(p))
		return
	}
	x.bodyIn += int64(len(p))
	if m := x.listener.BodyMax; m > 0 && x.bodyIn > m {
		s.Release(len(p))
		x.fail(faultTooLarge)
		return
	}
	in := len(p)
	if x.route != nil && len(x.route.chain.requestBody) > 0 {
		var v Verdict
		if p, v = x.transform(x.route.chain.requestBody, p, end); v.kind != next {
			s.Release(in)
			x.judge(v)
			return
		}
	}
	x.pushUp(p, in, end)
}

func (x *Exchange) pushUp(p []byte, in int, end bool) {
	if err := x.toUp.push(x.down, x.up, p, in, end); err != nil {
		x.upError(err)
		return
	}
	x.requestSent()
}

// requestSent looks whether the backend is through with both messages.
func (x *Exchange) requestSent() {
	if x.toUp.endSent && x.toDown.ended {
		x.up, x.conn = nil, nil
	}
}

// OnTrailers ends the body. The trailer fields of a request are not passed on.
func (d *downSide) OnTrailers(s session.Stream, _ *message.Head) { d.OnData(s, nil, true) }

// OnSendable goes on with the body of the answer.
func (d *downSide) OnSendable(session.Stream) {
	x := (*Exchange)(d)
	if !x.answering {
		return
	}
	if err := x.toDown.resume(x.up, x.down); err != nil {
		x.downError(err)
		return
	}
	x.answerSent()
}

// OnReset is the client's end before ours: the backend is told at once.
func (d *downSide) OnReset(_ session.Stream, code session.Code, _ error) {
	x := (*Exchange)(d)
	x.downGone = true
	x.local.stats.ClientGone++
	if x.fault == nil {
		x.fault = faultClientGone
		if code == session.Timeout {
			x.fault = faultClientSlow
		}
	}
	x.dropUp()
	if x.working {
		if x.job != nil {
			x.job.Cancel()
		}
		return // the worker owns x; its Done ends it
	}
	x.finish()
}

// downError acts on an error of the client's stream. A stream that is dead says so by OnReset; all others are ours: the
// body did not fit its head.
func (x *Exchange) downError(err error) {
	if err == session.ErrDead {
		x.dropUp()
		return
	}
	x.cut(faultBodyMismatch)
}

// cut ends an answer that has begun and cannot be completed.
func (x *Exchange) cut(f *fault) {
	x.local.stats.Cut++
	x.fault = f
	x.dropUp()
	x.down.Reset(session.Cancelled)
	x.downGone = true
	x.finish()
}

// dropUp takes back what is in progress at the destination.
func (x *Exchange) dropUp() {
	if x.up != nil {
		up := x.up
		x.up, x.conn = nil, nil
		up.Reset(session.Cancelled)
	}
}

// answerSent ends the exchange when the answer has been sent whole.
func (x *Exchange) answerSent() {
	if x.toDown.endSent {
		x.finish()
	}
}

// finish writes the log record and frees x.
func (x *Exchange) finish() {
	x.dropUp()
	if x.status > 0 {
		x.local.stats.Answered[x.status/100%6]++
	}
	if x.snapshot != nil {
		for _, f := range x.filters().log {
			f(x)
		}
		x.log()
	}
	x.recycle()
}
