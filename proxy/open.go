package proxy

import (
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// refusalsMax bounds how often an exchange that was refused is offered again: once to the backend that refused it,
// whose connection may have been ending, then to others, if there are any.
const refusalsMax = 3

// open opens the destination, again where it fails at once and something is left to try. It returns nil where x has to
// wait, or was answered.
func (x *Exchange) open() session.Stream {
	for {
		var s session.Stream
		var err error
		x.rechosen = false
		if d, ours := x.lead().to.(*toUpstream); ours {
			s, err = d.Open(x, (*upSide)(x))
		} else {
			s, err = openGuarded(x, x.lead().to)
		}
		switch err := err.(type) {
		case nil:
			x.attempts++
			return s
		case Verdict:
			x.respond(err)
			return nil
		case *Fault:
			x.fail(err)
			return nil
		}
		x.attempts++
		if err == ErrPending || !x.again(err) {
			return nil
		}
	}
}

// openGuarded opens a destination that may be another package's: a panic there is a failure of x.
func openGuarded(x *Exchange, d Destination) (s session.Stream, err error) {
	defer func() {
		if p := recover(); p != nil {
			caught(x, p, "Destination.Open")
			s, err = nil, FaultInternal
		}
	}()
	return d.Open(x, (*guardedSide)(x))
}

// send sends the request to the stream of the destination.
func (x *Exchange) send(s session.Stream) {
	x.try.stream = s
	x.try.connected = x.local.reactor.Now()
	if x.call.form != grpc.None {
		if s, ok := s.(session.Unhurried); ok {
			s.Unhurry()
		}
	}
	if t := &x.timeouts; t.FirstByte > 0 || t.Read > 0 {
		if s, ok := s.(session.Patient); ok {
			s.SetPatience(t.FirstByte, t.Read)
		}
	}
	bodyless := x.toUp.bodyless()
	if err := s.SendHead(&x.Request, bodyless); err != nil {
		upError(x, err)
		return
	}
	if list := x.route.chain.connected; len(list) > 0 && !tell(x, list, func(f onExchange) { f(x) }) {
		x.fail(FaultInternal)
		return
	}
	if bodyless {
		x.toUp.endSent = true
		return
	}
	if !s.Congested() {
		x.resumeUp()
	}
}

// again notes that a backend could not be connected to, and aims at what may be tried next: its other addresses first,
// then other backends, as many as the upstream allows. Where nothing is left it fails x and reports false.
func (x *Exchange) again(cause error) bool {
	a := &x.try
	a.fault, a.cause = faultOfDial(cause), cause
	a.trace(x, "an attempt failed", "error", quoted(cause))
	a.blame(x, a.fault, cause)
	if a.backend == nil || a.fault == faultLimit {
		x.fail(a.fault)
		return false
	}
	if answeredInstead(x) {
		return false
	}
	if !a.next(x) {
		x.fail(a.fault)
		return false
	}
	return true
}

// answeredInstead tells the filters that a backend could not be connected to. It reports whether one of them answered
// the request.
func answeredInstead(x *Exchange) bool {
	list := x.route.chain.connectFailed
	if len(list) == 0 {
		return false
	}
	v := ask(x, list, x.try.fault)
	if v.kind != next {
		x.respond(v)
	}
	return v.kind != next
}

// retry tries once more where that is safe: on another backend when there was no connection, on any connection when the
// backend said that it did not process the request (RFC 9113 §8.7), and on a fresh connection when one of the pool died
// before a byte of the answer, if the request may be repeated (RFC 9110 §9.2.2). All that if the request had no body
// that is gone: none, or one that was kept whole. It reports false where x is left as it was, to be failed.
func (x *Exchange) retry(code session.Code, f *Fault, cause error) bool {
	a := &x.try
	if a.up == nil || x.toUp.begun() && x.toUp.keep == 0 || x.interims > 0 {
		return false
	}
	u := a.up.upstream
	a.fault, a.cause = f, cause
	switch code {
	case session.ConnectFailed, session.ConnectTimeout:
		if answeredInstead(x) {
			return true
		}
		if !a.next(x) {
			if a.fault == f {
				return false
			}
			x.fail(a.fault) // of what was chosen instead
			return true
		}
	case session.Refused:
		if x.refusals++; x.refusals > refusalsMax || u.Retries() == 0 {
			return false
		}
		a.aim = sameBackend
		if x.refusals > 1 && u.Options().Backends.Len() > 1 {
			x.pick.Tried.Add(a.backend.Slot())
			a.aim = nextBackend
		}
		x.toUp.rewind()
		x.local.stats.Retries++
	case session.ConnectionLost:
		if !a.reused || !x.Request.Verb.Idempotent() || !x.toUp.ended || x.retries >= u.Retries() {
			return false
		}
		x.toUp.rewind()
		x.retries++
		x.local.stats.Retries++
		a.aim = sameAddress
	default:
		return false
	}
	if s := x.open(); s != nil {
		x.send(s)
	}
	return true
}

// upFailed ends an exchange whose destination is gone, as far as it still matters.
func (x *Exchange) upFailed(f *Fault) {
	switch {
	case x.tunnel && x.answering && x.toDown.ended:
		// What the destination said is delivered first. Nobody is left for what the client says.
		x.toUp.held = x.toUp.held[:0]
		discardBody(x)
		x.toUp.endSent = true
		x.answerSent()
	case x.tunnel && x.answering && f == faultTimeout:
		x.local.stats.TunnelsIdle++
		x.cut(faultTunnelIdle)
	case x.toDown.ended && (x.answering || x.parked || x.working):
		// The answer is here; that it came before the whole request was sent harms nobody.
		discardBody(x)
	case x.working:
		x.lost = f
	case x.answering:
		x.cut(f)
	default:
		x.fail(f)
	}
}

// takeSide is an Exchange as the Taker of its Waiter: a conversion, not an object of its own.
type takeSide Exchange

// OnTaken goes on with the connection that Open had to wait for.
func (t *takeSide) OnTaken(c *upstream.Conn, err error) {
	x := (*Exchange)(t)
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	x.waited += x.local.reactor.Now() - x.waiter.Since()
	var s session.Stream
	switch {
	case err == nil:
		s = x.try.up.taken(x, c, x.try.receiver)
	case x.again(err):
		s = x.open()
	}
	if s != nil {
		x.send(s)
	}
}

// next aims at what may be tried next. It reports false where nothing is left.
func (a *attempt) next(x *Exchange) bool {
	if d, _ := x.lead().to.(*toUpstream); x.rechosen && d != a.up {
		return a.turnAway(x)
	}
	u := a.up.upstream
	a.refused++
	if a.refused < min(a.backend.Reachable(), addressesMax) {
		a.address, a.aim = a.backend.AddressAfter(a.address), nextAddress
		return true
	}
	x.pick.Tried.Add(a.backend.Slot())
	if x.retries >= u.Retries() {
		return false
	}
	x.retries++
	x.local.stats.Retries++
	a.aim = nextBackend
	return true
}

// detoursMax bounds how often the destination of an exchange is chosen anew.
const detoursMax = 8

// turnAway leaves the destination for another one that was chosen when it failed. It reports false where that has
// happened too often, or where the other one is none.
func (a *attempt) turnAway(x *Exchange) bool {
	if x.detours++; x.detours > detoursMax {
		return false
	}
	a.leave(x)
	d, f := chosenLead(x)
	if f == nil && d.forwards && !x.forwards {
		forward(x, d.noVia)
		f = x.refusal
	}
	if f != nil {
		a.fault, a.cause = f, nil
		return false
	}
	x.forwards = d.forwards
	return true
}
