package cache

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/cache/policy"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Route says how answers of a route are cached. The zero value is good. Immutable once it is used.
type Route struct {
	Rules policy.Rules
	// Identity names the backends, and what the route tells them beside the request: routes of one identity share
	// answers. "": no other route does that has another one.
	Identity string
	Key      []*lang.Template // texts of the request that are a part of the key
	Fields   []string         // names of fields of the request whose values are, too: those that edge itself sets
	Query    Query
	// LockTimeout is how long a request waits for the head of the answer to another one before it goes to the backend
	// by itself; 0: 5 s.
	LockTimeout time.Duration
	Abandon     bool // an answer that nobody waits for any more is not fetched to its end
	NoStatus    bool // clients are not told by Cache-Status (RFC 9211) what the cache did
}

const lockTimeout = 5 * time.Second

// front is a cache before a destination. Immutable, but for its counters.
type front struct {
	zone     *Zone
	route    Route
	onward   proxy.Destination
	counts   *RouteCounts
	detached atomic.Int32 // fills that nobody follows
}

// Before returns a Front that caches answers of d. counts may be nil.
func (z *Zone) Before(d proxy.Destination, r Route, counts *RouteCounts) proxy.Front {
	if r.LockTimeout == 0 {
		r.LockTimeout = lockTimeout
	}
	if counts == nil {
		counts = z.NewRouteCounts()
	}
	return &front{zone: z, route: r, onward: d, counts: counts}
}

// Onward returns the destination that f stands before.
func (f *front) Onward() proxy.Destination { return f.onward }

// Check returns what is wrong with the destination that f stands before.
func (f *front) Check() error {
	if c, ok := f.onward.(proxy.Checked); ok {
		return c.Check()
	}
	return nil
}

// visit is what the cache keeps with an exchange.
type visit struct {
	why     policy.Reason // it does not wait for another request any more, or was passed
	follows uint8         // how often it began to wait
	marker  message.Span  // the key of the marker by which it was passed, in the bytes of the request
}

// followsMax bounds how often an exchange waits for the answer to another one.
const followsMax = 3

var visits = proxy.NewLocal[visit]()

// Open answers a request from the store, or has it follow a fill, or go on.
func (f *front) Open(x *proxy.Exchange, to session.Receiver) (session.Stream, error) {
	h, v := &x.Request, visits.Of(x)
	if why := passes(h); why != policy.ReasonNone {
		return f.pass(x, v, why)
	}
	r := x.Reactor()
	l := f.zone.on(r)
	key, target, ok := f.appendKey(l.key[:0], l, x)
	l.key = key
	if !ok {
		return f.pass(x, v, policy.ReasonKey)
	}
	for now := l.zone.now(r); ; {
		found, under := l.find(h, now)
		switch kind := found.kind(); {
		case kind == isAnswer:
			f.hit(x, l, found, now)
			return nil, &l.stored
		case kind == isMarker && found.marks(h):
			v.marker = message.Span{At: uint32(len(h.Base)), Len: uint32(len(under))}
			h.Base = append(h.Base, under...)
			return f.pass(x, v, policy.ReasonUncacheable)
		case h.Verb == message.VerbHead:
			return f.pass(x, v, policy.ReasonHead)
		case v.why != policy.ReasonNone:
			return f.pass(x, v, v.why)
		case v.follows == followsMax:
			return f.pass(x, v, policy.ReasonWaited)
		}
		v.follows++
		switch s, again := f.follow(x, l, under, target, now, to); {
		case s != nil:
			return s, nil
		case !again:
			return f.pass(x, v, policy.ReasonCrowd)
		}
	}
}

// passes returns why a request with head h goes by the cache.
func passes(h *message.Head) policy.Reason {
	switch {
	case h.Verb != message.VerbGet && h.Verb != message.VerbHead:
		return policy.ReasonMethod
	case h.Upgrade:
		return policy.ReasonOff
	case h.Length != 0:
		// Content of GET means nothing (RFC 9110 §9.3.1), but some backends answer it: it would be an answer for
		// others.
		return policy.ReasonBody
	}
	for i := range h.Fields {
		switch f := &h.Fields[i]; {
		case f.Dropped():
		case f.ID == message.IfMatch, f.ID == message.IfUnmodifiedSince:
			return policy.ReasonPrecondition
		case f.ID == message.Range:
			return policy.ReasonRange
		}
	}
	return policy.ReasonNone
}

