package proxy

import (
	"errors"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/exchange/trace"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/session"
)

// open opens the destination of x, again where it fails at once and something is left to try. It returns nil where x
// has to wait, or was answered.
func (x *Exchange) open() session.Stream {
	for {
		var s session.Stream
		var err error
		x.rechosen = false
		to := x.lead()
		if to.onward != nil {
			s, err = openGuarded(x, to.to, (*storedSide)(x))
			switch err := err.(type) {
			case nil:
				return s
			case *Stored:
				(*storedSide)(x).send(err)
				return nil
			}
			if err == ErrOnward {
				x.onward = true
				continue
			}
		} else if d, ours := to.to.(*toUpstream); ours {
			to := session.Receiver((*upSide)(x))
			if d.Retry.Hedge != nil {
				to = x.up.Raced(&d.Backends)
			}
			s, err = x.up.Open(&d.Backends, to)
		} else if x.fork != nil || x.onward {
			side := (*guardedSide)(x)
			s, err = openGuarded(x, to.to, noFiles{side, side})
		} else {
			s, err = openGuarded(x, to.to, (*guardedSide)(x))
		}
		switch err := err.(type) {
		case nil:
			x.up.Attempts++
			return s
		case *Stored:
			x.up.Attempts++
			x.up.Started(nil)
			(*guardedSide)(x).send(err)
			return nil
		case Verdict:
			x.respond(err)
			return nil
		case *Error:
			if x.up.FailOver() {
				continue
			}
			x.fail(err)
			return nil
		}
		x.up.Attempts++
		if err == ErrPending || !x.up.ConnectFailed(err) {
			return nil
		}
	}
}

var errNothing = errors.New("it has returned neither a stream nor an error")

// openGuarded opens a destination that may be another package's: a panic there is a failure of x, as it is to return
// nothing, which nobody would ever answer.
func openGuarded(x *Exchange, d Destination, to session.Receiver) (s session.Stream, err error) {
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, "Destination.Open")
			s, err = nil, Internal
		}
	}()
	s, err = d.Open(x, to)
	if own, ok := err.(*Error); ok && own == nil || s == nil && err == nil {
		panic(errNothing)
	}
	return s, err
}

// send sends the request to the stream of the destination.
func (x *Exchange) send(s session.Stream) {
	x.up.Started(s)
	bodyless := x.up.Body.Bodyless()
	if t := &x.timeouts; x.up.Call || t.FirstByte > 0 || t.Read > 0 || x.part.sampling() {
		x.up.Course.Span = (*upSide)(x).Tune(s)
	}
	if err := s.SendHead(&x.Request, bodyless); err != nil {
		upError(x, err)
		return
	}
	list := x.route.chain.connected
	if len(list) > 0 && x.lead().onward == nil && !tell(x, list, func(f onExchange) { f(x) }) {
		x.fail(Internal)
		return
	}
	if bodyless {
		x.up.Body.EndSent = true
		return
	}
	if !s.Congested() {
		x.resumeUp()
	}
}

// upFailed ends an exchange whose destination is gone, as far as it still matters.
func (x *Exchange) upFailed(f *Error) {
	switch {
	case x.tunnel && x.answering && x.toDown.Ended:
		// What the destination said is delivered first. Nobody is left for what the client says.
		x.up.Body.Held = x.up.Body.Held[:0]
		discardBody(x)
		x.up.Body.EndSent = true
		x.answerSent()
	case x.tunnel && x.answering && f == answerTimeout:
		x.local.stats.TunnelsIdle++
		x.cut(tunnelIdle)
	case x.toDown.Ended && (x.answering || x.parked || x.working):
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

// The Owner of the attempts, see package forward.

// Send sends the request to the stream of an attempt.
func (u *upSide) Send(s session.Stream) { (*Exchange)(u).send(s) }

// Tune prepares the stream of an attempt for the request, and the request for it.
func (u *upSide) Tune(s session.Stream) (span trace.ID) {
	if u.up.Call {
		if s, ok := s.(session.Unhurried); ok {
			s.Unhurry()
		}
	}
	if s, ok := s.(session.Patient); ok {
		s.SetPatience(u.timeouts.FirstByte, u.timeouts.Read)
	}
	if u.part.sampling() {
		if span = u.part.id; !u.part.apart {
			span = trace.NewID()
		}
		u.part.context.Set(&u.Request, span)
	}
	return span
}

// Reopen begins another attempt where the exchange leads by now, and sends the request.
func (u *upSide) Reopen() {
	x := (*Exchange)(u)
	if s := x.open(); s != nil {
		x.send(s)
	}
}

// Fail ends the exchange: nothing is left to try.
func (u *upSide) Fail(f forward.Failure) { (*Exchange)(u).fail(f.(*Error)) }

// ConnectFailed tells the filters of a backend that could not be connected to. It reports whether one of them answered
// the request.
func (u *upSide) ConnectFailed(f forward.Failure) bool {
	list := u.route.chain.connectFailed
	if len(list) == 0 {
		return false
	}
	x := (*Exchange)(u)
	v, _ := ask(x, list, x.local.withCause(f.(*Error), x.up.CauseOf(f)))
	if v.kind != next {
		x.respond(v)
	}
	return v.kind != next
}

// FailureOf names the failure of an attempt.
func (u *upSide) FailureOf(code session.Code, cause error) forward.Failure {
	return errorOfReset(code, cause)
}

// Moved reports whether the exchange leads elsewhere than to b since the last attempt began.
func (u *upSide) Moved(b *forward.Backends) bool {
	if !u.rechosen {
		return false
	}
	d, ours := (*Exchange)(u).lead().to.(*toUpstream)
	return !ours || &d.Backends != b
}

// Turn makes the request ready for where the exchange leads by now. It returns nil, or why it leads nowhere.
func (u *upSide) Turn() forward.Failure {
	x := (*Exchange)(u)
	d, f := chosenLead(x)
	if f == nil && d.forwards && !x.forwards {
		sendOn(x, d.noVia)
		f = x.refusal
	}
	if f != nil {
		return f
	}
	x.forwards = d.forwards
	return nil
}

// Tried keeps the attempts that failed for the trace, and the first of them for the record of the exchange.
func (u *upSide) Tried(e *forward.Ended) {
	if u.part != nil && u.part.on {
		u.part.noteTried(e, (*Exchange)(u))
	}
	if u.local.rings == nil || e.Failure == nil && e.Status == 0 {
		return
	}
	if u.past == nil {
		u.past = new(past)
	}
	if u.past.first.Backend != 0 {
		return
	}
	how := recent.StatusOutcome(e.Status)
	if e.Failure != nil {
		how = e.Failure.(*Error).noted()
	}
	after := time.Duration(u.local.reactor.Now() - u.started)
	u.past.first = recent.MakeTry(backend.TagOf(e.Member).Of(e.Member.Address()), how, after)
}

// Route returns the name of the route, and the class of the request.
func (u *upSide) Route() (name string, class admission.Class) {
	if f := u.fork; f != nil && f.Class != admission.Usual {
		return u.route.Name, f.Class
	}
	return u.route.Name, u.route.Class
}

// WallTime returns the wall clock of this tick.
func (u *upSide) WallTime() time.Time { return u.local.wallTime() }

// Rescue ends the exchange where code that the reactor runs without a connection panics.
func (u *upSide) Rescue() {
	x := (*Exchange)(u)
	if p := recover(); p != nil {
		x.rescued(p)
	}
	if invariant.On {
		checkExchange(x)
	}
}
