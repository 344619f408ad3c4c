package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/admission"
	"github.com/edge-proxy/edge/backend/ejection"
	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/proxy/recent"
	"github.com/edge-proxy/edge/proxy/retry"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// attempt is one try of an exchange at its destination, and what it knows of those before.
//
//	open ─► Destination.Open ─► stream: send ─► the answer
//	  ▲          │                 └─ OnReset ─► retry ─► open
//	  │          ├─ ErrPending ─► OnTaken ─► send
//	  └─ again ◄─┴─ an error
//
// Owned by its exchange, which clears it with the rest of its progress.
type attempt struct {
	stream session.Stream // takes the request; nil while there is none
	fault  *Error         // of the try before; the answer when nothing is left to try. nil: there was none
	cause  error          // of fault, as the destination gave it

	// Of To: where the request goes.
	up       *toUpstream      // that was opened; nil: the destination is another one
	conn     *upstream.Conn   // whose stream it is
	shared   *upstream.Conn   // whose stream it was, where others used it too
	receiver session.Receiver // gets the answer, once there is a connection
	backend  *backend.Member  // nil: none was chosen yet
	address  int              // of the backend's
	pause    time.Duration    // before the next try
	aim      aim
	refused  uint8 // addresses of the backend that could not be connected to
	nameHost bool  // the backend is to be sent its own address as Host
	reused   bool  // the connection served others before

	own       bool // the cookie of the client names the backend
	newCookie bool // the answer gives the client the cookie of the backend
	bad       bool // the head of the answer says that the backend cannot serve

	counted counted            // how the backend counts the exchange
	full    bool               // no backend was chosen, since none has room
	whole   recent.Span        // from the head of the request to the end of the answer; 0: not yet, or nobody asks
	limited *admission.Limiter // it holds a place at the backend; nil: none

	connected int64 // reactor time, ns: the request was given to a connection, or that stood
	sent      int64 // the last byte of its body was; 0: it has none, or not yet
	firstByte int64
}

// drop forgets the stream: it is over.
func (a *attempt) drop() {
	if a.conn != nil && a.conn.Shared() {
		a.shared = a.conn
	}
	a.stream, a.conn = nil, nil
}

// reportError counts a failure of a backend that gave no answer, or not all of it, whether a retry hides it or not.
// That a connection which had served before is lost says nothing of the backend, and for the outliers the exchanges
// that shared one are one failure.
func (a *attempt) reportError(x *Exchange, f *Error, code session.Code) {
	if a.backend == nil || f.trouble == backend.NoTrouble {
		return
	}
	if code == session.ConnectionLost && a.reused && a.shared == nil {
		return
	}
	a.backend.Failed(x.local.reactor)
	if a.limited != nil && code == session.Timeout {
		a.limited.Answered(x.local.reactor, time.Duration(x.local.reactor.Now()-max(a.connected, a.sent)))
	}
	if a.up.outliers == nil {
		return
	}
	failed := ejection.Failed{Fault: true}
	if a.shared != nil && code != session.Timeout {
		failed.Once = a.shared
	}
	a.up.outliers.Bad(x.local.reactor, a.backend, failed)
}

// reportAnswer tells the outliers of an answer of which the head has come. bad: it says that the backend cannot serve.
func (a *attempt) reportAnswer(x *Exchange, bad bool) {
	if a.up.outliers == nil {
		return
	}
	if bad {
		a.up.outliers.Bad(x.local.reactor, a.backend, ejection.Failed{Route: x.route.Name})
		return
	}
	a.up.outliers.Good(x.local.reactor, a.backend)
}

// counted says how a backend counts an exchange: nothing, or asRequest or asTunnel, and maybe onTrial.
type counted uint8

const (
	asRequest counted = 1 << iota
	asTunnel
	onTrial // the outliers count it, too: the backend was ejected before
)

// enter has m, the backend that was chosen, count x instead of the one before.
func (a *attempt) enter(x *Exchange, m *backend.Member) {
	a.exit(x)
	m.Enter(x.local.reactor, false)
	a.backend, a.counted, a.sent = m, asRequest, 0
	if a.limited = a.up.limits; a.limited != nil {
		a.limited.Enter(x.local.reactor)
	}
}

