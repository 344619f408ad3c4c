package proxy

import (
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/session"
)

// run goes through the steps of x from where it stands. It returns when x has to wait, or is over.
func (x *Exchange) run() {
	for {
		if filters := x.judges(); int(x.at) < len(filters) {
			v, blocking := judgeBy(x, filters)
			if blocking != nil {
				x.offload(blocking)
				return
			}
			if v.kind != next {
				x.judge(v)
				return
			}
		}
		if f := x.unasked(); f != nil {
			x.fail(f)
			return
		}
		x.at = 0
		switch x.step {
		case stepBeforeRoute:
			if !chooseRoute(x) {
				return
			}
			x.step = stepRead
			if x.route.ReadBody > 0 && !(*intake)(x).reads() {
				return
			}
			fallthrough
		case stepRead:
			x.step = stepRequest
			stageRequest(x)
		case stepRequest:
			x.step = stepBuffer
			if x.route.BufferRequest > 0 && !(*intake)(x).buffers() {
				return
			}
			fallthrough
		case stepBuffer:
			x.step = stepForward
			if !x.prepare() {
				return
			}
			fallthrough
		case stepForward:
			s, here := x.open()
			if here {
				continue
			}
			if s != nil {
				x.send(s)
			}
			return
		case stepResponse:
			x.step = stepDone
			x.sendResponse()
			return
		}
	}
}

// judges returns the filters of the step that may end it.
func (x *Exchange) judges() []judged {
	switch x.step {
	case stepBeforeRoute:
		return x.snapshot.chain.beforeRoute
	case stepRequest:
		return x.route.chain.request
	case stepResponse:
		return x.filters().response
	}
	return nil
}

// judge acts on the verdict of the filter that ran last.
func (x *Exchange) judge(v Verdict) {
	switch v.kind {
	case next:
		x.run()
	case park:
		x.parked = true
		x.local.keepLent()
		x.charge()
	case respond, fail:
		if f := x.unasked(); v.kind == respond && f != nil {
			v = Fail(f)
		}
		x.respond(v)
	case resend: // nothing has failed
		x.fail(filterFailed)
	case panicked:
		x.fail(Internal)
	}
}

// prepare makes the request ready to be sent on, once. It reports false where it was answered instead.
func (x *Exchange) prepare() bool {
	d, f := chosenLead(x)
	if f != nil {
		x.fail(f)
		return false
	}
	if x.part != nil && x.part.on {
		x.part.passOn(&x.Request, &x.record)
	}
	if x.route.Timeout > 0 || x.timeouts.Total > 0 || x.route == noRoute || x.call.form != grpc.None {
		armTotal(x)
	}
	if s, ok := x.down.(session.Unhurried); ok && x.call.form != grpc.None {
		s.Unhurry() // its messages come when there is something to say
	}
	if x.up.Body.Waiting && !bodyWaited(x) {
		return false
	}
	if !d.sends {
		return true
	}
	if d.forwards {
		sendOn(x, d.noVia)
	}
	host := x.Request.Authority
	if list := x.route.chain.upstreamRequest; len(list) > 0 && !tell(x, list, func(f onExchange) { f(x) }) {
		x.fail(Internal)
		return false
	}
	x.up.Prepared(x.Request.Authority != host)
	if x.Request.Upgrade && d.upgrades {
		if f := x.socket.ask(&x.Request, &x.route.Tunnels, x.listener); f != nil {
			x.refusal = f
		}
	}
	if x.refusal != nil {
		x.fail(x.refusal)
		return false
	}
	x.charge()
	return true
}
