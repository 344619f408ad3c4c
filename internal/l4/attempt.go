package l4

import (
	"cmp"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/forward/ejection"
)

const (
	triesMax  = 7 // members: as many as a balance.Tried remembers
	othersMax = 3 // further addresses of a member that are raced with the first
)

// attempt is the part of a pair that finds a backend, one member after the other, and counts the pair there.
// Owned by the reactor of the pair.
//
//	member == nil => neither held nor on trial
type attempt struct {
	record Record
	member *backend.Member // that counts the pair; nil: none does
	pick   balance.Request
	held   bool  // it has a place at the member: Backends.Limits
	trial  bool  // Outliers count it
	here   int   // members of record.To that were dialled
	led    int64 // Reactor.Now: it was known where the connection leads; the time to connect begins
	dialed int64 // Reactor.Now: the last member was
}

// checkCounts panics when the invariant of attempt does not hold.
func (a *attempt) checkCounts() {
	invariant.That(a.member != nil || !a.held && !a.trial, "a place at a member that does not count the pair")
}

// key finds out by which key the connection of the client is balanced.
func (a *attempt) key() {
	a.pick.Tunnel = true // it may last for hours
	if f := a.record.To.Key; f != nil {
		a.pick.Key, a.pick.Keyed = f(a.record.Client, a.record.Asked)
	}
}

// next dials the next member for h. cause is the failure of the member before; nil: there was no member. Where none is
// left the error is that failure, or says why there was none.
func (a *attempt) next(r *engine.Reactor, h engine.Handler, cause error) (*engine.Conn, error) {
	for {
		each := cmp.Or(a.record.To.Connect, connectDefault)
		left := time.Duration(a.led + 2*int64(each) - r.Now())
		if left <= 0 {
			break
		}
		var m *backend.Member
		full := false
		if a.here < triesMax {
			m, full = a.choose(r)
		}
		if m == nil && !full && a.record.To.Failover != nil { // which is not there for load
			a.record.To, a.pick.Tried, a.here = a.record.To.Failover, balance.Tried{}, 0
			continue
		}
		if m == nil && full && cause == nil {
			cause = ErrMaxConns
		}
		if m == nil {
			break
		}
		a.record.Tries++
		a.here++
		a.dialed = r.Now()
		a.record.Backend = m
		a.pick.Tried.Add(m.Slot())
		c, err := a.dial(r, m, h, min(each, left))
		if err == nil {
			return c, nil
		}
		a.unreached(r, err)
		if cause = err; ours(err) {
			break // another member would fail likewise
		}
	}
	if cause == nil {
		cause = ErrNoBackend
	}
	return nil, cause
}

// dial begins a connection to m, at its next address and, where that is slow, at others.
func (a *attempt) dial(
	r *engine.Reactor, m *backend.Member, h engine.Handler, timeout time.Duration,
) (*engine.Conn, error) {
	b, addrs := a.record.To, *m.Addrs()
	if len(addrs) == 0 {
		return nil, ErrNoBackend
	}
	at := b.View.NextAddress(r, m) % len(addrs)
	o := &engine.DialOptions{Timeout: timeout, Socket: b.Socket}
	for i := 1; i < len(addrs) && len(o.Others) < othersMax; i++ {
		o.Others = append(o.Others, addrs[(at+i)%len(addrs)])
	}
	if b.Preamble != nil {
		o.Preamble = b.Preamble(a.record.Client, a.record.Asked)
	}
	a.record.At = addrs[at]
	if b.Secure != nil {
		return b.Secure(m, r, addrs[at], h, o)
	}
	return r.Dial(addrs[at], h, o)
}

// choose picks a member that serves and has room, and counts the pair there. full says that one serves, and none has
// room.
func (a *attempt) choose(r *engine.Reactor) (m *backend.Member, full bool) {
	b := a.record.To
	if m = b.View.Pick(r, &a.pick); b.Outliers != nil {
		m = b.Outliers.OrEjected(b.View, r, &a.pick, m)
	}
	if m == nil {
		return nil, false
	}
	if !a.take(m, false) {
		other := b.View.Find(r, &a.pick, func(other *backend.Member) bool { return a.take(other, false) })
		switch {
		case other != nil:
			m = other
		case !a.take(m, true):
			return nil, true
		}
	}
	a.member = m
	m.Enter(r, true)
	if a.held {
		b.Limits.Enter(r)
	}
	return m, false
}

// take counts the pair at m, and at Outliers where m is on trial. It reports false where m has no
// room, or has as many connections as one on trial may, unless must is set.
func (a *attempt) take(m *backend.Member, must bool) bool {
	b := a.record.To
	if b.Limits != nil && !b.Limits.Hold(m) {
		return false
	}
	how := ejection.Free
	if b.Outliers != nil && b.Outliers.Trying() {
		how = b.Outliers.Admit(m, must)
	}
	if how == ejection.Refused {
		if b.Limits != nil {
			m.Release()
		}
		return false
	}
	a.held, a.trial = b.Limits != nil, how == ejection.Counted
	return true
}

// reached notes that c, a connection to the member, stands.
func (a *attempt) reached(c *engine.Conn) {
	m, b, r := a.member, a.record.To, c.Reactor()
	a.record.Connect, a.record.At = max(r.Now()-a.led, 1), c.Peer()
	m.Answered(r, time.Duration(r.Now()-a.dialed))
	if b.Outliers != nil {
		b.Outliers.Good(r, m)
	}
	if a.trial { // which was about connecting: the connection may last for hours
		a.trial = false
		b.Outliers.Leave(m)
	}
	m.Readmit(a.record.At)
	if t, told := m.Recover(); told {
		slog.Info("a backend serves again", "upstream", b.Name, "backend", m.Address(),
			"after", time.Since(t.Since).Round(time.Millisecond).String(), "failures", t.Failures)
	}
}

// unreached notes that the member could not be connected to, which the log tells where that is news, unless that says
// nothing of the member. It ends its count.
func (a *attempt) unreached(r *engine.Reactor, cause error) {
	m, b := a.member, a.record.To
	if a.record.Tries == 1 {
		a.record.First = Failure{m, cause, r.Now()}
	}
	if ours(cause) {
		a.leave(r)
		return
	}
	m.Failed(r)
	if b.Outliers != nil {
		b.Outliers.Bad(r, m, ejection.Failed{Fault: true})
	}
	if t, tell := m.Fail(backend.Connecting, "connect", time.Now()); tell {
		slog.Warn("a backend fails", "upstream", b.Name, "backend", m.Address(), "address", a.record.At.String(),
			"what", "no connection", "error", cause.Error(), "since", t.Since, "failures", t.Failures)
	}
	a.leave(r)
}

// leave ends the count of the member.
func (a *attempt) leave(r *engine.Reactor) {
	m, b := a.member, a.record.To
	if m == nil {
		return
	}
	a.member = nil
	m.Leave(r, true)
	if a.trial {
		b.Outliers.Leave(m)
	}
	if a.held {
		b.Limits.Leave(r, m)
	}
	a.trial, a.held = false, false
}

// ours reports whether cause, of a connection that was not made, says nothing of its member.
func ours(cause error) bool {
	return cause == engine.ErrNoDescriptors || cause == engine.ErrStopped || cause == engine.ErrPanic ||
		errors.Is(cause, syscall.EADDRNOTAVAIL)
}
