package cache

import (
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Open answers a request from the store, makes it follow a fill, or lets it go on.
func (f *front) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	r := x.Reactor()
	h, v, l := &x.Request, visits.Of(x), f.zone.on(r)
	if h.Verb == message.VerbOther {
		if purging, refusal := f.route.Purging(x); purging {
			return f.purge(x, l, to, refusal)
		}
	}
	policy.DropOverrides(h, f.route.Fields)
	a := asking{x: x, to: to, l: l, route: f.route.Of(x), now: f.zone.now(r)}
	if f.zone.generations.news() {
		f.zone.Hear()
	}
	if a.route == nil && v.choice == nil {
		return proxy.Opening{Onward: true}
	} else if a.route == nil {
		return f.pass(x, v, policy.ReasonOff)
	}
	why, whole := policy.ReasonNone, true
	if why, a.conditional = a.route.passes(h); why != policy.ReasonNone {
		return f.pass(x, v, why)
	}
	if h.Verb == message.VerbQuery {
		if a.content, whole = proxy.BodyOf(x); !whole {
			return f.pass(x, v, policy.ReasonBody)
		}
	}
	if l.key, whole = a.appendKey(l.key[:0]); !whole {
		return f.pass(x, v, policy.ReasonKey)
	}
	if x.Rewritten() { // maybe it is given an answer that is stored for another URL
		f.zone.generations.know(a.about())
	}
	for {
		found := a.find()
		if found.kind() == isAnswer {
			a.fresh = found.fresh()
			if a.why = a.route.Rules.Reuse(&a.fresh, h, a.now); a.why.Uses() {
				return f.hit(&a, found)
			}
			// The lifetime that a soft purge has cut says nothing of the next answer.
			v.alone = v.alone || a.met.soft == 0 && !shared(&a.fresh) || a.fresh.Left(a.now) > 0
		}
		switch why = a.passes(found, v); {
		case why == policy.ReasonOnlyIfCached:
			f.note(x, proxy.CacheBypass, -1, why)
			return proxy.Opening{Verdict: &notStored}
		case (why == policy.ReasonWaited || v.waited > 0) && a.isUsable(found):
			return f.hit(&a, found)
		case why != policy.ReasonNone:
			return f.pass(x, v, why)
		}
		v.follows++
		s, again := f.follow(&a, found, v.alone)
		if s != nil {
			return proxy.Opening{Stream: s}
		}
		switch {
		case !again && a.isUsable(found):
			return f.hit(&a, found)
		case !again:
			return f.pass(x, v, policy.ReasonCrowd)
		}
	}
}

// isUsable reports whether found answers the request where that has waited too long or cannot wait: it may be used
// while the backend does not answer.
func (a *asking) isUsable(found record) bool {
	if found.kind() != isAnswer {
		return false
	}
	why := a.route.Rules.OnError(&a.fresh, &a.x.Request, a.now, 0)
	if why != policy.ReasonNone {
		a.why = why
	}
	return why != policy.ReasonNone
}

// notStored is the answer to only-if-cached: RFC 9111 §5.2.1.7.
var notStored = proxy.Respond(504, "Nothing is stored for this request.")

// hit answers the request with r, the record that was found last.
func (f *front) hit(a *asking, r record) proxy.Opening {
	x, l, fresh, why := a.x, a.l, &a.fresh, a.why
	h, how := &x.Response, proxy.CacheHit
	switch why {
	case policy.ReasonFresh:
		why = policy.ReasonNone
	case policy.ReasonStaleWhile:
		if fresh.Ask <= a.now {
			f.refresh(a, r)
		}
		fallthrough
	default:
		how = proxy.CacheStale
	}
	r.writeTo(h)
	age, at, n := l.addAge(h, fresh, a.now), int64(0), int64(r.bodyLen())
	if a.conditional {
		at, n = shape(&x.Request, h, n, fresh.Received)
	}
	l.stored = proxy.Stored{}
	if l.stored.Length = n; r.file() == 0 {
		l.stored.Body = r.body()[at : at+n]
	} else if n > 0 && x.Request.Verb != message.VerbHead {
		b := f.zone.bodies.take(r.file())
		if b == nil { // it was evicted since the record was found
			h.Reset()
			return f.pass(x, visits.Of(x), policy.ReasonCrowd)
		}
		l.stored.File, l.stored.At = b, at
	}
	l.tell(a.route, h, status{ttl: int64(fresh.Left(a.now) / time.Second), why: why})
	f.note(x, how, age, why)
	return proxy.Opening{Stored: &l.stored}
}

// pass lets x go on.
func (f *front) pass(x *proxy.Exchange, v *visit, why policy.Reason) proxy.Opening {
	v.why = why
	f.note(x, proxy.CacheBypass, -1, why)
	return proxy.Opening{Onward: true}
}

// OnPassed tells the client that its request went by the cache. It removes the marker by which it went, where the
// answer could be stored by now. After an unsafe request it ends what is stored for the URLs that have changed.
func (f *front) OnPassed(x *proxy.Exchange) {
	v, h := visits.Of(x), &x.Response
	if h.Tunnel {
		return
	}
	l, of := f.zone.on(x.Reactor()), f.route.Of(x)
	if of == nil {
		of = &f.route
	}
	if v.marker.Len > 0 {
		key, now := x.Request.Bytes(v.marker), f.zone.now(x.Reactor())
		a := of.judge(&x.Request, h, now, now)
		if found := l.get(key, now); a.Reason == policy.ReasonNone && found.kind() == isMarker &&
			found.lifted(h, of.most(f.zone)) {
			l.zone.records.Delete(key)
		}
	}
	if policy.Invalidates(&x.Request, h) {
		f.invalidate(x, l)
	}
	if v.why == policy.ReasonNone { // the cache is off here, but for rules, none of which held
		return
	}
	forwarded := "bypass"
	if v.why == policy.ReasonMethod {
		forwarded = "method"
	}
	l.tell(of, h, status{forwarded: forwarded, code: h.Status, why: v.why})
}
