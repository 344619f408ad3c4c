package proxy

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// downSide is an Exchange as the client's stream sees it: a conversion, not an object of its own.
type downSide Exchange

// OnHead takes the request and sets it on its way.
func (d *downSide) OnHead(_ session.Stream, h *message.Head, end bool) {
	x := (*Exchange)(d)
	if invariant.On {
		defer checkExchange(x)
	}
	h.MoveTo(&x.Request)
	x.started = x.local.reactor.Now()
	x.target, x.authority = x.Request.Target, x.Request.Authority
	x.snapshot = x.proxy.snapshot.Load()
	x.toUp.ended = end
	x.local.stats.Exchanges++
	x.digest = x.down.TLS()
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
	if invariant.On {
		defer checkExchange(x)
	}
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
	case x.step == stepBuffer:
		buffer(x, p, end)
	case x.step < stepForward:
		x.toUp.wait(p, end)
	default:
		x.pushUp(p, len(p), end)
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
	if invariant.On {
		defer checkExchange(x)
	}
	if !x.answering {
		return
	}
	if err := x.toDown.resume(x.try.stream, x.down); err != nil {
		downError(x, err)
		return
	}
	spliceDown(x)
	x.answerSent()
}

// OnReset is the client's end before ours: the backend is told at once.
func (d *downSide) OnReset(_ session.Stream, code session.Code, cause error) {
	x := (*Exchange)(d)
	if invariant.On {
		defer checkExchange(x)
	}
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
		x.local.answered = sessionEnd{cause, x.ID()}
		return faultSlowBody
	case code == session.Timeout:
		return faultClientSlow
	case code == session.Malformed: // the session answers it
		x.local.answered = sessionEnd{cause, x.ID()}
		return faultMalformedBody
	}
	return faultClientGone
}
