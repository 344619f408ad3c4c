package proxy

import (
	"cmp"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy/grpc"
)

// step is where an exchange stands. Those that are named after filters begin with them; they may park.
type step uint8

const (
	stepBeforeRoute step = iota // filters of the snapshot, then the route is chosen
	stepRequest                 // filters of the route, then the request is made ready to be sent on
	stepBuffer                  // the body is received, where the route wants it whole
	stepForward                 // the destination has it
	stepResponse                // filters of the answer, then its head is sent
	stepDone                    // the answer is on its way
)

// run goes through the steps of x from where it stands. It returns when x has to wait for somebody, or is over.
func (x *Exchange) run() {
	for {
		var filters []judged
		switch x.step {
		case stepBeforeRoute:
			filters = x.snapshot.chain.beforeRoute
		case stepRequest:
			filters = x.route.chain.request
		case stepResponse:
			filters = x.filters().response
		}
		if int(x.at) < len(filters) {
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
		if x.refusal == ConditionCut && x.step < stepForward {
			x.fail(ConditionCut)
			return
		}
		x.at = 0
		switch x.step {
		case stepBeforeRoute:
			if !chooseRoute(x) {
				return
			}
			x.step = stepRequest
		case stepRequest:
			x.step = stepBuffer
			if x.route.BufferRequest > 0 && !buffered(x) {
				return
			}
			fallthrough
		case stepBuffer:
			x.step = stepForward
			if !x.prepare() {
				return
			}
			if s := x.open(); s != nil {
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

// judge acts on the verdict of the filter that ran last.
func (x *Exchange) judge(v Verdict) {
	switch v.kind {
	case next:
		x.run()
	case park:
		x.parked = true
		x.charge()
	case respond, fail:
		if v.kind == respond && x.refusal == ConditionCut && x.step < stepForward {
			v = Fail(ConditionCut)
		}
		x.respond(v)
	case resend: // nothing has failed
		x.fail(FilterFailed)
	case panicked:
		x.fail(Internal)
	}
}

// chooseRoute chooses the route of the request. It reports false where the request was answered instead.
func chooseRoute(x *Exchange) bool {
	// CONNECT, OPTIONS and TRACE are neighbours.
	if v := x.Request.Verb - message.VerbConnect; v <= message.VerbTrace-message.VerbConnect {
		if unusual(x) {
			return false
		}
	} else if !findRoute(x) {
		return false
	} else if x.route == nil {
		failRouteless(x)
		return false
	}
	if x.route.GRPC.on(x.listener.GRPC) {
		x.call.begin(&x.Request, x.down)
		x.up.Call = x.call.form != grpc.None
	}
	filtered := x.route.chain.filtersRequest(x)
	if filtered && x.Request.Length != 0 {
		x.Request.Length = message.LengthUnknown
	}
	x.up.Body.Staged = filtered || x.call.form == grpc.WebText
	return true
}

// prepare makes the request ready to be sent on, once. It reports false where it was answered instead.
func (x *Exchange) prepare() bool {
	d, f := chosenLead(x)
	if f != nil {
		x.fail(f)
		return false
	}
	if x.route.Timeout > 0 || x.timeouts.Total > 0 || x.call.form != grpc.None {
		armTotal(x)
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

// choicesMax bounds how many functions choose the destination of an exchange one after the other.
const choicesMax = 8

// chosenLead returns where x leads. Where that is a function, it is asked first: a failure is returned where it chooses
// none.
func chosenLead(x *Exchange) (l *lead, failed *Error) {
	if l = x.lead(); l.choose == nil {
		return l, nil
	}
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, "DestinationFunc")
			l, failed = nil, Internal
		}
	}()
	for range choicesMax {
		d := l.choose(x)
		if d == nil {
			break
		}
		x.SetDestination(d)
		if l = &x.chosen; l.choose == nil {
			return l, nil
		}
	}
	return nil, NoBackend
}

// armTotal bounds the time of the exchange: by its route, and by the client of a call.
func armTotal(x *Exchange) {
	limit := cmp.Or(x.timeouts.Total, x.route.Timeout)
	if x.call.form != grpc.None {
		if d := grpc.Timeout(&x.Request); d > 0 && (limit == 0 || d < limit) {
			limit, x.call.deadline = d, x.started+int64(d)
		}
	}
	if limit == 0 {
		return
	}
	if x.total == nil {
		x.total = &engine.Timer{Run: func(*engine.Reactor) { expire(x) }}
	}
	x.local.reactor.Arm(x.total, x.started+int64(limit))
}

// expire ends an exchange that takes too long.
func expire(x *Exchange) {
	defer x.rescue()
	x.local.stats.Expired++
	f := TotalTimeout
	if x.call.deadline > 0 {
		f = DeadlinePassed
	}
	switch {
	case x.working: // its Done ends it
		x.lost = f
		x.ctx.cancel()
	case x.answering:
		x.cut(f)
	default:
		x.fail(f)
	}
}