// exit ends the count: the backend is through with the request, or the attempt has failed.
func (a *attempt) exit(x *Exchange) {
	if a.counted != 0 {
		a.leaveCounts(x)
	}
}

// leaveCounts ends all counts of x.
func (a *attempt) leaveCounts(x *Exchange) {
	a.backend.Leave(x.local.reactor, a.counted&asTunnel != 0)
	a.leaveTrial()
	a.counted = 0
	a.leavePlace(x)
}

// leaveTrial ends the count of the outliers, if they count x. The caller sets counted anew.
func (a *attempt) leaveTrial() {
	if a.counted&onTrial != 0 {
		a.up.outliers.Leave(a.backend)
	}
}

// limitReached names the limit for which there was no connection, "" where it is none.
func (a *attempt) limitReached(cause error) string {
	switch {
	case a.up == nil: // a destination of another package
	case cause == upstream.ErrQueueFull:
		return fmt.Sprintf("max_pending %d", a.up.upstream.Pending())
	case cause == upstream.ErrQueueTimeout:
		return fmt.Sprintf("max_connections %d", a.up.upstream.Options().PerBackend)
	}
	return ""
}

// leavePlace gives the place at the backend back, where it holds one.
func (a *attempt) leavePlace(x *Exchange) {
	if l := a.limited; l != nil {
		a.limited = nil
		l.Leave(x.local.reactor, a.backend)
	}
}

// become has the backend count x as a tunnel: it may last for hours, and says nothing of how busy the backend is.
func (a *attempt) become(x *Exchange) {
	if a.counted&asRequest != 0 {
		a.backend.Become(x.local.reactor)
		a.leaveTrial()
		a.counted = asTunnel
		a.leavePlace(x)
	}
}

// sample tells the backend how long the head of its answer took, or that it is a failure. An answer that came before
// the whole request was sent says nothing about the backend.
func (a *attempt) sample(x *Exchange) {
	switch {
	case a.backend == nil:
	case a.bad:
		a.backend.Failed(x.local.reactor)
	case x.toUp.endSent:
		took := time.Duration(a.firstByte - max(a.connected, a.sent))
		a.backend.Answered(x.local.reactor, took)
		if a.limited != nil && x.Response.Status < 500 { // a failure may take no time
			a.limited.Answered(x.local.reactor, took)
		}
	}
}

// leave forgets what is known of the destination: it says nothing about another one.
func (a *attempt) leave(x *Exchange) {
	a.exit(x)
	if x.retrying {
		a.up.limits.EndRetry()
		x.retrying = false
	}
	x.stopClock() // of a Destination that has opened this one and gave it up
	*a = attempt{fault: a.fault, cause: a.cause}
	x.pick = balance.Request{}
	x.Request.Authority = x.filtered
}

// aim says where the next try goes.
type aim uint8

const (
	nextBackend aim = iota // that was not tried
	nextAddress            // of the same backend, whose name has several
	sameAddress            // on a connection that no exchange used before
	sameBackend            // on any connection
)

// blame notes a failure of the backend, which the log tells of where that is news.
func (a *attempt) blame(x *Exchange, f *Error, cause error) {
	m := a.backend
	switch {
	case f == NoPorts, f == NoDescriptors:
		x.local.tellOwn(f, cause)
		return
	case m == nil || f.trouble == backend.NoTrouble:
		return
	}
	t, tell := m.Fail(f.trouble, f.Text, x.local.wallTime())
	if !tell {
		return
	}
	try := f.try
	if f == ConnectRefused && m.ID().Addr.IsUnix() {
		try = trySocket
	}
	slog.Warn("a backend fails", "upstream", a.up.upstream.Name(), "backend", m.Address(), "address", a.addr(),
		"what", f.Text, "reason", f.Reason(), "error", quoted(cause), "since", t.Since, "failures", t.Failures,
		"request", x.ID(), "try", try)
}

// ownEvery is the least time between two lines of a reactor about failures of the proxy's own.
const ownEvery = 10 * time.Second

// tellOwn tells of a failure to connect that is not the backend's.
func (l *local) tellOwn(f *Error, cause error) {
	if now := l.reactor.Now(); l.toldOwn == 0 || now-l.toldOwn >= int64(ownEvery) {
		l.toldOwn = now
		slog.Warn("no connection to a backend can be made", "what", f.Text, "reason", f.Reason(),
			"error", quoted(cause), "try", f.try)
	}
}

