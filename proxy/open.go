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

// open opens the destination of x, again where it fails at once and something is left to try. It returns the stream
// that takes the request, or reports that the answer is here, with which run goes on. Else x waits, or was answered.
func (x *Exchange) open() (s session.Stream, here bool) {
	for {
		var err error
		x.rechosen = false
		to := x.lead()
		if d, ours := to.to.(*toUpstream); ours { // most are: an Opening would be put together for nothing
			side := session.Receiver((*upSide)(x))
			if d.Retry.Hedge != nil {
				side = x.up.Raced(&d.Backends)
			}
			if s, err = x.up.Open(&d.Backends, side); err == nil {
				x.up.Attempts++
				return s, false
			}
		} else {
			front := to.onward != nil
			o := openGuarded(x, to.to, front)
			switch {
			case o.Stream != nil:
				if !front {
					x.up.Attempts++
				}
				return o.Stream, false
			case o.Stored != nil:
				if !front {
					x.up.Attempts++
					x.up.Started(nil)
				}
				return nil, (*guardedSide)(x).take(o.Stored, front)
			case o.Onward:
				x.onward = true
				continue
			case o.Verdict != nil:
				x.respond(*o.Verdict)
				return nil, false
			}
			err = o.Err
		}
		if f, own := err.(*Error); own {
			if x.up.FailOver() {
				continue
			}
			x.fail(f)
			return nil, false
		}
		x.up.Attempts++
		if err == forward.ErrPending || !x.up.ConnectFailed(err) {
			return nil, false
		}
	}
}

var errNothing = errors.New("its Opening is empty, or goes on from a Destination that is no Front")

// openGuarded opens a destination that may be another package's: a panic there is a failure of x, and so is an Opening
// that nothing would ever follow. front: d is a Front.
func openGuarded(x *Exchange, d Destination, front bool) (o Opening) {
	defer func() {
		if p := recover(); p != nil {
			x.caught(&x.Request, p, "Destination.Open")
			o = Opening{Err: Internal}
		}
	}()
	o = d.Open(x, (*guardedSide)(x))
	if f, own := o.Err.(*Error); own && f == nil ||
		o.Stream == nil && o.Stored == nil && o.Verdict == nil && o.Err == nil && !(o.Onward && front) {
		panic(errNothing)
	}
	return o
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
	x.local.leaveRoom(x)
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
		// What the destination said is delivered first. There is no receiver left for what the client says.
		x.up.Body.Held = x.up.Body.Held[:0]
		discardBody(x)
		x.up.Body.EndSent = true
		x.answerSent()
	case x.tunnel && x.answering && f == answerTimeout:
		x.local.stats.TunnelsIdle++
		x.cut(tunnelIdle)
	case x.toDown.Ended && (x.answering || x.parked || x.working):
		// The answer is here; that it came before the whole request was sent does no harm.
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
func (u *upSide) Reopen() { (*Exchange)(u).run() }

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