// find looks for what there is under the key in l.key, and then for the variant of a request with head h. under is the
// key at which it has looked last. Both are borrowed until the next call.
func (l *local) find(h *message.Head, now int64) (found record, under []byte) {
	under = l.key
	if found = l.get(under, now); found.kind() == isList {
		l.variant = appendVariantKey(l.variant[:0], l.key, found.id(), found.names(), h)
		under = l.variant
		found = l.get(under, now)
	}
	return found, under
}

// get returns the record under a key; nil: there is none that counts.
func (l *local) get(key []byte, now int64) record {
	p, ok := l.zone.records.Get(l.record[:0], key)
	l.record = p[:0]
	r := record(p)
	if !ok {
		return nil
	}
	switch r.kind() {
	case isAnswer:
		if fresh := r.fresh(); fresh.Reuse(now) != policy.ReasonFresh {
			return nil
		}
	case isList, isMarker:
		if r.until() <= now {
			return nil
		}
	default:
		return nil
	}
	return r
}

// appendVariantKey appends the key of the variant of a request by the names of a list.
func appendVariantKey(dst, key []byte, id uint64, names []byte, h *message.Head) []byte {
	dst = append(append(dst, variantKey), key[1:]...)
	for range 8 {
		dst = append(dst, byte(id))
		id >>= 8
	}
	return policy.AppendVariant(dst, names, h)
}

// hit makes x.Response the answer that r is.
func (f *front) hit(x *proxy.Exchange, l *local, r record, now int64) {
	h := &x.Response
	r.writeTo(h)
	fresh := r.fresh()
	age := l.addAge(h, &fresh, now)
	if !f.route.NoStatus {
		l.text = append(append(l.text[:0], f.zone.name...), "; hit; ttl="...)
		l.text = strconv.AppendInt(l.text, int64(fresh.Left(now)/time.Second), 10)
		h.AddBytes(message.Other, "Cache-Status", l.text)
	}
	f.note(x, proxy.CacheHit, age, policy.ReasonNone)
	l.stored.Body = r.body()
}

// addAge adds the age of a stored answer to its head h, and returns it in seconds.
func (l *local) addAge(h *message.Head, fresh *policy.Freshness, now int64) int32 {
	age := int64(fresh.AgeAt(now) / time.Second)
	l.text = strconv.AppendInt(l.text[:0], age, 10)
	h.AddBytes(message.Age, "Age", l.text)
	return int32(age)
}

// pass has x go on.
func (f *front) pass(x *proxy.Exchange, v *visit, why policy.Reason) (session.Stream, error) {
	v.why = why
	f.note(x, proxy.CacheBypass, -1, why)
	return nil, proxy.ErrOnward
}

// OnPassed tells the client that its request went by the cache. A marker is removed where the answer could be stored by
// now.
func (f *front) OnPassed(x *proxy.Exchange) {
	v, h := visits.Of(x), &x.Response
	if h.Tunnel {
		return
	}
	r := x.Reactor()
	l := f.zone.on(r)
	if v.marker.Len > 0 {
		key, now := x.Request.Bytes(v.marker), f.zone.now(r)
		a := f.route.Rules.Judge(&x.Request, h, now, now)
		if found := l.get(key, now); a.Reason == policy.ReasonNone && found.kind() == isMarker && found.lifted(h) {
			l.zone.records.Delete(key)
		}
	}
	forwarded := "bypass"
	if v.why == policy.ReasonMethod {
		forwarded = "method"
	}
	f.tell(l, h, forwarded, v.why, "")
}

// tell adds what the cache did to an answer that came from the backend: RFC 9211 §2.
func (f *front) tell(l *local, h *message.Head, forwarded string, why policy.Reason, more string) {
	if f.route.NoStatus {
		return
	}
	t := append(append(append(l.text[:0], f.zone.name...), "; fwd="...), forwarded...)
	t = strconv.AppendInt(append(t, "; fwd-status="...), int64(h.Status), 10)
	if t = append(t, more...); why != policy.ReasonNone {
		t = append(append(t, "; detail="...), why.String()...)
	}
	l.text = t
	h.AddBytes(message.Other, "Cache-Status", t)
}
