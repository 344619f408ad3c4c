package forward

import (
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// refusalsMax bounds how often a request that was refused is offered again: once to the backend that refused it, whose
// connection may have been ending, then to others, if there are any.
const refusalsMax = 3

// ConnectFailed notes that a backend could not be connected to, and aims at the next try: the other addresses of the
// backend first, then other backends, as many as the upstream allows. Where nothing is left it fails q and reports
// false.
func (q *Request) ConnectFailed(cause error) bool {
	q.stopClock()
	f := q.owner.FailureOf(session.ConnectFailed, cause)
	q.Fault, q.Cause, q.shared = f, cause, nil // no connection is shared with the attempt before
	q.fail(q, f, session.ConnectFailed, cause)
	if q.aside&hedging != 0 && q.hedge.takesOver(f, cause) {
		return false
	}
	if q.Detail = q.limitReached(cause); q.Backend == nil || q.Detail != "" {
		q.owner.Fail(f)
		return false
	}
	if q.owner.ConnectFailed(f) {
		return false
	}
	if !q.retryDial() && !q.FailOver() {
		q.owner.Fail(q.Fault)
		return false
	}
	return true
}

// Failed notes that the stream of q has ended by f before the answer, and tries once more where that is safe, and the
// policy of the upstream wants it: see retry. answered: an answer has come, so that it says nothing of the backend.
// once: it may not be tried again. It reports false where q is left as it was, to be failed.
func (q *Request) Failed(f Failure, code session.Code, cause error, answered, once bool) (retried bool) {
	connecting := code == session.ConnectFailed || code == session.ConnectTimeout
	if !answered {
		q.fail(q, f, code, cause)
	} else {
		q.trace(q, "an attempt failed", "error", quoted(cause))
	}
	if !once && q.retry(code, f, cause) {
		return true
	}
	if !connecting && !answered {
		q.recordFailure(q, f, cause)
	}
	return false
}

// retry tries once more what was not processed, because there was no connection or the backend said so (RFC 9113 §8.7),
// and else what may be repeated (RFC 9110 §9.2.2).
func (q *Request) retry(code session.Code, f Failure, cause error) bool {
	if !q.repeatable() {
		return false
	}
	q.Fault, q.Cause = f, cause
	switch code {
	case session.ConnectFailed, session.ConnectTimeout:
		if q.owner.ConnectFailed(f) {
			return true
		}
		if !q.retryDial() && !q.FailOver() {
			if q.Fault == f {
				return false
			}
			q.owner.Fail(q.Fault) // of the destination that was chosen instead
			return true
		}
	case session.Refused:
		if !q.afterRefusal() && !q.FailOver() {
			return false
		}
	case session.ConnectionLost:
		if !q.afterLoss() && !q.failOverAfter(retry.Reset) {
			return false
		}
	case session.Truncated, session.WentAway, session.Aborted:
		if (!q.repeats(retry.Reset) || !q.retryOther(meter.AfterReset, never, false)) && !q.failOverAfter(retry.Reset) {
			return false
		}
	case session.Timeout:
		if (!q.repeats(retry.Timeout) || !q.retryOther(meter.AfterTimeout, 0, false)) &&
			!q.failOverAfter(retry.Timeout) {
			return false
		}
	default:
		return false
	}
	q.reopen()
	return true
}

// Resend makes another attempt that a filter of the owner wants: where the owner leads by now, or at another backend of
// the upstream, whatever its conditions are. It reports false where the request cannot be sent once more, or may not.
func (q *Request) Resend() bool {
	switch {
	case q.Stream != nil, q.To == nil && q.Attempts == 0: // it was not sent, or is still
		return false
	case q.aside&hedging != 0 && q.hedge.state != hedgeArmed:
		return false
	case q.Interims > 0 || q.Body.Begun() && q.Body.Keep == 0:
		return false
	}
	if q.owner.Moved(q.To) {
		if !q.turn() {
			return false
		}
		q.retries, q.refusals = 0, 0
	} else if q.To == nil || q.Backend == nil || int(q.retries) >= q.To.Upstream.Retries() ||
		!q.retryOther(meter.AfterFilter, 0, false) {
		return false
	}
	q.Detail = ""
	q.reopen()
	return true
}

// repeatable reports whether the request could be sent once more: the client has seen nothing of an answer, and no part
// of the body is gone.
func (q *Request) repeatable() bool {
	return q.To != nil && q.Interims == 0 && (!q.Body.Begun() || q.Body.Keep > 0)
}

// reopen begins the next attempt, at the backend that q aims at, after the pause that it wants.
func (q *Request) reopen() {
	q.Body.rewind()
	q.SentAt, q.bad = 0, false
	if d := q.pause; d > 0 {
		q.pause = 0
		q.exit(q)
		q.setClock(q.local.Reactor.Now()+int64(d), pausing)
		return
	}
	q.owner.Reopen()
}

// replaced is Judge for an answer that may be a failure.
func (q *Request) replaced(s session.Stream, h *message.Head, end bool) bool {
	p, r := q.To.Retry, q.local.Reactor
	is := q.assess(q, h, end)
	q.bad = is.bad
	q.reportAnswer(q, is.bad)
	if p.Budget != nil && !is.failure {
		p.Budget.Good(r.Index(), r.Now())
	}
	if !is.repeated || !q.repeatable() || int(q.retries) >= q.To.Upstream.Retries() {
		return false
	}
	was := q.attempt
	if !q.retryOther(q.reasonOf(int(h.Status)), q.notBefore(h), false) {
		return false
	}
	q.drop()
	was.giveUp(q, s, h, end && q.Body.EndSent)
	q.reopen()
	return true
}

// giveUp notes that another attempt takes the place of the answer to a, whose head h has come on s, and throws that
// away. over: nothing of the exchange is left.
func (a *attempt) giveUp(q *Request, s session.Stream, h *message.Head, over bool) {
	a.Backend.Failed(q.local.Reactor)
	a.trace(q, "an answer is replaced by another attempt", "status", h.Status)
	a.tried(q, nil, int(h.Status))
	a.drop()
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

// reasonOf returns why q is tried again after an answer with status.
func (q *Request) reasonOf(status int) meter.Retry {
	switch {
	case q.Call:
		return meter.AfterGRPC
	case status < 500:
		return meter.After4xx
	}
	return meter.After5xx
}

// retryDial aims at the next try after a connection that was not made. It reports false where nothing is left.
func (q *Request) retryDial() bool {
	if q.owner.Moved(q.To) {
		return q.turn()
	}
	q.refused++
	if int(q.refused) < min(q.Backend.Reachable(), addressesMax) {
		q.address, q.aim = int32(q.Backend.AddressAfter(int(q.address))), nextAddress
		return true
	}
	u := q.To.Upstream
	if int(q.retries) >= u.Retries() || !q.To.Retry.On.Has(retry.Connect) {
		q.pick.Tried.Add(q.Backend.Slot())
		return false
	}
	refusing, members := u.Options().Backends.Refusing()
	return q.retryOther(meter.AfterConnect, never, freeToMove(refusing, members))
}

// freeToMove reports whether requests that could not be sent to the members that refuse go to others without a budget.
// Nothing was sent. While no more than half of the members refuse, the others get no more than would be theirs without
// those: that is no load that a budget has to bound.
func freeToMove(refusing, members int) bool { return 2*refusing <= members }

// afterRefusal aims at the next try after a backend said that it processed nothing: that backend once more, then
// another one. The first refusal is free: the connection may have been ending, or may have got more exchanges than its
// backend takes, before that said how many.
func (q *Request) afterRefusal() bool {
	u := q.To.Upstream
	if q.refusals++; q.refusals > refusalsMax || u.Retries() == 0 || !q.To.Retry.On.Has(retry.RefusedStream) {
		return false
	}
	before := q.retrying
	if !q.mayRetry() {
		return false
	}
	if q.refusals > 1 && !q.pay() {
		q.endRetry(before)
		return false
	}
	q.aim = sameBackend
	if q.refusals > 1 && u.Options().Backends.Len() > 1 {
		q.pick.Tried.Add(q.Backend.Slot())
		q.aim = nextBackend
	}
	q.count(meter.AfterRefusedStream)
	return true
}

// afterLoss aims at the next try after a connection was lost. A connection that had served before may have been closed
// while the request was on its way, which says nothing of the backend: it is asked once more, on a fresh connection.
// That is free, since a connection is lost but once.
func (q *Request) afterLoss() bool {
	if !q.repeats(retry.Reset) {
		return false
	}
	if !q.Reused {
		return q.retryOther(meter.AfterReset, never, false)
	}
	if !q.mayRetry() {
		return false
	}
	q.aim = sameAddress
	q.retries++
	q.count(meter.AfterReset)
	return true
}

// repeats reports whether a request that may have been processed is worth another attempt after cause.
func (q *Request) repeats(cause retry.Cause) bool {
	return q.mayRepeat(cause) && int(q.retries) < q.To.Upstream.Retries()
}

// mayRepeat is repeats, however many attempts there were.
func (q *Request) mayRepeat(cause retry.Cause) bool {
	return q.To.Retry.On.Has(cause) && q.head.Verb.Idempotent() && q.Body.Ended
}

// FailOver leaves an upstream none of whose backends can take q for its failover, where q has attempts of their own. It
// is for requests that were not processed. It reports false where there is no failover.
func (q *Request) FailOver() bool {
	if q.To == nil || q.To.Failover == nil {
		return false
	}
	q.trace(q, "the upstream fails over")
	q.To.Failover(q.owner)
	if !q.turn() {
		return false
	}
	q.retries, q.refusals = 0, 0
	q.local.Stats.Failovers++
	return true
}

// failOverAfter is FailOver for a request that may have been processed.
func (q *Request) failOverAfter(cause retry.Cause) bool {
	return q.To.Failover != nil && q.mayRepeat(cause) && q.FailOver()
}

// detoursMax bounds how often the destination of a request is chosen anew.
const detoursMax = 8

// turn leaves the backends for the destination that the owner chose when they failed. It reports false where that has
// happened too often, or where the owner leads nowhere.
func (q *Request) turn() bool {
	if q.detours++; q.detours > detoursMax {
		return false
	}
	q.leave()
	if f := q.owner.Turn(); f != nil {
		q.Fault, q.Cause = f, nil
		return false
	}
	return true
}

// never as the pause of retryOther says that no member is asked twice.
const never = -1

// retryOther aims at a member that was not tried, and counts why. Where there is none it aims at any one, after a pause
// of after or more, unless that is never. It reports false where nothing is left, or where the budget is empty; with
// free it asks no budget.
func (q *Request) retryOther(why meter.Retry, after time.Duration, free bool) bool {
	q.pick.Tried.Add(q.Backend.Slot())
	before := q.retrying
	if !q.mayRetry() {
		return false
	}
	if !free && !q.pay() {
		q.endRetry(before)
		return false
	}
	switch {
	case q.choose() == admission.Chosen:
		q.aim = sameBackend
	case after == never || after > retry.PauseMax:
		if !free {
			q.repay()
		}
		q.endRetry(before)
		return false
	default:
		q.pick.Tried.Reset()
		q.aim, q.pause = nextBackend, max(after, retry.Pause(int(q.retries), rand.Uint64()))
	}
	q.retries++
	q.count(why)
	return true
}

// count counts a retry.
func (q *Request) count(why meter.Retry) {
	q.local.Stats.Retries++
	if m := q.To.Meter; m != nil {
		m.CountRetry(q.local.Reactor.Index(), why)
	}
}

// mayRetry counts q among the retries that are under way, until it ends. It reports false where there are as many
// as there may be.
func (q *Request) mayRetry() bool {
	if q.To.Limits == nil || q.retrying {
		return true
	}
	if q.retrying = q.To.Limits.TakeRetry(q.local.Reactor); !q.retrying {
		q.noteDenied("max_retries")
	}
	return q.retrying
}

// endRetry takes back that q is counted as a retry, unless it was before: the retry is not made after all.
func (q *Request) endRetry(before bool) {
	if q.retrying && !before {
		q.To.Limits.EndRetry()
		q.retrying = false
	}
}

// pay takes a retry from the budget. It reports false where that is empty.
func (q *Request) pay() bool {
	b, r := q.To.Retry.Budget, q.local.Reactor
	if b == nil || q.moves() || b.Take(r.Index(), r.Now()) {
		return true
	}
	q.local.Stats.RetriesDenied++
	q.noteDenied("budget")
	return false
}

// noteDenied writes into the record, once, why there was no retry: an attempt that went on for that may fail later.
func (q *Request) noteDenied(why string) {
	if !q.denied {
		q.denied = true
		q.owner.LogField("retry", why)
	}
}

// repay gives back what pay took, for a retry that is not made.
func (q *Request) repay() {
	if b := q.To.Retry.Budget; b != nil && !q.moves() {
		b.Return()
	}
}

// moves reports whether the member is down by now, while no more than half of all are. Then its retries are free: the
// requests that were under way there go to the others once, and they get no more than would be theirs without it. A
// member that hangs may have had more than a budget bears, and no good answer pays while all clients wait for it.
func (q *Request) moves() bool {
	if !q.Backend.IsDown() {
		return false
	}
	down, members := q.To.Upstream.Options().Backends.Down()
	return freeToMove(down, members)
}

// notBefore returns for how long the backend that answered with h wants no retry, 0 where it does not say.
func (q *Request) notBefore(h *message.Head) time.Duration {
	if i := h.Find("Grpc-Retry-Pushback-Ms"); i >= 0 {
		d, ok := retry.Pushback(h.Value(i))
		if !ok {
			return retry.PauseMax + 1
		}
		return d
	}
	if v := h.Peek(message.RetryAfter); v != nil {
		d, _ := retry.After(v, q.owner.WallTime())
		return d
	}
	return 0
}