// trySocket is what to look at where a Unix socket refuses.
const trySocket = "the file is there and nobody listens: does the process that made it still run?"

// praise notes that the backend serves, where it was in a trouble that this ends.
func (a *attempt) praise(x *Exchange) {
	m := a.backend
	if a.conn != nil { // it may have been dialled at another address: see Happy Eyeballs in package upstream
		m.Readmit(a.conn.At())
	} else if addrs := *m.Addrs(); a.address < len(addrs) && m.Reachable() == len(addrs) {
		m.Readmit(addrs[a.address])
	}
	if t, told := m.Recover(); told {
		slog.Info("a backend serves again", "upstream", a.up.upstream.Name(), "backend", m.Address(),
			"after", x.local.wallTime().Sub(t.Since).Round(time.Millisecond).String(), "failures", t.Failures)
	}
}

// trace tells of the end of an attempt, where the level debug is logged.
func (a *attempt) trace(x *Exchange, what string, details ...any) {
	if a.backend == nil || !slog.Default().Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs := []any{"request", x.ID(), "attempt", x.attempts, "upstream", a.up.upstream.Name(),
		"backend", a.backend.Address(), "address", a.addr(), "reused", a.reused}
	slog.Debug(what, append(attrs, details...)...)
}

// addr returns the address that the attempt was made at.
func (a *attempt) addr() string {
	if a.conn != nil {
		return a.conn.At().String()
	}
	if addrs := *a.backend.Addrs(); a.address < len(addrs) {
		return addrs[a.address].String()
	}
	return ""
}

// quotedMax bounds what a line of the log quotes from a backend.
const quotedMax = 256

func quoted(err error) string {
	if err == nil {
		return "the connection was closed"
	}
	text := err.Error()
	return text[:min(len(text), quotedMax)]
}

// noteConnect adds the time that x spent on its connection being established, before the first byte of the answer or
// the end of the attempt. What a connection took that had served before is not the time of x.
func (a *attempt) noteConnect(x *Exchange) {
	if a.reused || a.conn == nil || a.firstByte > 0 {
		return
	}
	at, handshake, stands := a.conn.ConnectedAt()
	if !stands {
		at = x.local.reactor.Now()
	}
	if at > a.connected {
		x.dialled += at - a.connected
		x.secured += min(handshake, at-a.connected)
		a.connected = at
	}
}

// clocked is what Exchange.clock runs for: one thing at a time, and overdue beside timed.
const clocked = pausing | timed | overdue

// setClock has the clock of x run until a reactor time, for what is one of clocked.
func setClock(x *Exchange, at int64, what aside) {
	if x.clock == nil {
		x.clock = &engine.Timer{Run: func(*engine.Reactor) { ring(x) }}
	}
	x.aside = x.aside&^clocked | what
	x.local.reactor.Arm(x.clock, at)
}

// stopClock stops the clock, where it runs.
func (x *Exchange) stopClock() {
	if x.aside&clocked != 0 {
		x.aside &^= clocked
		x.local.reactor.Disarm(x.clock)
	}
}

// ring begins an attempt after its pause, or ends one that has taken too long.
func ring(x *Exchange) {
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	was := x.aside
	x.aside &^= clocked
	if was&pausing != 0 {
		openAndSend(x)
	} else {
		x.try.tooLong(x, was&overdue != 0)
	}
}

// bound bounds the time of an attempt that began at a reactor time, where another one may follow.
func (a *attempt) bound(x *Exchange, began int64) {
	if u := a.up; u.perTry > 0 && (int(x.retries) < u.upstream.Retries() || u.failover != nil) {
		setClock(x, began+int64(u.perTry), timed)
	}
}

// boundFromTurn is bound for an attempt that has waited at w: for a slot it waits for other requests, not for its
// backend.
func (a *attempt) boundFromTurn(x *Exchange, w *upstream.Waiter) {
	if x.aside&timed != 0 && w.Turn() > w.Since() {
		a.bound(x, w.Turn())
	}
}

