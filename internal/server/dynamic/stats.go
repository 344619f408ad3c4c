package dynamic

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Refusal is why a request may not go where it says.
type Refusal uint8

// The refusals.
const (
	Malformed   Refusal = iota // that is no destination
	Unlisted                   // it is not in the List
	Address                    // its name has an address that is not allowed
	OwnListener                // this process itself listens there
	notRefused
)

// The failures that requests have here.
var (
	// NotAllowed refuses a request to lead anywhere but to what is listed. It does not say which rule it was: a client
	// could find out by that which names and addresses there are.
	NotAllowed = proxy.NewError(proxy.Error{
		Kind: "dest_not_allowed", From: proxy.SideProxy, Status: 403, Token: "destination_ip_prohibited",
		Text: "Requests may not lead there.",
	})
	// Unresolved says that the name of a destination has no address, or that its servers do not answer.
	Unresolved = proxy.NewError(proxy.Error{
		Kind: "dns", From: proxy.SideBackend, Status: 502, Token: "dns_error",
		Text: "The name of the backend does not resolve.",
	})
)

// Refused is the Destination of a request that may not go where it says.
var Refused proxy.Destination = failing{NotAllowed}

// failing is a Destination that is a failure.
// Immutable.
type failing struct{ fault *proxy.Error }

// Open fails.
func (f failing) Open(*proxy.Exchange, session.Receiver) proxy.Opening {
	return proxy.Opening{Err: f.fault}
}

// Stats are the counters of Destinations on one reactor, or of all.
type Stats struct {
	Refused      [notRefused]uint64 // requests, by Refusal
	Unresolved   uint64             // requests whose destination has no address
	Waited       uint64             // requests that waited for a look-up
	Shed         uint64             // requests refused because there were too many look-ups
	Lookups      uint64
	Evicted      uint64 // destinations that left for others
	Destinations int    // that are known, those that lead nowhere among them

	Upstream upstream.Stats // of the connections to all of them
}

// Stats returns the counters on r; those that belong to no reactor are counted on the first one. On r only.
func (d *Destinations) Stats(r *engine.Reactor) Stats {
	r.MustOwn()
	l := d.local[r.Index()]
	s := l.stats
	s.Upstream = l.gone
	for u := range l.pools {
		counted := u.Stats(r)
		tally.Add(&s.Upstream, &counted)
	}
	if r.Index() == 0 {
		s.Lookups, s.Evicted = d.lookups.Load(), d.evicted.Load()
		s.Destinations = int(d.count.Load())
	}
	return s
}
