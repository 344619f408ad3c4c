package forward

import (
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/session"
)

// clocked is what Request.clock runs for: one thing at a time, and overdue beside timed.
const clocked = pausing | timed | overdue

// setClock arms the clock of q for a reactor time, for one of clocked.
func (q *Request) setClock(at int64, what aside) {
	if q.clock == nil {
		q.clock = &engine.Timer{Run: func(*engine.Reactor) { q.onClock() }}
	}
	q.aside = q.aside&^clocked | what
	q.local.Reactor.Arm(q.clock, at)
}

// stopClock stops the clock, where it runs.
func (q *Request) stopClock() {
	if q.aside&clocked != 0 {
		q.aside &^= clocked
		q.local.Reactor.Disarm(q.clock)
	}
}

// onClock begins an attempt after its pause, or ends an attempt that has taken too long.
func (q *Request) onClock() {
	defer q.owner.Rescue()
	was := q.aside
	q.aside &^= clocked
	if was&pausing != 0 {
		q.owner.Reopen()
	} else {
		q.tooLong(was&overdue != 0)
	}
}

// bound bounds the time of an attempt that began at a reactor time, where another one may follow.
func (q *Request) bound(began int64) {
	b := q.To
	if d := b.Retry.PerTry; d > 0 && (int(q.retries) < b.Upstream.Retries() || b.Failover != nil) {
		q.setClock(began+int64(d), timed)
	}
}

// boundFromTurn is bound for an attempt that has waited at w: for a slot it waits for other requests, not for its
// backend.
func (q *Request) boundFromTurn(w *upstream.Waiter) {
	if q.aside&timed != 0 && w.Turn() > w.Since() {
		q.bound(w.Turn())
	}
}

// tooLong ends an attempt without a head after PerTry, where another one can follow: else it goes on, for it may still
// be answered. An attempt that went on without a connection, again, has its time once more from when it has one.
func (q *Request) tooLong(again bool) {
	now, perTry, w := q.local.Reactor.Now(), int64(q.To.Retry.PerTry), q.waiting()
	code, cause := session.Timeout, engine.ErrTimeout
	switch {
	case w != nil && w.Queued():
		q.bound(now)
		return
	case w != nil && now < w.Turn()+perTry:
		q.bound(w.Turn())
		return
	case q.connecting():
		if code, cause = session.ConnectTimeout, engine.ErrConnectTimeout; !q.followed(code) {
			q.bound(now)
			q.aside |= overdue
			return
		}
	case again && now < q.standsSince()+perTry:
		q.bound(q.standsSince())
		return
	case !q.Body.Ended: // it is the client that keeps the backend waiting
		q.bound(now)
		return
	case !q.followed(code):
		return
	}
	raced := q.hedged()
	switch s := q.Stream; {
	case w == &q.waiter:
		w.Cancel()
		(*taker)(q).OnTaken(nil, cause)
	case w != nil:
		w.Cancel()
		q.hedge.OnTaken(nil, cause)
	default:
		q.noteConnect()
		q.drop()
		s.Reset(session.Cancelled)
		if raced {
			(*racedSide)(q).OnReset(s, code, cause)
		} else {
			q.owner.OnReset(s, code, cause)
		}
	}
}

// waiting returns the place at which the attempt waits for its connection; nil: it has one.
func (q *Request) waiting() *upstream.Waiter {
	switch {
	case q.Stream != nil:
		return nil
	case q.waiter.Waiting():
		return &q.waiter
	}
	return &q.hedge.waiter // it was adopted
}

// connecting reports whether the attempt has no connection that stands.
func (q *Request) connecting() bool {
	if q.conn == nil {
		return true
	}
	_, _, stands := q.conn.ConnectedAt()
	return !stands
}

// standsSince returns since when the attempt has a connection that stands.
func (q *Request) standsSince() int64 {
	at, _, _ := q.conn.ConnectedAt()
	return max(at, q.Connected)
}

// followed reports whether another attempt follows an attempt that ends by code, a timeout, or is under way already.
func (q *Request) followed(code session.Code) bool {
	on := &q.To.Retry.On
	switch unsent := code == session.ConnectTimeout; {
	case q.hedged():
		return unsent && on.Has(retry.Connect) || !unsent && on.Has(retry.Timeout)
	case !q.repeatable():
		return false
	case unsent:
		return q.followedUnsent()
	case !q.mayRepeat(retry.Timeout):
		return false
	}
	return q.To.Failover != nil || int(q.retries) < q.To.Upstream.Retries() && q.affords(false)
}

// followedUnsent is followed for an attempt that has no connection.
func (q *Request) followedUnsent() bool {
	switch {
	case q.To.Failover != nil:
		return true
	case !q.To.Retry.On.Has(retry.Connect):
		return false
	case int(q.refused)+1 < min(q.Backend.Reachable(), addressesMax):
		return true
	case int(q.retries) >= q.To.Upstream.Retries() || !q.anotherMember():
		return false
	}
	refusing, members := q.To.Upstream.Options().Backends.Refusing()
	if q.Backend.Trouble() != backend.Connecting {
		refusing++ // as it will
	}
	return q.affords(freeToMove(refusing, members))
}

// anotherMember reports whether a member was not tried that serves and has room.
func (q *Request) anotherMember() bool {
	b, r, pick := q.To, q.local.Reactor, q.pick
	pick.Tried.Add(q.Backend.Slot())
	_, class := q.owner.Route()
	if b.Limits != nil && !b.Limits.Admits(r, class, false) {
		return false
	}
	return b.View.Find(r, &pick, func(m *backend.Member) bool { return b.Limits == nil || b.Limits.Room(m) }) != nil
}

// affords checks the budget and the limit of retries without spending: the end of the attempt spends. free is without
// the budget.
func (q *Request) affords(free bool) bool {
	before := q.retrying
	if !q.mayRetry() {
		return false
	}
	paid := free || q.pay()
	q.endRetry(before)
	if paid && !free {
		q.repay()
	}
	return paid
}
