package forward

import (
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// hedge is a second attempt of a Request at another backend, while the first one waits for its answer: see retry.Hedge.
// The first head that is no failure decides which of them goes on; the other one is cancelled.
//
//	rest ─► armed ─ delay ─► out ─┬─ the first one answers ───────────────► rest    lost
//	           │                  ├─ it fails ────────────────────────────► rest    failed
//	           └─ a head ─► rest  └─ it answers, or the first one fails ─► adopted  won
//
// Once adopted, its attempt is the present one of the Request, and all that comes to it goes to the owner. Owned by its
// Request, which keeps it for the next one.
//
//	state != hedgeRest  <=>  q.aside has hedging
//	state == hedgeOut  =>  q.attempt is the first one, of which no head has come, and q.Body keeps all of the body
type hedge struct {
	q      *Request
	timer  engine.Timer    // runs while armed
	waiter upstream.Waiter // its place while there is no connection
	try    attempt         // the second one, while out
	at     *Backends       // of the first attempt, while armed
	state  hedgeState
	sent   bool          // the second attempt has the whole request
	passed int           // bytes of the body that its stream took
	delay  time.Duration // of the timer
	first  int64         // reactor time at which the first attempt began
	second int64         // the same of the second one
}

// hedgeState is where a hedge stands.
type hedgeState uint8

const (
	hedgeRest    hedgeState = iota // there is nothing to do
	hedgeArmed                     // the timer runs
	hedgeOut                       // both attempts wait for an answer
	hedgeAdopted                   // its attempt is the present one of the Request, and waits for a connection
)

// Raced returns the receiver of an attempt at b, which has a Retry.Hedge, that the owner begins. With the first one q
// begins to wait for the time to hedge, where the request may be sent twice.
func (q *Request) Raced(b *Backends) session.Receiver {
	g := q.hedge
	if q.Attempts > 0 || q.head.Upgrade || !q.head.Verb.Idempotent() && (!q.Call || !b.Retry.On.Calls()) {
		if q.aside&hedging != 0 {
			g.rest()
		}
		return q.owner
	}
	if g == nil {
		g = &hedge{q: q}
		g.timer.Run = g.fire
		g.waiter.Init(g)
		q.hedge = g
	}
	now := q.local.Reactor.Now()
	g.at, g.first, g.delay = b, now, b.Retry.Hedge.Delay(q.local.Reactor.Index(), now)
	g.arm(now + int64(g.delay))
	return (*racedSide)(q)
}

// arm sets the timer for a reactor time.
func (g *hedge) arm(at int64) {
	g.enter(hedgeArmed)
	g.q.local.Reactor.Arm(&g.timer, at)
}

// hedged reports whether a second attempt is under way beside the first one.
func (q *Request) hedged() bool { return q.aside&hedging != 0 && q.hedge.state == hedgeOut }

// enter changes the state.
func (g *hedge) enter(s hedgeState) {
	g.state = s
	if g.q.aside |= hedging; s == hedgeRest {
		g.q.aside &^= hedging
	}
}

// rest stops the timer.
func (g *hedge) rest() {
	g.q.local.Reactor.Disarm(&g.timer)
	g.enter(hedgeRest)
}

// fire makes the second attempt, where that is possible.
func (g *hedge) fire(*engine.Reactor) {
	q := g.q
	defer q.owner.Rescue()
	g.enter(hedgeRest)
	at, possible := g.due()
	if !possible {
		return
	}
	if at > q.local.Reactor.Now() {
		g.arm(at)
		return
	}
	m := g.choose()
	if m == nil {
		return
	}
	b, r := q.To.Retry.Hedge.Budget, q.local.Reactor
	if b != nil && !b.Take(r.Index(), r.Now()) {
		q.local.Stats.Hedges.Denied++
		q.owner.LogField("hedge", "budget")
		if q.To.Limits != nil {
			m.Release()
		}
		return
	}
	g.open(m)
}

// due returns when the second attempt may be made, and whether it may at all. A backend that has not got all of the
// request keeps nobody waiting; a backend that may never get it is looked at more and more seldom.
func (g *hedge) due() (at int64, possible bool) {
	q, body, now := g.q, &g.q.Body, g.q.local.Reactor.Now()
	switch {
	case q.To != g.at: // a failover took q over before there was an attempt
		return 0, false
	case q.aside&pausing != 0: // the first attempt is over
		return 0, false
	case q.Attempts != 1 || q.Interims > 0 || q.Backend == nil || body.Trailers != nil:
		return 0, false
	case body.Bodyless():
		return 0, true
	case body.Begun() && body.Keep == 0:
		return 0, false
	case !body.EndSent:
		return now + max(int64(g.delay), (now-g.first)/4), true
	}
	return q.SentAt + int64(g.delay), true
}

// choose returns the member that the second attempt goes to, nil where there is none: a member as good as the first.
// There is none for the backend that a client belongs to by its cookie: no other one knows its session. Where exchanges
// wait for connections the upstream has no room for more of them.
func (g *hedge) choose() *backend.Member {
	q, r, b := g.q, g.q.local.Reactor, g.q.To
	_, class := q.owner.Route()
	if q.own || b.Upstream.Queued() > 0 || b.Limits != nil && !b.Limits.Admits(r, class, false) {
		return nil
	}
	first := q.Backend
	q.pick.Tried.Add(first.Slot())
	m := b.View.Pick(r, &q.pick)
	if m == nil || m.Reasons() != 0 || !m.SameTier(first) || b.Outliers != nil && b.Outliers.OnTrial(m) {
		return nil
	}
	if _, slow := m.Latency(); slow > 1 {
		return nil
	}
	if b.Limits != nil && !b.Limits.Hold(m) {
		return nil
	}
	return m // with a place where there are limits
}

// open begins the second attempt, at m. It never waits for a slot.
func (g *hedge) open(m *backend.Member) {
	q, r, a, b := g.q, g.q.local.Reactor, &g.try, g.q.To
	*a = attempt{To: b, NameHost: q.NameHost, NewCookie: q.NewCookie}
	a.enter(q, m)
	a.address = int32(b.View.NextAddress(r, m))
	g.second, g.passed, g.sent = r.Now(), 0, false
	a.Course = Course{number: q.Attempts + 1, hedge: true}
	c, err := b.Upstream.Take(r, m, int(a.address), false, &g.waiter)
	if err == upstream.ErrQueueFull || err == upstream.ErrWait && b.Upstream.Queued() > 0 {
		g.waiter.Cancel()
		a.exit(q)
		*a = attempt{}
		if budget := b.Retry.Hedge.Budget; budget != nil {
			budget.Return()
		}
		return
	}
	q.Attempts++
	g.enter(hedgeOut)
	switch err {
	case nil:
		g.send(c)
	case upstream.ErrWait: // OnTaken goes on
	default:
		g.fail(session.ConnectFailed, err)
	}
}

// OnTaken goes on with the connection that open had to wait for.
func (g *hedge) OnTaken(c *upstream.Conn, err error) {
	q := g.q
	defer q.owner.Rescue()
	switch {
	case g.state != hedgeOut:
		g.enter(hedgeRest)
		q.Waited += q.local.Reactor.Now() - g.waiter.Since()
		q.proceed(c, err, &g.waiter, g)
	case err == nil:
		g.send(c)
	default:
		g.fail(session.ConnectFailed, err)
	}
}

// send sends the request on c. Its body is the part that was kept.
func (g *hedge) send(c *upstream.Conn) {
	q, a := g.q, &g.try
	s := c.Open(g)
	a.conn, a.Reused, a.Stream, a.Connected = c, c.Reused(), s, q.local.Reactor.Now()
	if a.NameHost {
		q.name(a)
	}
	a.Course.Span, a.Course.version = q.owner.Tune(s), versionOf(c)
	g.sent = !q.Body.Begun()
	if err := s.SendHead(q.head, g.sent); err != nil {
		g.refuse(err)
		return
	}
	g.sendBody()
}

// sendBody sends the rest of the body.
func (g *hedge) sendBody() {
	kept, s := g.q.Body.Kept, g.try.Stream
	if g.sent || s.Congested() {
		return
	}
	n, err := s.SendData(kept[g.passed:], true)
	if err != nil {
		g.refuse(err)
		return
	}
	if g.passed += n; g.passed == len(kept) {
		g.sent, g.try.SentAt = true, g.q.local.Reactor.Now()
	}
}

// refuse ends the second attempt, whose stream does not take the request. A dead stream says so by OnReset.
func (g *hedge) refuse(err error) {
	if err == session.ErrDead {
		return
	}
	s := g.try.Stream
	g.try.drop()
	s.Reset(session.Cancelled)
	g.end(&g.q.local.Stats.Hedges.Failed, "failed")
}

// fail ends the second attempt, which failed. The first one goes on.
func (g *hedge) fail(code session.Code, cause error) {
	q := g.q
	g.try.drop()
	g.try.fail(q, q.owner.FailureOf(code, cause), code, cause)
	q.pick.Tried.Add(g.try.Backend.Slot())
	g.end(&q.local.Stats.Hedges.Failed, "failed")
}

// end ends the second attempt, whose stream is over, and counts its result.
func (g *hedge) end(counter *uint64, result string) {
	*counter++
	g.q.owner.LogField("hedge", result)
	g.try.exit(g.q)
	g.try = attempt{}
	g.enter(hedgeRest)
}

// lose ends the second attempt: the first one has an answer.
func (g *hedge) lose() {
	g.withdraw(&g.try, &g.waiter, g.second)
	g.end(&g.q.local.Stats.Hedges.Lost, "lost")
}

// cancel ends whatever g does: the owner wants nothing of its destination any more.
func (g *hedge) cancel() {
	switch g.state {
	case hedgeArmed:
		g.rest()
	case hedgeOut:
		g.takeBack(&g.try, &g.waiter)
		g.end(&g.q.local.Stats.Hedges.Cancelled, "cancelled")
	case hedgeAdopted:
		g.q.Waited += g.q.local.Reactor.Now() - g.waiter.Since()
		g.waiter.Cancel()
		g.enter(hedgeRest)
	}
}

// withdraw cancels an attempt that began at a reactor time, because the other one was answered. If it ran longer than
// the delay of the hedge, its age is a sample of the latency, so that a backend that hangs does not look idle: its
// answer would have taken that long at least. A shorter time says nothing.
func (g *hedge) withdraw(a *attempt, w *upstream.Waiter, began int64) {
	g.takeBack(a, w)
	if took := g.q.elapsed(began, a.SentAt); took >= g.delay {
		a.Backend.Answered(g.q.local.Reactor, took)
		g.note(a.To, took)
	}
}

// takeBack takes the request of an attempt back. On HTTP/1 that costs the connection.
func (g *hedge) takeBack(a *attempt, w *upstream.Waiter) {
	w.Cancel()
	a.tried(g.q, nil, 0)
	if s := a.Stream; s != nil {
		if !a.conn.Shared() {
			g.q.local.Stats.Hedges.Closed++
		}
		a.drop()
		s.Reset(session.Cancelled)
	}
	a.exit(g.q)
}

// note keeps how long the head of an answer took, or would have taken at least.
func (g *hedge) note(b *Backends, took time.Duration) {
	if h, r := b.Retry.Hedge.Heads, g.q.local.Reactor; h != nil {
		h.Add(r.Index(), took, r.Now())
	}
}

// adopt makes the second attempt the present one of the Request: the first one has ended, or is withdrawn.
func (g *hedge) adopt() {
	q := g.q
	q.exit(q)
	q.attempt = g.try
	g.try = attempt{}
	g.enter(hedgeRest)
	if g.waiter.Waiting() {
		g.enter(hedgeAdopted)
	}
	if !g.sent {
		q.Body.takeBack(g.passed)
	}
	q.bound(g.second)
	q.local.Stats.Hedges.Won++
	q.owner.LogField("hedge", "won")
}

// takesOver reports whether the second attempt is the present one of the Request from now on, since the first one
// failed by f.
func (g *hedge) takesOver(f Failure, cause error) bool {
	if g.state != hedgeOut {
		return false
	}
	g.adopt()
	g.q.Fault, g.q.Cause = f, cause
	return true
}

// answered notes the head h of the final answer to the attempt that began at a reactor time, the present one
// of the Request.
func (g *hedge) answered(h *message.Head, end bool, began int64) {
	q, r := g.q, g.q.local.Reactor
	if q.assess(q, h, end).failure {
		return
	}
	g.note(q.To, q.elapsed(began, q.SentAt))
	if b := q.To.Retry.Hedge.Budget; b != nil {
		b.Good(r.Index(), r.Now())
	}
}

// replaced reports whether the answer to a, one of two attempts, is a failure that another attempt may replace: the
// other one is it. Then the answer is thrown away. sent says that the whole request was sent.
func (g *hedge) replaced(a *attempt, s session.Stream, h *message.Head, end, sent bool) bool {
	is := a.assess(g.q, h, end)
	if !is.repeated {
		return false
	}
	a.reportAnswer(g.q, is.bad)
	a.giveUp(g.q, s, h, end && sent)
	return true
}

// The Receiver of the second attempt.

// OnHead takes the second attempt's answer for the answer of the Request, or gives it up. An interim one is not worth
// more than a final one of the first attempt.
func (g *hedge) OnHead(s session.Stream, h *message.Head, end bool) {
	q := g.q
	final := h.Status >= 200
	if g.state == hedgeOut {
		switch {
		case !final:
			return
		case g.replaced(&g.try, s, h, end, g.sent):
			q.pick.Tried.Add(g.try.Backend.Slot())
			g.end(&q.local.Stats.Hedges.Failed, "failed")
			return
		}
		g.withdraw(&q.attempt, &q.waiter, g.first)
		g.adopt()
	}
	if final {
		g.answered(h, end, g.second)
	}
	q.owner.OnHead(s, h, end)
}

// OnData passes the data on to the owner.
func (g *hedge) OnData(s session.Stream, p []byte, end bool) { g.q.owner.OnData(s, p, end) }

// OnTrailers passes the trailers on to the owner.
func (g *hedge) OnTrailers(s session.Stream, h *message.Head) { g.q.owner.OnTrailers(s, h) }

// OnSpliced passes the counts on to the owner.
func (g *hedge) OnSpliced(s session.Stream, in, out int) { g.q.owner.OnSpliced(s, in, out) }

// OnSendable goes on with the body.
func (g *hedge) OnSendable(s session.Stream) {
	if g.state == hedgeOut {
		g.sendBody()
		return
	}
	g.q.owner.OnSendable(s)
}

// OnReset is the failure of the second attempt.
func (g *hedge) OnReset(s session.Stream, code session.Code, cause error) {
	switch {
	case g.state != hedgeOut:
		g.q.owner.OnReset(s, code, cause)
	case cause == engine.ErrStopped:
		g.try.drop()
		g.end(&g.q.local.Stats.Hedges.Cancelled, "cancelled")
	default:
		g.fail(code, cause)
	}
}

// racedSide is a Request as the Receiver of the first attempt, beside which there may be another one.
type racedSide Request

// OnHead ends the second attempt, or leaves the answer to it where this one is a failure. An interim one ends nothing.
func (r *racedSide) OnHead(s session.Stream, h *message.Head, end bool) {
	g := r.hedge
	out := g.state == hedgeOut
	switch {
	case h.Status < 200:
	case out && g.replaced(&r.attempt, s, h, end, true):
		g.adopt()
		return
	default:
		if out {
			g.lose()
		} else {
			g.rest()
		}
		g.answered(h, end, g.first)
	}
	r.owner.OnHead(s, h, end)
}

// OnData passes the data on to the owner.
func (r *racedSide) OnData(s session.Stream, p []byte, end bool) { r.owner.OnData(s, p, end) }

// OnTrailers passes the trailers on to the owner.
func (r *racedSide) OnTrailers(s session.Stream, h *message.Head) { r.owner.OnTrailers(s, h) }

// OnSendable tells the owner.
func (r *racedSide) OnSendable(s session.Stream) { r.owner.OnSendable(s) }

// OnSpliced passes the counts on to the owner.
func (r *racedSide) OnSpliced(s session.Stream, in, out int) { r.owner.OnSpliced(s, in, out) }

// OnReset leaves the answer to the second attempt, where there is one.
func (r *racedSide) OnReset(s session.Stream, code session.Code, cause error) {
	q := (*Request)(r)
	if q.hedge.state != hedgeOut || cause == engine.ErrStopped {
		q.owner.OnReset(s, code, cause)
		return
	}
	q.drop()
	f := q.owner.FailureOf(code, cause)
	q.fail(q, f, code, cause)
	q.hedge.takesOver(f, cause)
}

// check panics when an invariant of g does not hold.
func (g *hedge) check() {
	q, b := g.q, &g.q.Body
	invariant.That((g.state != hedgeRest) == (q.aside&hedging != 0), "a hedge in state %d, aside %d", g.state, q.aside)
	invariant.That(g.state == hedgeOut || g.try == attempt{}, "a second attempt in state %d", g.state)
	kept := !b.Begun() && len(b.Held) == 0 || b.EndSent && b.Keep > 0
	whole := b.Ended && kept && q.FirstByte == 0
	invariant.That(g.state != hedgeOut || whole, "a second attempt, the body %+v", b.account)
}
