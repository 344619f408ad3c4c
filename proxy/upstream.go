package proxy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/admission"
	"github.com/edge-proxy/edge/backend/ejection"
	"github.com/edge-proxy/edge/backend/sticky"
	"github.com/edge-proxy/edge/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy/meter"
	"github.com/edge-proxy/edge/proxy/retry"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// toUpstream leads to a backend of an upstream.
// Immutable.
type toUpstream struct {
	upstream *upstream.Upstream
	view     *backend.View // what is picked from
	host     string        // see ToOptions
	key      func(x *Exchange) (key uint64, ok bool)
	noVia    bool
	retry    *retry.Policy
	perTry   time.Duration      // that of retry
	hedge    *retry.Hedge       // likewise
	outliers *backend.Outliers  // nil: nobody is told how the backends answer
	sticky   *sticky.Cookie     // nil: no client is kept at a backend
	failover Destination        // of what no backend here could take; nil: that fails
	limits   *admission.Limiter // nil: the requests under way have none
	meter    *meter.Upstream    // nil: nothing counts how long its requests take
	tag      observe.Tag        // of the upstream
}

// ToOptions say how To leads to an upstream. The zero value is good.
type ToOptions struct {
	// View is what is picked from, a view of the backends of the upstream; nil: that of the upstream, or one of its own
	// with Method.
	View *backend.View
	// Method is how a backend is chosen; nil: as View does, or balance.Adaptive.
	Method *balance.Method
	// Key returns what a method that hashes chooses by: requests of one key belong together, and those of none, where
	// ok is false, are balanced in turns. It runs for each attempt, on the reactor of x, and must return at once. Make
	// it by the Hash of the method. nil: no request has one.
	Key func(x *Exchange) (key uint64, ok bool)
	// Host is the Host that the backends are sent: HostOfBackend, any other, or "" for that of the client, which is
	// HostOfBackend where the client says none. One that a filter sets stays.
	Host string
	// NoVia keeps the proxy's Via from the backends, some of which answer otherwise where there is one: nginx does not
	// compress then. Requests that go in circles are not found without it.
	NoVia bool
	// Retry says which failures are tried again; nil: retry.Default, with a budget of the destination's own. Those that
	// lead to the same upstream share one.
	Retry *retry.Policy
	// Outliers are told how the backends answer, and eject some; nil: nobody is told. Destinations that lead to the
	// same members share them.
	Outliers *backend.Outliers
	// Meter counts how long the parts of its requests take, where Listener.Meter is set; nil: nothing does.
	Meter *meter.Upstream
	// Sticky keeps clients at backends by a cookie, which has to be made of the backends of the upstream; nil: none
	// does. Destinations that lead to the same backends share it.
	Sticky *sticky.Cookie
	// Failover gets the requests that no backend of the upstream can take: none serves, or none of the attempts may
	// have been processed, or else Retry allows that another one follows. What a backend has answered stays the answer,
	// and requests that wait in vain for a connection of a limited number fail. Via is that of this destination. nil:
	// they fail. A chain of failovers is followed for up to 8 of them.
	Failover Destination
	// Limits bound the requests under way; nil: nothing does. Destinations that lead to the same members share them.
	Limits *admission.Limiter
}

// HostOfBackend is the ToOptions.Host that stands for the address of the backend that is chosen.
const HostOfBackend = "*"

// To leads to a backend of u. o may be nil.
func To(u *upstream.Upstream, o *ToOptions) Destination {
	d := &toUpstream{upstream: u}
	if u == nil {
		return d // Check says so
	}
	d.view = u.View()
	if o == nil || o.Retry == nil {
		d.retry = &retry.Policy{On: retry.Default(), Budget: retry.NewBudget(u.Reactors(), retry.RatioDefault)}
	}
	if o == nil {
		return d
	}
	if o.Retry != nil {
		d.retry = o.Retry
	}
	d.perTry, d.hedge = d.retry.PerTry, d.retry.Hedge
	d.host, d.key, d.noVia, d.outliers, d.sticky = o.Host, o.Key, o.NoVia, o.Outliers, o.Sticky
	d.failover = o.Failover
	d.limits = o.Limits
	d.meter = o.Meter
	switch {
	case o.View != nil:
		d.view = o.View
	case o.Method != nil:
		d.view = u.Options().Backends.View(u.Reactors(), o.Method)
	}
	return d
}