// tooLong ends an attempt of which no head has come in its time, where another one can follow: else it goes on, for it
// may still be answered. One that went on without a connection, again, has its time once more from when it has one.
func (a *attempt) tooLong(x *Exchange, again bool) {
	now, w := x.local.reactor.Now(), waiterOf(x)
	code, cause := session.Timeout, engine.ErrTimeout
	switch {
	case w != nil && w.Queued():
		a.bound(x, now)
		return
	case w != nil && now < w.Turn()+int64(a.up.perTry):
		a.bound(x, w.Turn())
		return
	case a.connecting():
		if code, cause = session.ConnectTimeout, engine.ErrConnectTimeout; !a.followed(x, code) {
			a.bound(x, now)
			x.aside |= overdue
			return
		}
	case again && now < a.standsSince()+int64(a.up.perTry):
		a.bound(x, a.standsSince())
		return
	case !x.toUp.ended: // it is the client that keeps the backend waiting
		a.bound(x, now)
		return
	case !a.followed(x, code):
		return
	}
	raced := hedged(x)
	switch s := a.stream; {
	case w == &x.waiter:
		w.Cancel()
		(*takeSide)(x).OnTaken(nil, cause)
	case w != nil:
		w.Cancel()
		x.hedge.OnTaken(nil, cause)
	default:
		a.noteConnect(x)
		a.drop()
		s.Reset(session.Cancelled)
		if raced {
			(*racedSide)(x).OnReset(s, code, cause)
		} else {
			(*upSide)(x).OnReset(s, code, cause)
		}
	}
}

// waiterOf returns the place at which the attempt waits for its connection; nil: it has one.
func waiterOf(x *Exchange) *upstream.Waiter {
	switch {
	case x.try.stream != nil:
		return nil
	case x.waiter.Waiting():
		return &x.waiter
	}
	return &x.hedge.waiter // it was adopted
}

// connecting reports whether the attempt has no connection that stands.
func (a *attempt) connecting() bool {
	if a.conn == nil {
		return true
	}
	_, _, stands := a.conn.ConnectedAt()
	return !stands
}

// standsSince returns since when the attempt has a connection that stands.
func (a *attempt) standsSince() int64 {
	at, _, _ := a.conn.ConnectedAt()
	return max(at, a.connected)
}

// followed reports whether another attempt follows one that ends by code, a timeout, or is under way already.
func (a *attempt) followed(x *Exchange, code session.Code) bool {
	on := &a.up.retry.On
	switch unsent := code == session.ConnectTimeout; {
	case hedged(x):
		return unsent && on.Has(retry.Connect) || !unsent && on.Has(retry.Timeout)
	case x.step != stepForward || !a.repeatable(x):
		return false
	case unsent:
		return a.followedUnsent(x)
	case !a.mayRepeat(x, retry.Timeout):
		return false
	}
	return a.up.failover != nil || int(x.retries) < a.up.upstream.Retries() && a.affords(x, false)
}

// followedUnsent is followed for an attempt that has no connection.
func (a *attempt) followedUnsent(x *Exchange) bool {
	switch {
	case a.up.failover != nil:
		return true
	case !a.up.retry.On.Has(retry.Connect):
		return false
	case int(a.refused)+1 < min(a.backend.Reachable(), addressesMax):
		return true
	case int(x.retries) >= a.up.upstream.Retries() || !a.anotherMember(x):
		return false
	}
	refusing, members := a.up.upstream.Options().Backends.Refusing()
	if a.backend.Trouble() != backend.Connecting {
		refusing++ // as it will
	}
	return a.affords(x, freeToMove(refusing, members))
}

// anotherMember reports whether a member was not tried that serves and has room.
func (a *attempt) anotherMember(x *Exchange) bool {
	d, r, q := a.up, x.local.reactor, x.pick
	q.Tried.Add(a.backend.Slot())
	if d.limits != nil && !d.limits.Admits(r, x.route.Class, false) {
		return false
	}
	return d.view.Find(r, &q, func(m *backend.Member) bool { return d.limits == nil || d.limits.Room(m) }) != nil
}

// affords reports whether the budget and the limit of retries allow one more; free is without the budget. What is taken
// for it is given back: the end of the attempt takes it.
func (a *attempt) affords(x *Exchange, free bool) bool {
	before := x.retrying
	if !a.mayRetry(x) {
		return false
	}
	paid := free || a.pay(x)
	a.endRetry(x, before)
	if paid && !free {
		a.repay()
	}
	return paid
}
