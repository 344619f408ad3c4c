package proxy

import (
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy/grpc"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// hedge is a second attempt of an exchange at another backend, while the first one waits for its answer: see
// retry.Hedge. The first head that is no failure decides which of them goes on; the other one is cancelled.
//
//	rest ─► armed ─ delay ─► out ─┬─ the first one answers ───────────────► rest    lost
//	           │                  ├─ it fails ────────────────────────────► rest    failed
//	           └─ a head ─► rest  └─ it answers, or the first one fails ─► adopted  won
//
// Once adopted, its attempt is Exchange.try: what comes to it goes to the upSide. Owned by its exchange, which keeps it
// for the next request.
//
//	state != hedgeRest  <=>  x.aside has hedging
//	state == hedgeOut  =>  x.try is the first attempt, of which no head has come, and x.toUp keeps all of the body
type hedge struct {
	x      *Exchange
	timer  engine.Timer    // runs while armed
	waiter upstream.Waiter // its place while there is no connection
	try    attempt         // the second one, while out
	up     *toUpstream     // that the first attempt is at, while armed
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
	hedgeAdopted                   // its attempt is that of the exchange, and waits for a connection
)

// raced returns the receiver of an attempt at d. With the first one it begins to wait for the time to hedge, where the
// request may be sent twice.
func raced(x *Exchange, d *toUpstream) session.Receiver {
	g := x.hedge
	if x.attempts > 0 || x.Request.Upgrade ||
		!x.Request.Verb.Idempotent() && (x.call.form == grpc.None || !d.retry.On.Calls()) {
		if x.aside&hedging != 0 {
			g.rest()
		}
		return (*upSide)(x)
	}
	if g == nil {
		g = &hedge{x: x}
		g.timer.Run = g.fire
		g.waiter.Init(g)
		x.hedge = g
	}
	now := x.local.reactor.Now()
	g.up, g.first, g.delay = d, now, d.hedge.Delay(x.local.reactor.Index(), now)
	g.arm(now + int64(g.delay))
	return (*racedSide)(x)
}

// arm has the timer run until a reactor time.
func (g *hedge) arm(at int64) {
	g.enter(hedgeArmed)
	g.x.local.reactor.Arm(&g.timer, at)
}

// hedged reports whether a second attempt is under way beside the first one.
func hedged(x *Exchange) bool { return x.aside&hedging != 0 && x.hedge.state == hedgeOut }

// enter changes the state.
func (g *hedge) enter(s hedgeState) {
	g.state = s
	if g.x.aside |= hedging; s == hedgeRest {
		g.x.aside &^= hedging
	}
}

// rest stops the timer.
func (g *hedge) rest() {
	g.x.local.reactor.Disarm(&g.timer)
	g.enter(hedgeRest)
}

// fire makes the second attempt, where that is possible.
func (g *hedge) fire(*engine.Reactor) {
	x := g.x
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	g.enter(hedgeRest)
	at, possible := g.due()
	if !possible {
		return
	}
	if at > x.local.reactor.Now() {
		g.arm(at)
		return
	}
	m := g.choose()
	if m == nil {
		return
	}
	b, r := x.try.up.hedge.Budget, x.local.reactor
	if b != nil && !b.Take(r.Index(), r.Now()) {
		x.local.stats.Hedges.Denied++
		x.LogField("hedge", "budget")
		if x.try.up.limits != nil {
			m.Release()
		}
		return
	}
	g.open(m)
}

// due returns when the second attempt may be made, and whether it may at all. A backend that has not got all of the
// request keeps nobody waiting; one that may never get it is looked at more and more seldom.
func (g *hedge) due() (at int64, possible bool) {
	x, l, now := g.x, &g.x.toUp, g.x.local.reactor.Now()
	switch {
	case x.try.up != g.up: // a failover took x over before there was an attempt
		return 0, false
	case x.aside&pausing != 0: // the first attempt is over
		return 0, false
	case x.attempts != 1 || x.step != stepForward || x.interims > 0 || x.try.backend == nil || l.trailers != nil:
		return 0, false
	case l.bodyless():
		return 0, true
	case l.begun() && l.keep == 0:
		return 0, false
	case !l.endSent:
		return now + max(int64(g.delay), (now-g.first)/4), true
	}
	return x.try.sent + int64(g.delay), true
}

// choose returns the member that the second attempt goes to, nil where there is none: one that is as good as the first.
// There is none for the backend that a client belongs to by its cookie: no other one knows its session. Where exchanges
// wait for connections the upstream has no room for more of them.
func (g *hedge) choose() *backend.Member {
	x, r := g.x, g.x.local.reactor
	d, first := x.try.up, x.try.backend
	if x.try.own || d.upstream.Queued() > 0 || d.limits != nil && !d.limits.Admits(r, x.route.Class, false) {
		return nil
	}
	x.pick.Tried.Add(first.Slot())
	m := d.view.Pick(r, &x.pick)
	if m == nil || m.Reasons() != 0 || !m.SameTier(first) || d.outliers != nil && d.outliers.OnTrial(m) {
		return nil
	}
	if _, slow := m.Latency(); slow > 1 {
		return nil
	}
	if d.limits != nil && !d.limits.Hold(m) {
		return nil
	}
	return m // with a place where there are limits
}

// open begins the second attempt, at m. It never waits for a slot.
func (g *hedge) open(m *backend.Member) {
	x, r, a := g.x, g.x.local.reactor, &g.try
	d := x.try.up
	*a = attempt{up: d, nameHost: x.try.nameHost, newCookie: x.try.newCookie}
	a.enter(x, m)
	a.address = d.view.NextAddress(r, m)
	g.second, g.passed, g.sent = r.Now(), 0, false
	c, err := d.upstream.Take(r, m, a.address, false, &g.waiter)
	if err == upstream.ErrQueueFull || err == upstream.ErrWait && d.upstream.Queued() > 0 {
		g.waiter.Cancel()
		a.exit(x)
		*a = attempt{}
		if b := d.hedge.Budget; b != nil {
			b.Return()
		}
		return
	}
	x.attempts++
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
	x := g.x
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	switch {
	case g.state == hedgeOut && err == nil:
		g.send(c)
		return
	case g.state == hedgeOut:
		g.fail(session.ConnectFailed, err)
		return
	}
	g.enter(hedgeRest)
	x.waited += x.local.reactor.Now() - g.waiter.Since()
	var s session.Stream
	switch {
	case err == nil:
		x.try.boundFromTurn(x, &g.waiter)
		s = x.try.up.taken(x, c, g)
	case x.again(err):
		s = x.open()
	}
	if s != nil {
		x.send(s)
	}
}

// send sends the request on c. Its body is what was kept of it.
func (g *hedge) send(c *upstream.Conn) {
	x, a := g.x, &g.try
	s := c.Open(g)
	a.conn, a.reused, a.stream, a.connected = c, c.Reused(), s, x.local.reactor.Now()
	if a.nameHost {
		x.Request.SetAuthority(hostOfAddress(a.backend.Host(), a.up.upstream.Options().TLS.On))
	}
	if x.call.form != grpc.None {
		if s, ok := s.(session.Unhurried); ok {
			s.Unhurry()
		}
	}
	setPatience(x, s)
	g.sent = !x.toUp.begun()
	if err := s.SendHead(&x.Request, g.sent); err != nil {
		g.refuse(err)
		return
	}
	g.sendBody()
}

// sendBody sends what is left of the body.
func (g *hedge) sendBody() {
	l, s := &g.x.toUp, g.try.stream
	if g.sent || s.Congested() {
		return
	}
	n, err := s.SendData(l.kept[g.passed:], true)
	if err != nil {
		g.refuse(err)
		return
	}
	if g.passed += n; g.passed == len(l.kept) {
		g.sent, g.try.sent = true, g.x.local.reactor.Now()
	}
}

// refuse ends the second attempt, whose stream does not take the request. One that is dead says so by OnReset.
func (g *hedge) refuse(err error) {
	if err == session.ErrDead {
		return
	}
	s := g.try.stream
	g.try.drop()
	s.Reset(session.Cancelled)
	g.end(&g.x.local.stats.Hedges.Failed, "failed")
}

// fail ends the second attempt, which failed. The first one goes on.
func (g *hedge) fail(code session.Code, cause error) {
	x := g.x
	g.try.fail(x, code, cause)
	x.pick.Tried.Add(g.try.backend.Slot())
	g.end(&x.local.stats.Hedges.Failed, "failed")
}

// fail notes that an attempt ended before its answer.
func (a *attempt) fail(x *Exchange, code session.Code, cause error) *Error {
	a.drop()
	f := errorOfReset(code, cause)
	a.trace(x, "an attempt failed", "error", quoted(cause))
	if code == session.ConnectFailed || code == session.ConnectTimeout {
		a.blame(x, f, cause)
	}
	a.reportError(x, f, code)
	a.note(x, f, 0)
	return f
}

// end ends the second attempt, whose stream is over, and counts what became of it.
func (g *hedge) end(counter *uint64, result string) {
	*counter++
	g.x.LogField("hedge", result)
	g.try.exit(g.x)
	g.try = attempt{}
	g.enter(hedgeRest)
}

// lose ends the second attempt: the first one has an answer.
func (g *hedge) lose() {
	g.withdraw(&g.try, &g.waiter, g.second)
	g.end(&g.x.local.stats.Hedges.Lost, "lost")
}

// cancel ends whatever g does: the exchange wants nothing of its destination any more.
func (g *hedge) cancel() {
	switch g.state {
	case hedgeArmed:
		g.rest()
	case hedgeOut:
		g.takeBack(&g.try, &g.waiter)
		g.end(&g.x.local.stats.Hedges.Cancelled, "cancelled")
	case hedgeAdopted:
		g.x.waited += g.x.local.reactor.Now() - g.waiter.Since()
		g.waiter.Cancel()
		g.enter(hedgeRest)
	}
}

// withdraw takes the request of an attempt back that began at a reactor time, since the other one has an answer. What
// it took so far is the least that its answer would have taken: more than is usual, if that is longer than the delay.
// Then it counts as a sample, or a backend that hangs would look like one that has nothing to do. Less says nothing.
func (g *hedge) withdraw(a *attempt, w *upstream.Waiter, began int64) {
	r := g.x.local.reactor
	g.takeBack(a, w)
	if took := time.Duration(r.Now() - max(began, a.sent)); took >= g.delay {
		a.backend.Answered(r, took)
		g.note(a.up, took)
	}
}

// takeBack takes the request of an attempt back. On HTTP/1 that costs the connection.
func (g *hedge) takeBack(a *attempt, w *upstream.Waiter) {
	w.Cancel()
	if s := a.stream; s != nil {
		if !a.conn.Shared() {
			g.x.local.stats.Hedges.Closed++
		}
		a.drop()
		s.Reset(session.Cancelled)
	}
	a.exit(g.x)
}

// note keeps how long the head of an answer took, or would have taken at least.
func (g *hedge) note(d *toUpstream, took time.Duration) {
	if h, r := d.hedge.Heads, g.x.local.reactor; h != nil {
		h.Add(r.Index(), took, r.Now())
	}
}

// adopt makes the second attempt the one of x: the first one has ended, or is withdrawn.
func (g *hedge) adopt() {
	x := g.x
	x.try.exit(x)
	x.try = g.try
	g.try = attempt{}
	g.enter(hedgeRest)
	if g.waiter.Waiting() {
		g.enter(hedgeAdopted)
	}
	if !g.sent {
		x.toUp.takeBack(g.passed)
	}
	x.try.bound(x, g.second)
	x.local.stats.Hedges.Won++
	x.LogField("hedge", "won")
}

// takesOver reports whether the second attempt is the one of x from now on, since the first one failed by f.
func (g *hedge) takesOver(f *Error, cause error) bool {
	if g.state != hedgeOut {
		return false
	}
	g.adopt()
	g.x.try.fault, g.x.try.cause = f, cause
	return true
}

// answered notes the head h of the final answer to the attempt that began at a reactor time, which is that of x.
func (g *hedge) answered(h *message.Head, end bool, began int64) {
	x, r := g.x, g.x.local.reactor
	if x.try.assess(x, h, end).failure {
		return
	}
	g.note(x.try.up, time.Duration(r.Now()-max(began, x.try.sent)))
	if b := x.try.up.hedge.Budget; b != nil {
		b.Good(r.Index(), r.Now())
	}
}

// giveUp reports whether the answer to a, one of two attempts, is a failure that another attempt may replace: the other
// one is it. Then the answer is thrown away. sent says that the whole request was sent.
func (g *hedge) giveUp(a *attempt, s session.Stream, h *message.Head, end, sent bool) bool {
	x := g.x
	is := a.assess(x, h, end)
	if !is.repeated || x.interims > 0 {
		return false
	}
	a.reportAnswer(x, is.bad)
	a.backend.Failed(x.local.reactor)
	a.trace(x, "an answer is replaced by another attempt", "status", h.Status)
	a.note(x, nil, int(h.Status))
	a.drop()
	throwAway(s, h, end && sent)
	return true
}

// The Receiver of the second attempt.

// OnHead takes the second attempt's answer for that of x, or gives it up. An interim one is not worth more than a
// final one of the first attempt.
func (g *hedge) OnHead(s session.Stream, h *message.Head, end bool) {
	x := g.x
	final := h.Status >= 200
	if g.state == hedgeOut {
		if invariant.On {
			defer checkExchange(x)
		}
		switch {
		case !final:
			return
		case g.giveUp(&g.try, s, h, end, g.sent):
			x.pick.Tried.Add(g.try.backend.Slot())
			g.end(&x.local.stats.Hedges.Failed, "failed")
			return
		}
		g.withdraw(&x.try, &x.waiter, g.first)
		g.adopt()
	}
	if final {
		g.answered(h, end, g.second)
	}
	(*upSide)(x).OnHead(s, h, end)
}

// OnData is that of upSide.
func (g *hedge) OnData(s session.Stream, p []byte, end bool) { (*upSide)(g.x).OnData(s, p, end) }

// OnTrailers is that of upSide.
func (g *hedge) OnTrailers(s session.Stream, h *message.Head) { (*upSide)(g.x).OnTrailers(s, h) }

// OnSpliced is that of upSide.
func (g *hedge) OnSpliced(s session.Stream, in, out int) { (*upSide)(g.x).OnSpliced(s, in, out) }

// OnSendable goes on with the body.
func (g *hedge) OnSendable(s session.Stream) {
	if g.state == hedgeOut {
		g.sendBody()
		return
	}
	(*upSide)(g.x).OnSendable(s)
}

// OnReset is the failure of the second attempt.
func (g *hedge) OnReset(s session.Stream, code session.Code, cause error) {
	switch {
	case g.state != hedgeOut:
		(*upSide)(g.x).OnReset(s, code, cause)
	case cause == engine.ErrStopped:
		g.try.drop()
		g.end(&g.x.local.stats.Hedges.Cancelled, "cancelled")
	default:
		g.fail(code, cause)
	}
}

// racedSide is an upSide of the first attempt, beside which there may be another one.
type racedSide Exchange

// OnHead ends the second attempt, or leaves the answer to it where this one is a failure.
func (u *racedSide) OnHead(s session.Stream, h *message.Head, end bool) {
	x := (*Exchange)(u)
	g := x.hedge
	out := g.state == hedgeOut
	switch {
	case h.Status < 200 && out: // the body is kept for the second one
		x.stopClock()
		passInterim(x, h)
		return
	case h.Status < 200:
	case out && g.giveUp(&x.try, s, h, end, true):
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
	(*upSide)(u).OnHead(s, h, end)
}

// OnData is that of upSide.
func (u *racedSide) OnData(s session.Stream, p []byte, end bool) { (*upSide)(u).OnData(s, p, end) }

// OnTrailers is that of upSide.
func (u *racedSide) OnTrailers(s session.Stream, h *message.Head) { (*upSide)(u).OnTrailers(s, h) }

// OnSendable is that of upSide.
func (u *racedSide) OnSendable(s session.Stream) { (*upSide)(u).OnSendable(s) }

// OnSpliced is that of upSide.
func (u *racedSide) OnSpliced(s session.Stream, in, out int) { (*upSide)(u).OnSpliced(s, in, out) }

// OnReset leaves the answer to the second attempt, where there is one.
func (u *racedSide) OnReset(s session.Stream, code session.Code, cause error) {
	x := (*Exchange)(u)
	if x.hedge.state != hedgeOut || cause == engine.ErrStopped {
		(*upSide)(u).OnReset(s, code, cause)
		return
	}
	f := x.try.fail(x, code, cause)
	x.hedge.takesOver(f, cause)
}

// check panics when an invariant of g does not hold.
func (g *hedge) check() {
	x := g.x
	invariant.That((g.state != hedgeRest) == (x.aside&hedging != 0), "a hedge in state %d, aside %d", g.state, x.aside)
	invariant.That(g.state == hedgeOut || g.try == attempt{}, "a second attempt in state %d", g.state)
	l := &x.toUp
	kept := !l.begun() && len(l.held) == 0 || l.endSent && l.keep > 0
	invariant.That(g.state != hedgeOut || l.ended && kept && x.step == stepForward && x.try.firstByte == 0,
		"a second attempt in step %d, the body %+v", x.step, l.account)
}