var (
	errNoUpstream   = errors.New("the upstream of To is nil")
	errOthersSticky = errors.New("the Sticky of To was made of other backends than those of its upstream")
)

// Check refuses To without an upstream, or with the cookie of another one.
func (d *toUpstream) Check() error {
	switch {
	case d.upstream == nil:
		return errNoUpstream
	case d.sticky != nil && d.sticky.Set() != d.upstream.Options().Backends:
		return errOthersSticky
	}
	if c, ok := d.failover.(Checked); ok {
		return c.Check()
	}
	return nil
}

// Forwards makes d a Forwarder.
func (d *toUpstream) Forwards() {}

// addressesMax bounds how many addresses of one backend are tried for one exchange.
const addressesMax = 8

// Open takes a connection to the backend that x.try aims at.
func (d *toUpstream) Open(x *Exchange, to session.Receiver) (session.Stream, error) {
	a := &x.try
	if a.up != d {
		if a.up != nil {
			a.leave(x)
		}
		a.up = d
		d.setHost(x)
	}
	if a.aim == nextBackend && !d.choose(x) {
		if a.full {
			return nil, d.await(x, to)
		}
		if a.fault != nil {
			return nil, a.fault
		}
		return nil, NoBackend
	}
	return d.connect(x, to)
}

// connect takes a connection to the backend that was chosen.
func (d *toUpstream) connect(x *Exchange, to session.Receiver) (session.Stream, error) {
	a := &x.try
	x.waiter.Upgrade = x.Request.Upgrade
	c, err := d.upstream.Take(x.local.reactor, a.backend, a.address, a.aim == sameAddress, &x.waiter)
	switch err {
	case nil:
		return d.taken(x, c, to), nil
	case upstream.ErrWait: // OnTaken goes on
		a.receiver = to
		a.bound(x, x.local.reactor.Now())
		return nil, ErrPending
	}
	return nil, err
}

// taken makes the stream on the connection that x was given.
func (d *toUpstream) taken(x *Exchange, c *upstream.Conn, to session.Receiver) session.Stream {
	a := &x.try
	s := c.Open(to)
	a.conn, a.shared, a.reused = c, nil, c.Reused() // it tells of the exchange that Open began
	if d.perTry > 0 && x.aside&timed == 0 {
		a.bound(x, x.local.reactor.Now())
	}
	// A body that is all here already could leave with the head, but a retry may need it: see relay.begun.
	if !x.toUp.bodyless() && (c.Shared() || x.Request.Verb.Idempotent()) {
		x.toUp.keepUpTo(d.upstream.RetryBuffer(), x.Request.Length)
	}
	if a.nameHost {
		x.Request.SetAuthority(hostOfAddress(a.backend.Host(), d.upstream.Options().TLS.On))
	}
	return s
}

// choose takes the next backend, and the next of its addresses. It reports whether there is one. Where there is none
// the one before still counts x: its answer may be the one that the client gets.
func (d *toUpstream) choose(x *Exchange) bool {
	r, a, q := x.local.reactor, &x.try, &x.pick
	if d.key != nil {
		q.Key, q.Keyed = d.key(x)
	}
	q.Tunnel = x.Request.Upgrade
	var own *backend.Member // of the client, by its cookie
	renew := false
	if d.sticky != nil {
		own, renew = d.ownMember(x)
	}
	next := own
	if d.limits != nil {
		next = d.pickWithin(x, own)
	} else if next == nil {
		if next = d.view.Pick(r, q); d.outliers != nil {
			next = d.orEjected(r, q, next)
		}
	}
	if next == nil {
		return false
	}
	if d.outliers == nil || !d.outliers.Trying() {
		a.enter(x, next)
	} else {
		next = d.enterTrial(x, next)
	}
	if d.sticky != nil {
		a.own = next == own
		a.newCookie = !a.own || renew
	}
	a.address, a.refused = d.view.NextAddress(r, next), 0
	return true
}

