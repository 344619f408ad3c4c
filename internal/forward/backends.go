package forward

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// Backends are the backends of an upstream, and how requests are sent to them: see ToOptions of package proxy.
// Immutable.
type Backends struct {
	Upstream *upstream.Upstream
	View     *backend.View // what is picked from
	Host     string
	Key      func(o Owner) (key uint64, ok bool) // nil: no request has one
	Retry    *retry.Policy
	Outliers *backend.Outliers  // nil: outcomes are not counted
	Sticky   *sticky.Cookie     // nil: no client is kept at a backend
	Failover func(o Owner)      // has o lead to the failover; nil: there is none
	Limits   *admission.Limiter // nil: the requests under way have none
	Meter    *meter.Upstream    // nil: nothing counts how long its requests take
	Tag      observe.Tag        // of the upstream
}

// HostOfBackend is the Backends.Host that stands for the address of the backend that is chosen.
const HostOfBackend = "*"

// addressesMax bounds how many addresses of one backend are tried for one request.
const addressesMax = 8

// Open takes a connection to the backend of b that q aims at. The answer goes to to. The error is ErrPending, a
// Failure, or why there is no connection.
func (q *Request) Open(b *Backends, to session.Receiver) (session.Stream, error) {
	if q.To != b {
		if q.To != nil {
			q.leave()
		}
		q.To = b
		q.SetHost(b.Host)
	}
	if q.aim != nextBackend {
		return q.connect(to)
	}
	switch q.choose() {
	case admission.Chosen:
		return q.connect(to)
	case admission.Full:
		return nil, q.await(to)
	}
	return nil, q.noBackend()
}

// noBackend returns the failure of q, for which no backend is left: the failure of the attempt before, if any.
func (q *Request) noBackend() Failure {
	if q.Fault != nil {
		return q.Fault
	}
	return q.owner.FailureOf(session.ConnectFailed, ErrNoBackend)
}

// connect takes a connection to the backend that was chosen.
func (q *Request) connect(to session.Receiver) (session.Stream, error) {
	q.Course = Course{number: q.Attempts + 1}
	q.waiter.Upgrade = q.head.Upgrade
	c, err := q.To.Upstream.Take(q.local.Reactor, q.Backend, int(q.address), q.aim == sameAddress, &q.waiter)
	switch err {
	case nil:
		return q.taken(c, to), nil
	case upstream.ErrWait: // OnTaken goes on
		q.receiver = to
		q.bound(q.local.Reactor.Now())
		return nil, ErrPending
	}
	return nil, err
}

// taker is a Request as the Taker of its Waiter: a conversion, not an object of its own.
type taker Request

// OnTaken goes on with the connection that Open had to wait for.
func (t *taker) OnTaken(c *upstream.Conn, err error) {
	q := (*Request)(t)
	defer q.owner.Rescue()
	q.Waited += q.local.Reactor.Now() - q.waiter.Since()
	q.proceed(c, err, &q.waiter, q.receiver)
}

// proceed goes on with the connection c that q has waited for at w, or without it.
func (q *Request) proceed(c *upstream.Conn, err error, w *upstream.Waiter, to session.Receiver) {
	switch {
	case err == nil:
		q.boundFromTurn(w)
		q.owner.Send(q.taken(c, to))
	case q.ConnectFailed(err):
		q.owner.Reopen()
	}
}

// taken makes the stream on the connection that q was given.
func (q *Request) taken(c *upstream.Conn, to session.Receiver) session.Stream {
	b := q.To
	s := c.Open(to)
	q.conn, q.shared, q.Reused = c, nil, c.Reused() // it tells of the exchange that Open began
	q.Course.version = versionOf(c)
	if b.Retry.PerTry > 0 && q.aside&timed == 0 {
		q.bound(q.local.Reactor.Now())
	}
	// A body that is all here already could leave with the head, but a retry may need it: see Body.Begun.
	if !q.Body.Bodyless() && (c.Shared() || q.head.Verb.Idempotent()) {
		q.Body.KeepUpTo(b.Upstream.RetryBuffer(), q.head.Length)
	}
	if q.NameHost {
		q.name(&q.attempt)
	}
	return s
}

// versionOf returns the version of HTTP that c speaks.
func versionOf(c *upstream.Conn) message.Proto {
	if c.Shared() {
		return message.HTTP20
	}
	return message.HTTP11
}

// name gives the head the Host of the backend of a.
func (q *Request) name(a *attempt) {
	q.head.SetAuthority(HostOfAddress(a.Backend.Host(), a.To.Upstream.Options().TLS.On))
}

