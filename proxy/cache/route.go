package cache

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Route says how answers of a route are cached. The zero value is good. Immutable once it is used.
type Route struct {
	Rules Rules
	// Identity names the backends, and what the route tells them beside the request. Routes with the same Identity
	// share answers, also routes with "".
	Identity string
	Texts    []*lang.Template // texts of the request that are a part of the key
	Fields   []string         // names of fields of the request whose values are, too: those that edge itself sets
	Query    Query
	// Key appends what else is a part of the key to dst, and returns that. Requests for which it appends the same share
	// answers. On the reactor of x, at each request. nil: nothing else is.
	Key func(x *proxy.Exchange, dst []byte) []byte
	// Store returns why an answer is not stored, which Rules would store: ReasonProgram, or another Reason;
	// ReasonNone: it is. It may not change the heads, and is asked on a reactor. nil: all of them are stored.
	Store func(request, answer *message.Head) Reason
	Tags  []string // names of fields of answers that have tags, by which answers can be purged
	// LockTimeout is how long a request waits for the head of the answer to another one; 0: 5 s. Then one of the
	// waiting requests goes to the backend, and the others wait for its answer. After three such times a request goes
	// to the backend by itself.
	LockTimeout time.Duration
	// RangeFill bounds the first byte of a range for which the whole answer is fetched where none is stored; 0: 1 MiB;
	// below 0: it is fetched for no range.
	RangeFill int64
	ObjectMax int64          // bytes of the largest body that is stored; 0: of the largest that the store takes
	PurgeFrom []netip.Prefix // clients that may purge a URL by the method PURGE
	Abandon   bool           // an answer that no client waits for any more is not fetched to its end
	NoStatus  bool           // clients are not told by Cache-Status (RFC 9211) what the cache did
	Off       bool           // the cache is used only for requests whose Choice has a Route
	// Choices are the Routes that hold in place of this one for requests of a Choice. Without an entry, requests of a
	// Choice go by the cache. Choices of these Routes do not count.
	Choices map[*Choice]*Route
}

const (
	lockTimeout = 5 * time.Second
	rangeFill   = 1 << 20
)

// Choice is an index of Route.Choices: it stands for what a rule says of the cache. Choices are compared as pointers.
type Choice struct{ _ byte }

// Choose sets c as the choice for x, by which the cache before its destination acts as its Route says. For filters of
// the phases BeforeRoute and Request. The last call counts.
func Choose(x *proxy.Exchange, c *Choice) { visits.Of(x).choice = c }

// Of returns the Route that holds for x: r, or one of its Choices. nil: x goes by the cache. On the reactor of x.
func (r *Route) Of(x *proxy.Exchange) *Route {
	if c := visits.Of(x).choice; c != nil {
		return r.Choices[c]
	}
	if r.Off {
		return nil
	}
	return r
}

// most returns how many bytes of a body are stored.
func (r *Route) most(z *Zone) int64 {
	most := z.bodies.largest()
	if z.bodies.store != nil {
		most = max(most, z.disk.largest())
	}
	if r.ObjectMax > 0 {
		most = min(most, r.ObjectMax)
	}
	return most
}

// judge decides whether an answer is stored, and how: see policy.Rules.Judge.
func (r *Route) judge(request, answer *message.Head, asked, received int64) policy.Answer {
	a := r.Rules.Judge(request, answer, asked, received)
	if a.Reason == policy.ReasonNone && r.Store != nil {
		if a.Reason = r.Store(request, answer); a.Reason != policy.ReasonNone {
			a.Marks = a.Reason.Marks()
		}
	}
	return a
}

// passes returns why a request with head h goes by the cache. Else conditional reports whether it has conditions or a
// range that the cache compares.
func (r *Route) passes(h *message.Head) (why policy.Reason, conditional bool) {
	switch {
	case h.Upgrade:
		return policy.ReasonOff, false
	case h.Verb == message.VerbGet, h.Verb == message.VerbHead:
		// Content of GET means nothing (RFC 9110 §9.3.1), but some backends answer by it, and requests without content
		// would be given that answer.
		if h.Length != 0 {
			return policy.ReasonBody, false
		}
	case h.Verb != message.VerbQuery:
		return policy.ReasonMethod, false
	case h.Length < 0 || h.Length > bodyMax:
		return policy.ReasonBody, false
	}
	for i := range h.Fields {
		switch f := &h.Fields[i]; {
		case f.Dropped():
		case f.ID == message.IfMatch, f.ID == message.IfUnmodifiedSince: // the backend has to judge: RFC 9111 §4.3.2
			return policy.ReasonPrecondition, false
		case f.ID == message.IfNoneMatch, f.ID == message.IfModifiedSince, f.ID == message.Range:
			conditional = true
		}
	}
	return policy.ReasonNone, conditional
}