// roomPicks bounds how many backends are picked one after the other until one has room. Then each is looked at.
const roomPicks = 4

// pickWithin returns a backend that has room for x, of which x has a place then; nil where there is none, or where
// others wait that came before x. own is asked first, if there is one. What is full was not tried: it may have room
// when x is tried again.
func (d *toUpstream) pickWithin(x *Exchange, own *backend.Member) *backend.Member {
	r, a, l := x.local.reactor, &x.try, d.limits
	inLine := x.place != nil && x.place.Waiting()
	if a.full = !l.Admits(r, x.route.Class, inLine); a.full {
		return nil
	}
	next := own
	if next == nil {
		if next = d.view.Pick(r, &x.pick); d.outliers != nil {
			next = d.orEjected(r, &x.pick, next)
		}
	}
	if next == nil || l.Hold(next) {
		return next
	}
	skip := x.pick
	for range roomPicks {
		skip.Tried.Add(next.Slot())
		if next = d.view.Pick(r, &skip); next == nil || next.Reasons() != 0 {
			break // those that are left cannot be reached
		}
		if l.Hold(next) {
			return next
		}
	}
	next = d.view.Find(r, &x.pick, l.Hold)
	a.full = next == nil
	return next
}

// await has x wait for a backend that has room.
func (d *toUpstream) await(x *Exchange, to session.Receiver) error {
	if x.place == nil {
		x.place = new(admission.Waiter)
		x.place.Init((*placeSide)(x))
	}
	x.try.receiver = to
	x.try.exit(x)
	if err := d.limits.Wait(x.local.reactor, x.place, x.route.Class); err != nil {
		return refused(x, err)
	}
	return ErrPending
}

// placeSide is an Exchange as the Asker of its place in the line.
type placeSide Exchange

// Choose chooses a backend, as Open would.
func (p *placeSide) Choose() admission.Choice {
	x := (*Exchange)(p)
	defer x.rescue() // of a key or a method of the program's own
	switch {
	case x.try.up.choose(x):
		x.try.aim = sameBackend
		return admission.Chosen
	case x.try.full:
		return admission.Full
	}
	return admission.Nobody
}

// OnTurn goes on with the backend that was chosen.
func (p *placeSide) OnTurn() {
	x := (*Exchange)(p)
	if invariant.On {
		defer checkExchange(x)
	}
	defer x.rescue()
	a := &x.try
	x.waited += x.local.reactor.Now() - x.place.Since()
	if a.aim == nextBackend {
		noneLeft(x)
		return
	}
	switch s, err := a.up.connect(x, a.receiver); {
	case err == nil:
		x.send(s)
	case err == ErrPending:
	case x.again(err):
		openAndSend(x)
	}
}

// noneLeft goes on with x, which has waited for room at backends none of which serves any more. To open its destination
// once more would put x at the end of the line as long as others wait there, which would follow it for ever.
func noneLeft(x *Exchange) {
	f := x.try.fault
	if f == nil {
		f = NoBackend
	}
	x.attempts-- // of the one that did not come about
	if !x.try.failOver(x) {
		x.fail(f)
		return
	}
	openAndSend(x)
}

// OnRefused ends x, which has waited in vain.
func (p *placeSide) OnRefused(err error) {
	x := (*Exchange)(p)
	defer x.rescue()
	x.waited += x.local.reactor.Now() - x.place.Since()
	x.attempts-- // of the one that did not come about
	x.fail(refused(x, err))
}

