package proxy

import (
	"errors"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// toUpstream leads to a backend of an upstream.
// Immutable.
type toUpstream struct {
	forward.Backends
	noVia    bool
	total    time.Duration
	failover Destination // of requests that no backend here could take; nil: they fail
}

// ToOptions say how To leads to an upstream. The zero value is good.
type ToOptions struct {
	// View is what is picked from, a view of the backends of the upstream; nil: the view of the upstream, or one of its
	// own with Method.
	View *backend.View
	// Method is how a backend is chosen; nil: as View does, or balance.Adaptive.
	Method *balance.Method
	// Key returns what a method that hashes chooses by: requests of one key belong together, and requests without one,
	// where ok is false, are balanced in turns. It runs for each attempt, on the reactor of x, and must return at once.
	// Make it by the Hash of the method. nil: no request has one.
	Key func(x *Exchange) (key uint64, ok bool)
	// Host is the Host that the backends are sent: HostOfBackend, any other, or "" for the Host of the client, which is
	// HostOfBackend where the client says none. A Host that a filter sets stays.
	Host string
	// Total is the time of requests that come by no route, from their head to the end of the answer: sub-requests with
	// To, and requests of handler.Transport. 0: no limit.
	Total time.Duration
	// NoVia keeps the proxy's Via from the backends, some of which answer otherwise where there is one: nginx does not
	// compress then. Requests that go in circles are not found without it.
	NoVia bool
	// Retry says which failures are tried again; nil: connections that cannot be made, are lost or refuse the stream,
	// with a budget of the destination's own. Destinations that lead to the same upstream share one.
	Retry *RetryPolicy
	// Outliers are told how the backends answer, and eject some; nil: no backend is ejected. Destinations that lead to
	// the same members share them.
	Outliers *backend.Outliers
	// Meter counts how long the parts of its requests take, where Listener.Meter is set; nil: nothing does.
	Meter *meter.Upstream
	// Sticky keeps clients at backends by a cookie, which has to be made of the backends of the upstream; nil: none
	// does. Destinations that lead to the same backends share it.
	Sticky *Sticky
	// Failover gets the requests that no backend of the upstream can take: none serves, or none of the attempts may
	// have been processed, or else Retry allows that another one follows. What a backend has answered stays the answer,
	// and requests that wait in vain for a connection of a limited number fail. Via is as this destination says. nil:
	// they fail. A chain of failovers is followed for up to 8 of them.
	Failover Destination
	// Limits bound the requests under way; nil: nothing does. Destinations that lead to the same members share them.
	Limits *Limits
}

// HostOfBackend is the ToOptions.Host that stands for the address of the backend that is chosen.
const HostOfBackend = forward.HostOfBackend

// To leads to a backend of u. o may be nil.
func To(u *upstream.Upstream, o *ToOptions) Destination {
	d := &toUpstream{}
	if d.Upstream = u; u == nil {
		return d // Check says so
	}
	if o == nil {
		o = &ToOptions{}
	}
	d.Retry, d.View = o.Retry, o.View
	if d.Retry == nil {
		d.Retry = &retry.Policy{On: retry.Default(), Budget: retry.NewBudget(u.Reactors(), retry.RatioDefault)}
	}
	switch {
	case d.View != nil:
	case o.Method != nil:
		d.View = u.Options().Backends.View(u.Reactors(), o.Method)
	default:
		d.View = u.View()
	}
	d.Host, d.noVia, d.Outliers, d.Sticky, d.Limits, d.Meter = o.Host, o.NoVia, o.Outliers, o.Sticky, o.Limits, o.Meter
	d.total = o.Total
	if key := o.Key; key != nil {
		d.Key = func(of forward.Owner) (uint64, bool) { return key((*Exchange)(of.(*upSide))) }
	}
	if d.failover = o.Failover; d.failover != nil {
		d.Failover = func(of forward.Owner) { (*Exchange)(of.(*upSide)).SetDestination(d.failover) }
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
	case d.Upstream == nil:
		return errNoUpstream
	case d.Sticky != nil && d.Sticky.Set() != d.Upstream.Options().Backends:
		return errOthersSticky
	}
	if c, ok := d.failover.(Checked); ok {
		return c.Check()
	}
	return nil
}

// Forwards makes d a Forwarder.
func (d *toUpstream) Forwards() {}

// Open takes a connection to the backend that x aims at.
func (d *toUpstream) Open(x *Exchange, to session.Receiver) Opening {
	s, err := x.up.Open(&d.Backends, to)
	return Opening{Stream: s, Err: err}
}

// setCookie adds a cookie that leads the client back to the backend whose answer has the head h.
func (l *local) setCookie(h *message.Head, of *forward.Request, secured bool) {
	if l.page = of.AppendCookie(l.page[:0], secured); len(l.page) > 0 {
		h.AddBytes(message.SetCookie, "Set-Cookie", l.page)
	}
}