// front is a cache before a destination. Immutable, but for its counters.
type front struct {
	zone     *Zone
	route    Route
	onward   proxy.Destination
	counts   *RouteCounts
	detached atomic.Int32 // fills without a follower
	unasked  atomic.Int64 // bytes that were fetched for no client, less the bytes of answers that clients took
}

// Before returns a Front that caches answers of d. counts may be nil.
func (z *Zone) Before(d proxy.Destination, r Route, counts *RouteCounts) proxy.Front {
	if counts == nil {
		counts = z.NewRouteCounts()
	}
	z.queries.add(new(r.Query))
	for _, other := range r.Choices {
		if other != nil {
			z.queries.add(new(other.Query))
		}
	}
	return &front{zone: z, route: r, onward: d, counts: counts}
}

// Onward returns the destination that f stands before.
func (f *front) Onward() proxy.Destination { return f.onward }

// Before returns f as it stands before another destination: an edge.Server puts its own in the place of edge.Backends.
func (f *front) Before(d proxy.Destination) proxy.Front { return f.zone.Before(d, f.route, f.counts) }

// Check returns what is wrong with the destination that f stands before.
func (f *front) Check() error {
	if c, ok := f.onward.(proxy.Checked); ok {
		return c.Check()
	}
	return nil
}

// visit is what the cache keeps with an exchange.
type visit struct {
	choice  *Choice       // nil: no rule has chosen
	why     policy.Reason // why it goes to the backend by itself; ReasonNone: it may wait for another request
	follows uint8         // how often it began to wait
	waited  uint64        // the stamp of the fill for whose head it has waited too long; 0: there is none
	alone   bool          // it needs an answer of its own, in a fill that others do not find
	purging *purging      // a PURGE that the disk knows of, or is about to
	marker  message.Span  // the key of the marker by which it was passed, in the bytes of the request
}

var visits = proxy.NewLocal[visit]()

const (
	detachedMax = 64       // fills of a route without a follower
	unaskedMax  = 32 << 20 // bytes: see front.unasked
)

// detach counts a fill without a follower, and n bytes that it is still to fetch. It reports false where there are too
// many. Without a bound for bytes, clients that ask for a byte, or leave at once, would make backends send 8 MiB for
// each request.
func (f *front) detach(n int64) bool {
	many, costly := f.detached.Add(1) > detachedMax, f.unasked.Add(n) > unaskedMax
	if many || costly {
		f.detached.Add(-1)
		f.unasked.Add(-n)
	}
	return !many && !costly
}

// earn notes an answer of n bytes that was followed to its end: as many may be fetched for no client.
func (f *front) earn(n int64) {
	for was := f.unasked.Load(); was > 0 && !f.unasked.CompareAndSwap(was, max(was-n, 0)); {
		was = f.unasked.Load()
	}
}

// note writes into the logs of x, and counts, what the cache did.
func (f *front) note(x *proxy.Exchange, s proxy.CacheStatus, age int32, why policy.Reason) {
	f.counts.cells[x.Reactor().Index()].status[s].Add(1)
	f.say(x, s, age, why)
}

// unstored writes into the logs of x, which was counted as a miss, why its answer is not stored after all.
func (f *front) unstored(x *proxy.Exchange, why policy.Reason) { f.say(x, proxy.CacheMiss, -1, why) }

// say writes into the logs of x what the cache did, and counts the reason.
func (f *front) say(x *proxy.Exchange, s proxy.CacheStatus, age int32, why policy.Reason) {
	proxy.SetCached(x, proxy.Cached{Status: s, Age: age, Reason: reasons[why], Unstored: s == proxy.CacheMiss})
	f.zone.counts[x.Reactor().Index()].reasons[why].Add(1)
}