// refused returns the failure of x, for which no backend has room: that of the attempt before, where there was one.
func refused(x *Exchange, err error) *Error {
	if f := x.try.fault; f != nil {
		return f
	}
	o := x.try.up.limits.Options()
	if err == admission.ErrLineFull {
		x.detail = fmt.Sprintf("max_pending %d", o.Pending)
		return MaxPending
	}
	if now, limit := x.try.up.limits.Concurrency(); o.Adaptive && (o.Requests == 0 || now >= limit*2/3) {
		x.detail = fmt.Sprintf("concurrency %d/%d", now, limit)
		return ConcurrencyLimit
	}
	x.detail = fmt.Sprintf("max_requests %d", o.Requests)
	return MaxRequests
}

// orEjected returns next, which was picked, or one that is ejected where no other one is left.
func (d *toUpstream) orEjected(r *engine.Reactor, q *balance.Request, next *backend.Member) *backend.Member {
	none := next == nil || next.Reasons() == backend.Unreachable // in a panic ejected ones are picked anyway
	if none && d.outliers.LastResort(r) {
		return d.view.Pick(r, q)
	}
	return next
}

// passesMax bounds how many members that are on trial a request passes by: a Request remembers seven that were tried.
const passesMax = 4

// enterTrial has next count x, or another member where next is on trial and has as many requests as it may. Where there
// is no other, next gets one more. It returns the member.
func (d *toUpstream) enterTrial(x *Exchange, next *backend.Member) *backend.Member {
	q := &x.pick
	how := d.outliers.Admit(next, false)
	for range passesMax {
		if how != ejection.Refused {
			break
		}
		q.Tried.Add(next.Slot())
		other := d.view.Pick(x.local.reactor, q)
		if other == nil || other.Reasons() != 0 { // one that cannot be reached is no better
			break
		}
		if d.limits != nil {
			if !d.limits.Hold(other) {
				break
			}
			next.Release()
		}
		next = other
		how = d.outliers.Admit(next, false)
	}
	if how == ejection.Refused {
		how = d.outliers.Admit(next, true)
	}
	x.try.enter(x, next)
	if how == ejection.Counted {
		x.try.counted |= onTrial
	}
	return next
}

// ownMember returns the backend that the cookie of the client names, nil where x cannot go there, and whether the
// cookie is to be renewed.
func (d *toUpstream) ownMember(x *Exchange) (m *backend.Member, renew bool) {
	value := x.Request.PeekCookie(d.sticky.Name())
	if value == nil {
		return nil, false
	}
	if m, renew = d.sticky.Find(value, x.local.wallTime()); m == nil || x.pick.Tried.Has(m.Slot()) {
		return nil, false
	}
	return m, renew
}

// setCookie has the client come back to the backend that answers.
func (d *toUpstream) setCookie(x *Exchange) {
	l := x.local
	l.page = d.sticky.Append(l.page[:0], x.try.backend, x.Scheme() == "https", l.wallTime())
	if len(l.page) > 0 {
		x.Response.AddBytes(message.SetCookie, "Set-Cookie", l.page)
	}
}

// setHost decides about Host when the filters have run. One that they have set stays.
func (d *toUpstream) setHost(x *Exchange) {
	switch {
	case x.hostSet:
	case d.host == HostOfBackend, d.host == "" && x.Request.Authority.Len == 0:
		// HTTP/1.0 may do without a host. RFC 9112 §3.2 has an empty one for that, which many backends refuse.
		x.try.nameHost = true
	case d.host == "":
	default:
		x.Request.SetAuthority(d.host)
	}
}

// hostOfAddress returns what to call a backend by its address: without the port that goes without saying, 443 where
// the connection is secured, else 80, and without a zone, which means nothing elsewhere.
func hostOfAddress(address string, secured bool) string {
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