// SetHost decides about Host when the filters have run. A Host that they have set stays.
func (q *Request) SetHost(host string) {
	switch {
	case q.hostSet:
	case host == HostOfBackend, host == "" && q.head.Authority.Len == 0:
		// HTTP/1.0 may do without a host. RFC 9112 §3.2 has an empty one for that, which many backends refuse.
		q.NameHost = true
	case host == "":
	default:
		q.head.SetAuthority(host)
	}
}

// HostOfAddress returns the Host of a backend by its address: without the port that goes without saying, 443 where
// the connection is secured, else 80, and without a zone, which means nothing elsewhere.
func HostOfAddress(address string, secured bool) string {
	if strings.HasPrefix(address, "unix:") {
		return "localhost"
	}
	if zone := strings.IndexByte(address, '%'); zone >= 0 {
		if end := strings.IndexByte(address[zone:], ']'); end >= 0 {
			address = address[:zone] + address[zone+end:]
		}
	}
	if secured {
		return strings.TrimSuffix(address, ":443")
	}
	return strings.TrimSuffix(address, ":80")
}

// choose takes the next backend, and the next of its addresses. Where there is none the backend before still counts q:
// the client may get its answer.
func (q *Request) choose() admission.Choice {
	r, b := q.local.Reactor, q.To
	if b.Key != nil {
		q.pick.Key, q.pick.Keyed = b.Key(q.owner)
	}
	q.pick.Tunnel = q.head.Upgrade
	var own *backend.Member // of the client, by its cookie
	renew := false
	if b.Sticky != nil {
		own, renew = q.ownMember()
	}
	next := own
	if b.Limits != nil {
		full := false
		if next, full = q.pickWithin(own); full {
			return admission.Full
		}
	} else if next == nil {
		if next = b.View.Pick(r, &q.pick); b.Outliers != nil {
			next = b.Outliers.OrEjected(b.View, r, &q.pick, next)
		}
	}
	if next == nil {
		return admission.Nobody
	}
	if b.Outliers == nil || !b.Outliers.Trying() {
		q.enter(q, next)
	} else {
		next = q.enterTrial(next)
	}
	if b.Sticky != nil {
		q.own = next == own
		q.NewCookie = !q.own || renew
	}
	q.address, q.refused = int32(b.View.NextAddress(r, next)), 0
	return admission.Chosen
}

// roomPicks bounds how many backends are picked one after the other until one has room. Then each is looked at.
const roomPicks = 4

// pickWithin returns a backend that has room for q, of which q has a place then; full where none has, or where others
// wait that came before q. own is asked first, if there is one. A full one was not tried: it may have room when q
// is tried again.
func (q *Request) pickWithin(own *backend.Member) (m *backend.Member, full bool) {
	r, b, l := q.local.Reactor, q.To, q.To.Limits
	inLine := q.place != nil && q.place.Waiting()
	_, class := q.owner.Route()
	if !l.Admits(r, class, inLine) {
		return nil, true
	}
	next := own
	if next == nil {
		if next = b.View.Pick(r, &q.pick); b.Outliers != nil {
			next = b.Outliers.OrEjected(b.View, r, &q.pick, next)
		}
	}
	if next == nil || l.Hold(next) {
		return next, false
	}
	skip := q.pick
	for range roomPicks {
		skip.Tried.Add(next.Slot())
		if next = b.View.Pick(r, &skip); next == nil || next.Reasons() != 0 {
			break // those that are left cannot be reached
		}
		if l.Hold(next) {
			return next, false
		}
	}
	next = b.View.Find(r, &q.pick, l.Hold)
	return next, next == nil
}

// passesMax bounds how many members that are on trial a request passes by: a balance.Request remembers seven that were
// tried.
const passesMax = 4

// enterTrial counts q at next, or at another member where next is on trial and has as many requests as it may. Where
// there is no other, next gets one more. It returns the member.
func (q *Request) enterTrial(next *backend.Member) *backend.Member {
	b := q.To
	how := b.Outliers.Admit(next, false)
	for range passesMax {
		if how != ejection.Refused {
			break
		}
		q.pick.Tried.Add(next.Slot())
		other := b.View.Pick(q.local.Reactor, &q.pick)
		if other == nil || other.Reasons() != 0 { // an unreachable member is no better
			break
		}
		if b.Limits != nil {
			if !b.Limits.Hold(other) {
				break
			}
			next.Release()
		}
		next = other
		how = b.Outliers.Admit(next, false)
	}
	if how == ejection.Refused {
		how = b.Outliers.Admit(next, true)
	}
	q.enter(q, next)
	if how == ejection.Counted {
		q.counted |= onTrial
	}
	return next
}

// ownMember returns the backend that the cookie of the client names, nil where q cannot go there, and whether the
// cookie is to be renewed.
func (q *Request) ownMember() (m *backend.Member, renew bool) {
	value := q.head.PeekCookie(q.To.Sticky.Name())
	if value == nil {
		return nil, false
	}
	if m, renew = q.To.Sticky.Find(value, q.owner.WallTime()); m == nil || q.pick.Tried.Has(m.Slot()) {
		return nil, false
	}
	return m, renew
}

