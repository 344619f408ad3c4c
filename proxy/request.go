package proxy

import (
	"bytes"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// OnHead takes the request and sets it on its way.
func (d *downSide) OnHead(_ session.Stream, h *message.Head, end bool) {
	x := (*Exchange)(d)
	if invariant.On {
		defer checkExchange(x)
	}
	h.MoveTo(&x.Request)
	x.started = x.local.reactor.Now()
	x.target, x.authority = x.Request.Target, x.Request.Authority
	x.snapshot = x.local.proxy.snapshot.Load().of(x.listener)
	x.up.Body.Ended = end
	x.local.stats.Exchanges++
	x.digest = x.down.TLS()
	asked := x.Request.HTTPS
	x.Request.HTTPS = x.digest != nil
	if x.listener.Trusted != nil {
		x.believe(&x.Request, x.down, asked)
	}
	if x.Request.Upgrade && !x.Request.Proto.Shared() {
		settleUpgrade(&x.Request)
	}
	switch {
	case x.local.reactor.Overloaded():
		x.fail(Overload)
		return
	case asked && !x.trusted && x.digest == nil:
		x.fail(schemeMismatch) // RFC 9110 §7.4: rejected unless the connection is secured, or a trusted gateway's
		return
	case x.Request.Underscores && x.listener.Underscores == UnderscoresDrop:
		dropUnderscores(&x.Request)
	}
	for _, refuse := range x.listener.guards {
		switch f := refuse(&x.record, &x.Request); f {
		case nil:
			continue
		case askedPlainly:
			x.respond(x.listener.toHTTPS(&x.Request, x.Client().Local().IP.Port()))
		case answersItself:
			x.respond(x.listener.ownAnswer(&x.Request))
		default:
			x.fail(f)
		}
		return
	}
	x.run()
}

// OnData passes a piece of the request's body on.
func (d *downSide) OnData(s session.Stream, p []byte, end bool) {
	x := (*Exchange)(d)
	if invariant.On {
		defer checkExchange(x)
	}
	if x.own { // answered already: it is not wanted
		s.Release(len(p))
		return
	}
	x.bodyIn += int64(len(p))
	switch {
	case x.working:
		x.up.Body.Wait(p, end)
	case x.tunnel:
		x.pushUp(p, len(p), end)
	case x.bodyIn > bodyMaxOf(x):
		s.Release(len(p))
		x.fail(BodyTooLarge)
	case x.step == stepRead, x.step == stepBuffer:
		if (*intake)(x).takes(p, end) {
			x.run()
		}
	case x.step < stepForward:
		x.up.Body.Wait(p, end)
	default:
		x.pushUp(p, len(p), end)
	}
}

// OnTrailers ends the body with trailer fields.
func (d *downSide) OnTrailers(s session.Stream, h *message.Head) {
	if !d.own {
		d.up.Body.EndWith(h)
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
	if err := x.toDown.Resume(x.up.Stream, x.down); err != nil {
		downError(x, err)
		return
	}
	if x.toDown.Partly && x.up.Stream != nil {
		x.toDown.Partly = false
		x.up.Stream.Release(0)
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
		x.fault = x.whyLeft(x.answering, code, cause)
	}
	x.dropUp()
	if x.working {
		x.ctx.cancel()
		return // the worker owns x; its Done ends it
	}
	x.finish()
}

// whyLeft returns why the client's end came before ours. answering: an answer had begun.
func (k *record) whyLeft(answering bool, code session.Code, cause error) *Error {
	switch {
	case k.tunnel && k.local.reactor.Engine().Draining(), cause == engine.ErrStopped:
		return drained
	case cause == session.ErrSlowBody && !answering: // the session answers it
		k.local.answered = sessionEnd{cause, k.ID()}
		return slowBody
	case code == session.Timeout:
		return clientSlow
	case code == session.Malformed: // the session answers it
		k.local.answered = sessionEnd{cause, k.ID()}
		return malformedBody
	}
	return clientGone
}

// DefaultName is how a Proxy names itself in Via and Proxy-Status unless SetName says otherwise.
const DefaultName = "edge"

// believe reads the forwarding fields of the request h where it comes from a trusted proxy, by down. asked says that
// the target is "https://…": RFC 9110 §7.4.
func (k *record) believe(h *message.Head, down session.Stream, asked bool) {
	t := k.listener.Trusted
	if !t.Peer(down.Peer()) {
		return
	}
	k.trusted = true
	switch by := bytes.Trim(h.Peek(message.XForwardedProto), ", \t"); { // RFC 9110 §5.6.1.2: no empty members
	case len(by) > 0:
		h.HTTPS = message.EqualFold(by, "https")
	case asked:
		h.HTTPS = true
	}
	k.client = t.Client(h)
}

// OnSpliced keeps the account of a request that went by itself.
func (d *downSide) OnSpliced(_ session.Stream, in, out int) {
	d.bodyIn += int64(in)
	d.up.Body.Passed += int64(out)
}
