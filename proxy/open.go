package proxy

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/proxy/meter"
	"github.com/edge-proxy/edge/proxy/retry"
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
			if d.hedge == nil {
				s, err = d.Open(x, (*upSide)(x))
			} else {
				s, err = d.Open(x, raced(x, d))
			}
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
		case *Error:
			if x.try.failOver(x) {
				continue
			}
			x.fail(err)
			return nil
		}
		x.attempts++
		if err == ErrPending || !x.again(err) {
			return nil
		}
	}
}

var errNothing = errors.New("it has returned neither a stream nor an error")

// openGuarded opens a destination that may be another package's: a panic there is a failure of x, as it is to return
// nothing, which nobody would ever answer.
func openGuarded(x *Exchange, d Destination) (s session.Stream, err error) {
	defer func() {
		if p := recover(); p != nil {
			caught(x, p, "Destination.Open")
			s, err = nil, Internal
		}
	}()
	s, err = d.Open(x, (*guardedSide)(x))
	if own, ok := err.(*Error); ok && own == nil || s == nil && err == nil {
		panic(errNothing)
	}
	return s, err
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
	bodyless := x.toUp.bodyless()
	if t := &x.timeouts; t.FirstByte > 0 || t.Read > 0 {
		setPatience(x, s)
	}
	if err := s.SendHead(&x.Request, bodyless); err != nil {
		upError(x, err)
		return
	}
	if list := x.route.chain.connected; len(list) > 0 && !tell(x, list, func(f onExchange) { f(x) }) {
		x.fail(Internal)
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

// setPatience sets the times of an attempt on s.
func setPatience(x *Exchange, s session.Stream) {
	if s, ok := s.(session.Patient); ok {
		s.SetPatience(x.timeouts.FirstByte, x.timeouts.Read)
	}
}

// again notes that a backend could not be connected to, and aims at what may be tried next: its other addresses first,
// then other backends, as many as the upstream allows. Where nothing is left it fails x and reports false.
func (x *Exchange) again(cause error) bool {
	x.stopClock()
	a := &x.try
	a.fault, a.cause, a.shared = errorOfDial(cause), cause, nil // no connection is shared with the attempt before
	a.trace(x, "an attempt failed", "error", quoted(cause))
	a.blame(x, a.fault, cause)
	a.reportError(x, a.fault, session.ConnectFailed)
	a.note(x, a.fault, 0)
	if x.aside&hedging != 0 && x.hedge.takesOver(a.fault, cause) {
		return false
	}
	if a.backend == nil || a.fault == BackendLimit {
		x.detail = a.limitReached(cause)
		x.fail(a.fault)
		return false
	}
	if answeredInstead(x) {
		return false
	}
	if !a.next(x) && !a.failOver(x) {
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
	v, _ := ask(x, list, failing(x, x.try.fault))
	if v.kind != next {
		x.respond(v)
	}
	return v.kind != next
}

// retry tries once more where that is safe, and the policy of the upstream wants it: what was not processed, because
// there was no connection or the backend said so (RFC 9113 §8.7), and else what may be repeated (RFC 9110 §9.2.2). It
// reports false where x is left as it was, to be failed.
func (x *Exchange) retry(code session.Code, f *Error, cause error) bool {
	a := &x.try
	if f.Retry == RetryNever || !a.repeatable(x) {
		return false
	}
	a.fault, a.cause = f, cause
	switch code {
	case session.ConnectFailed, session.ConnectTimeout:
		if answeredInstead(x) {
			return true
		}
		if !a.next(x) && !a.failOver(x) {
			if a.fault == f {
				return false
			}
			x.fail(a.fault) // of what was chosen instead
			return true
		}
	case session.Refused:
		if !a.afterRefusal(x) && !a.failOver(x) {
			return false
		}
	case session.ConnectionLost:
		if !a.afterLoss(x) && !a.failOverAfter(x, retry.Reset) {
			return false
		}
	case session.Truncated, session.WentAway, session.Aborted:
		if (!a.repeats(x, retry.Reset) || !a.another(x, meter.AfterReset, never, false)) &&
			!a.failOverAfter(x, retry.Reset) {
			return false
		}
	case session.Timeout:
		if (!a.repeats(x, retry.Timeout) || !a.another(x, meter.AfterTimeout, 0, false)) &&
			!a.failOverAfter(x, retry.Timeout) {
			return false
		}
	default:
		return false
	}
	reopen(x)
	return true
}

// repeatable reports whether the request could be sent once more: the client has seen nothing of an answer, and no part
// of the body is gone.
func (a *attempt) repeatable(x *Exchange) bool {
	return a.up != nil && x.interims == 0 && (!x.toUp.begun() || x.toUp.keep > 0)
}

// reopen begins the next attempt, at what x.try aims at, after the pause that it wants.
func reopen(x *Exchange) {
	x.toUp.rewind()
	x.try.sent, x.try.bad = 0, false
	if d := x.try.pause; d > 0 {
		x.try.pause = 0
		x.try.exit(x)
		setClock(x, x.local.reactor.Now()+int64(d), pausing)
		return
	}
	openAndSend(x)
}

// openAndSend begins an attempt at what x.try aims at.
func openAndSend(x *Exchange) {
	if s := x.open(); s != nil {
		x.send(s)
	}
}

// judge takes the head h of a final answer on s. It reports whether another attempt takes the place of the answer, and
// has begun: no filter sees anything of one that is thrown away. A good one pays for retries.
func (a *attempt) judge(x *Exchange, s session.Stream, h *message.Head, end bool) (replaced bool) {
	if h.Status >= 400 || x.call.form != grpc.None {
		return a.replaced(x, s, h, end)
	}
	if b := a.up.retry.Budget; b != nil {
		b.Good(x.local.reactor.Index(), x.local.reactor.Now())
	}
	a.reportAnswer(x, false)
	return false
}

// replaced is judge for an answer that may be a failure.
func (a *attempt) replaced(x *Exchange, s session.Stream, h *message.Head, end bool) bool {
	p, r := a.up.retry, x.local.reactor
	is := a.assess(x, h, end)
	a.bad = is.bad
	a.reportAnswer(x, is.bad)
	if p.Budget != nil && !is.failure {
		p.Budget.Good(r.Index(), r.Now())
	}
	if !is.repeated || !a.repeatable(x) || int(x.retries) >= a.up.upstream.Retries() {
		return false
	}
	was := *a
	if !a.another(x, reasonOf(x, int(h.Status)), x.local.notBefore(h), false) {
		return false
	}
	was.backend.Failed(r)
	was.trace(x, "an answer is replaced by another attempt", "status", h.Status)
	was.note(x, nil, int(h.Status))
	a.drop()
	throwAway(s, h, end && x.toUp.endSent)
	reopen(x)
	return true
}

// assessment is what an answer says by its head.
type assessment struct {
	failure  bool // it is one
	bad      bool // it says that the backend cannot serve
	repeated bool // the conditions of the upstream have the request tried again
}

// assess returns what the head h of a final answer says. end says that it is nothing else.
func (a *attempt) assess(x *Exchange, h *message.Head, end bool) (is assessment) {
	on, status := &a.up.retry.On, int(h.Status)
	is.failure, is.bad = status >= 500 || status == 429, status >= 502 && status <= 504
	if x.call.form == grpc.None {
		is.repeated = on.Status(status) && x.Request.Verb.Idempotent()
	} else if status = grpc.StatusOfHead(h, end); status != 0 {
		// To name a status of gRPC as a condition is to say that calls may be repeated: each is a POST.
		is = assessment{failure: grpc.Failed(status), bad: status == grpc.Unavailable, repeated: on.Call(status)}
	}
	return is
}

// reasonOf returns why x is tried again after an answer with status.
func reasonOf(x *Exchange, status int) meter.Retry {
	switch {
	case x.call.form != grpc.None:
		return meter.AfterGRPC
	case status < 500:
		return meter.After4xx
	}
	return meter.After5xx
}

// throwAway gives up an answer whose head h has come on s. over: nothing of the exchange is left.
func throwAway(s session.Stream, h *message.Head, over bool) {
	switch d, ok := s.(session.Discarder); {
	case over:
	case ok && h.Length <= discardMax:
		d.Discard(discardMax)
	default:
		s.Reset(session.Cancelled)
	}
}

// discardMax is how much of an answer that is thrown away is read, so that its connection can be used again: a
// connection costs about as much as reading that.
const discardMax = 64 << 10

// upFailed ends an exchange whose destination is gone, as far as it still matters.
func (x *Exchange) upFailed(f *Error) {
	switch {
	case x.tunnel && x.answering && x.toDown.ended:
		// What the destination said is delivered first. Nobody is left for what the client says.
		x.toUp.held = x.toUp.held[:0]
		discardBody(x)
		x.toUp.endSent = true
		x.answerSent()
	case x.tunnel && x.answering && f == AnswerTimeout:
		x.local.stats.TunnelsIdle++
		x.cut(TunnelIdle)
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
		x.try.boundFromTurn(x, &x.waiter)
		s = x.try.up.taken(x, c, x.try.receiver)
	case x.again(err):
		s = x.open()
	}
	if s != nil {
		x.send(s)
	}
}

// next aims at what may be tried after a connection that was not made. It reports false where nothing is left.
func (a *attempt) next(x *Exchange) bool {
	if d, _ := x.lead().to.(*toUpstream); x.rechosen && d != a.up {
		return a.turnAway(x)
	}
	a.refused++
	if int(a.refused) < min(a.backend.Reachable(), addressesMax) {
		a.address, a.aim = a.backend.AddressAfter(a.address), nextAddress
		return true
	}
	u := a.up.upstream
	if int(x.retries) >= u.Retries() || !a.up.retry.On.Has(retry.Connect) {
		x.pick.Tried.Add(a.backend.Slot())
		return false
	}
	refusing, members := u.Options().Backends.Refusing()
	return a.another(x, meter.AfterConnect, never, freeToMove(refusing, members))
}

// freeToMove reports whether requests that could not be sent to the members that refuse go to others without a budget.
// Nothing was sent. While no more than half of the members refuse, the others get no more than would be theirs without
// those: that is no load that a budget has to bound.
func freeToMove(refusing, members int) bool { return 2*refusing <= members }

// afterRefusal aims at what may be tried after a backend said that it processed nothing: that backend once more, then
// another one. The first refusal is free: the connection may have been ending, or may have got more exchanges than its
// backend takes, before that said how many.
func (a *attempt) afterRefusal(x *Exchange) bool {
	u := a.up.upstream
	if x.refusals++; x.refusals > refusalsMax || u.Retries() == 0 || !a.up.retry.On.Has(retry.RefusedStream) {
		return false
	}
	before := x.retrying
	if !a.mayRetry(x) {
		return false
	}
	if x.refusals > 1 && !a.pay(x) {
		a.endRetry(x, before)
		return false
	}
	a.aim = sameBackend
	if x.refusals > 1 && u.Options().Backends.Len() > 1 {
		x.pick.Tried.Add(a.backend.Slot())
		a.aim = nextBackend
	}
	a.count(x, meter.AfterRefusedStream)
	return true
}

// afterLoss aims at what may be tried after a connection was lost. One that had served before may have been closed
// while the request was on its way, which says nothing of the backend: it is asked once more, on a fresh connection.
// That is free, since a connection is lost but once.
func (a *attempt) afterLoss(x *Exchange) bool {
	if !a.repeats(x, retry.Reset) {
		return false
	}
	if !a.reused {
		return a.another(x, meter.AfterReset, never, false)
	}
	if !a.mayRetry(x) {
		return false
	}
	a.aim = sameAddress
	x.retries++
	a.count(x, meter.AfterReset)
	return true
}

// repeats reports whether a request that may have been processed is worth another attempt after cause.
func (a *attempt) repeats(x *Exchange, cause retry.Cause) bool {
	return a.mayRepeat(x, cause) && int(x.retries) < a.up.upstream.Retries()
}

// mayRepeat is repeats, however many attempts there were.
func (a *attempt) mayRepeat(x *Exchange, cause retry.Cause) bool {
	return a.up.retry.On.Has(cause) && x.Request.Verb.Idempotent() && x.toUp.ended
}

// failOver leaves an upstream none of whose backends can take x for its failover, where x has attempts of their own. It
// is for what was not processed. It reports false where there is no failover.
func (a *attempt) failOver(x *Exchange) bool {
	if a.up == nil || a.up.failover == nil {
		return false
	}
	a.trace(x, "the upstream fails over")
	x.SetDestination(a.up.failover)
	if !a.turnAway(x) {
		return false
	}
	x.retries, x.refusals = 0, 0
	x.local.stats.Failovers++
	return true
}

// failOverAfter is failOver for what may have been processed.
func (a *attempt) failOverAfter(x *Exchange, cause retry.Cause) bool {
	return a.up.failover != nil && a.mayRepeat(x, cause) && a.failOver(x)
}

// never as the pause of another says that no member is asked twice.
const never = -1

// another aims at a member that was not tried, and counts why. Where there is none it aims at any one, after a pause of
// after or more, unless that is never. It reports false where nothing is left, or where the budget is empty; with free
// it asks no budget.
func (a *attempt) another(x *Exchange, why meter.Retry, after time.Duration, free bool) bool {
	x.pick.Tried.Add(a.backend.Slot())
	before := x.retrying
	if !a.mayRetry(x) {
		return false
	}
	if !free && !a.pay(x) {
		a.endRetry(x, before)
		return false
	}
	switch {
	case a.up.choose(x):
		a.aim = sameBackend
	case after == never || after > retry.PauseMax:
		if !free {
			a.repay()
		}
		a.endRetry(x, before)
		return false
	default:
		x.pick.Tried.Reset()
		a.aim, a.pause = nextBackend, max(after, retry.Pause(int(x.retries), rand.Uint64()))
	}
	x.retries++
	a.count(x, why)
	return true
}

// count counts a retry.
func (a *attempt) count(x *Exchange, why meter.Retry) {
	x.local.stats.Retries++
	if m := a.up.meter; m != nil {
		m.CountRetry(x.local.reactor.Index(), why)
	}
}

// mayRetry has x counted among the retries that are under way, until it ends. It reports false where there are as many
// as there may be.
func (a *attempt) mayRetry(x *Exchange) bool {
	if a.up.limits == nil || x.retrying {
		return true
	}
	if x.retrying = a.up.limits.TakeRetry(x.local.reactor); !x.retrying {
		noteDenied(x, "max_retries")
	}
	return x.retrying
}

// endRetry takes back that x is counted as a retry, unless it was before: the retry is not made after all.
func (a *attempt) endRetry(x *Exchange, before bool) {
	if x.retrying && !before {
		a.up.limits.EndRetry()
		x.retrying = false
	}
}

// pay takes a retry from the budget. It reports false where that is empty.
func (a *attempt) pay(x *Exchange) bool {
	b, r := a.up.retry.Budget, x.local.reactor
	if b == nil || a.moves() || b.Take(r.Index(), r.Now()) {
		return true
	}
	x.local.stats.RetriesDenied++
	noteDenied(x, "budget")
	return false
}

// noteDenied has the record say, once, why there was no retry: an attempt that went on for that may fail later.
func noteDenied(x *Exchange, why string) {
	for i := range x.noted {
		if x.noted[i].Name == "retry" {
			return
		}
	}
	x.LogField("retry", why)
}

// repay gives back what pay took, for a retry that is not made.
func (a *attempt) repay() {
	if b := a.up.retry.Budget; b != nil && !a.moves() {
		b.Return()
	}
}

// moves reports whether the member is down by now, while no more than half of all are. Then its retries are free: what
// was under way there goes to the others once, and they get no more than would be theirs without it. A member that
// hangs may have had more than a budget bears, and no good answer pays while all clients wait for it.
func (a *attempt) moves() bool {
	if !a.backend.IsDown() {
		return false
	}
	down, members := a.up.upstream.Options().Backends.Down()
	return freeToMove(down, members)
}

// notBefore returns for how long the backend that answered with h wants no retry, 0 where it does not say.
func (l *local) notBefore(h *message.Head) time.Duration {
	if i := h.Find("Grpc-Retry-Pushback-Ms"); i >= 0 {
		d, ok := retry.Pushback(h.Value(i))
		if !ok {
			return retry.PauseMax + 1
		}
		return d
	}
	if v := h.Peek(message.RetryAfter); v != nil {
		d, _ := retry.After(v, l.wallTime())
		return d
	}
	return 0
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