// AppendCookie appends the cookie by which the client comes back to the backend that answers.
func (q *Request) AppendCookie(dst []byte, secured bool) []byte {
	return q.To.Sticky.Append(dst, q.Backend, secured, q.owner.WallTime())
}

// CauseOf returns what the network or the destination said where f is the failure of the last attempt, else nil.
func (q *Request) CauseOf(f Failure) error {
	if q.Fault == f {
		return q.Cause
	}
	return nil
}

// Panics reports whether backends that fail their checks get requests, since too many do.
func (q *Request) Panics() bool { return q.To != nil && q.To.View.Panics() }

// await makes q wait for a backend that has room.
func (q *Request) await(to session.Receiver) error {
	if q.place == nil {
		q.place = new(admission.Waiter)
		q.place.Init((*inLine)(q))
	}
	q.receiver = to
	q.exit(q)
	_, class := q.owner.Route()
	if err := q.To.Limits.Wait(q.local.Reactor, q.place, class); err != nil {
		return q.turnedDown(err)
	}
	return ErrPending
}

// inLine is a Request as the Asker of its place in the line.
type inLine Request

// Choose chooses a backend, as Open would.
func (l *inLine) Choose() admission.Choice {
	q := (*Request)(l)
	defer q.owner.Rescue() // of a key or a method of the program's own
	c := q.choose()
	if c == admission.Chosen {
		q.aim = sameBackend
	}
	return c
}

// OnTurn goes on with the backend that was chosen.
func (l *inLine) OnTurn() {
	q := (*Request)(l)
	defer q.owner.Rescue()
	q.Waited += q.local.Reactor.Now() - q.place.Since()
	if q.aim == nextBackend {
		q.noneLeft()
		return
	}
	switch s, err := q.connect(q.receiver); {
	case err == nil:
		q.owner.Send(s)
	case err == ErrPending:
	case q.ConnectFailed(err):
		q.owner.Reopen()
	}
}

// noneLeft goes on with q, whose backends all went down while it waited. Opening them again would put q at the end of
// the line as long as others wait there, which would follow it for ever.
func (q *Request) noneLeft() {
	f := q.noBackend()
	q.Attempts-- // the attempt that did not come about
	if !q.FailOver() {
		q.owner.Fail(f)
		return
	}
	q.owner.Reopen()
}

// OnRefused ends q, which has waited in vain.
func (l *inLine) OnRefused(err error) {
	q := (*Request)(l)
	defer q.owner.Rescue()
	q.Waited += q.local.Reactor.Now() - q.place.Since()
	q.Attempts-- // the attempt that did not come about
	q.owner.Fail(q.turnedDown(err))
}

// turnedDown returns the failure of q, for which no backend has room: the failure of the attempt before, if any.
func (q *Request) turnedDown(err error) Failure {
	if q.Fault != nil {
		return q.Fault
	}
	o, why := q.To.Limits.Options(), ErrMaxRequests
	now, limit := q.To.Limits.Concurrency()
	switch {
	case err == admission.ErrLineFull:
		q.Detail, why = fmt.Sprintf("max_pending %d", o.Pending), ErrMaxPending
	case o.Adaptive && (o.Requests == 0 || now >= limit*2/3):
		q.Detail, why = fmt.Sprintf("concurrency %d/%d", now, limit), ErrConcurrency
	default:
		q.Detail = fmt.Sprintf("max_requests %d", o.Requests)
	}
	return q.owner.FailureOf(session.ConnectFailed, why)
}

// limitReached names the limit of connections that cause is about, "" where it is about none.
func (q *Request) limitReached(cause error) string {
	switch {
	case q.To == nil: // a destination of another package
	case errors.Is(cause, upstream.ErrQueueFull):
		return fmt.Sprintf("max_pending %d", q.To.Upstream.Pending())
	case errors.Is(cause, upstream.ErrQueueTimeout):
		return fmt.Sprintf("max_connections %d", q.To.Upstream.Options().PerBackend)
	}
	return ""
}

// leave forgets what is known of the backends: it says nothing about others.
func (q *Request) leave() {
	q.exit(q)
	q.LeaveRetries()
	q.stopClock() // of a Destination that has opened this one and gave it up
	q.attempt = attempt{Fault: q.Fault, Cause: q.Cause}
	q.pick = balance.Request{}
	q.head.Authority = q.host
}

// elapsed returns the time since the later of two reactor times.
func (q *Request) elapsed(a, b int64) time.Duration {
	return time.Duration(q.local.Reactor.Now() - max(a, b))
}
