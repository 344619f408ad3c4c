package cache

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// asking is a request whose answer is looked for in the store.
// Borrowed until Open returns.
//
//	under is the key that was looked up last: the key of the request, or of its variant
type asking struct {
	x           *proxy.Exchange
	to          session.Receiver
	route       *Route
	l           *local
	target      []byte // what the backend is asked for
	content     []byte // of QUERY
	under       []byte
	now         int64
	why         policy.Reason    // by Rules.Reuse or OnError, of the answer that was found last
	met         verdict          // of purges, on the answer that was looked at last
	fresh       policy.Freshness // of that answer
	located     bool             // l.subject tells of the request
	conditional bool             // the request has conditions or a range that the cache compares
	cold        bool             // only the disk has an answer to it
}

// followsMax bounds how often an exchange waits for the answer to another one.
const followsMax = 3

// find returns the record under the key of the request, or the one of its variant where that is a list; nil: there is
// none that counts. It is borrowed until the next call.
func (a *asking) find() (found record) {
	l := a.l
	a.under = l.key
	if found = a.get(); found.kind() == isList {
		l.variant = appendVariantKey(l.variant[:0], l.key, found.id(), found.names(), &a.x.Request)
		a.under = l.variant
		found = a.get()
	}
	return found
}

// get returns the record under a.under; nil: no record counts for the request.
func (a *asking) get() record {
	found := a.l.get(a.under, a.now)
	if a.met = (verdict{}); found.kind() == isAnswer && found.stamp() < a.l.zone.generations.ended.Load() {
		found, a.met = a.l.after(found, a.about(), a.now)
	}
	return found
}

// after returns found, a stored answer to the request of about, as purges leave it: nil where it counts no more, and
// expired after a soft purge.
func (l *local) after(found record, about *subject, now int64) (left record, v verdict) {
	about.tags = found.tags()
	switch v = l.zone.generations.judge(found.stamp(), found.confirmed(), about); {
	case v.dead:
		return nil, v
	case v.soft > 0:
		found.expire(int64(v.soft)*1000, now)
	}
	return found, v
}

// about returns what tells of the request.
func (a *asking) about() *subject {
	if !a.located {
		a.l.locate(a.x, &a.route.Query, a.target)
		a.located = true
	}
	return &a.l.subject
}

// locate sets l.subject to the request of x. target is what q leaves of the target that the backend is sent.
func (l *local) locate(x *proxy.Exchange, q *Query, target []byte) {
	s := &l.subject
	l.asked = x.AppendAsked(l.asked[:0])
	asked := placeOf(x.AskedAuthority(), q.apply(l, &l.left, l.asked))
	sent := placeOf(x.Request.Bytes(x.Request.Authority), target)
	s.at = [...]place{asked, sent}
	s.one = bytes.Equal(asked.authority, sent.authority) && bytes.Equal(asked.path, sent.path) &&
		bytes.Equal(asked.query, sent.query)
}

// get returns the record under a key; nil: no record counts.
func (l *local) get(key []byte, now int64) record {
	p, ok := l.zone.records.Get(l.record[:0], key)
	l.record = p[:0]
	r := record(p)
	switch {
	case !ok, r.file() != 0 && !l.zone.bodies.has(r.file()):
	case r.kind() == isAnswer, (r.kind() == isList || r.kind() == isMarker) && r.until() > now:
		return r
	}
	if l.blocks {
		return l.zone.disk.read(key)
	}
	return nil
}

// appendVariantKey appends the key of the variant of a request by the names of a list.
func appendVariantKey(dst, key []byte, id uint64, names []byte, h *message.Head) []byte {
	dst = append(append(dst, variantKey), key[1:]...)
	return policy.AppendVariant(binary.LittleEndian.AppendUint64(dst, id), names, h)
}

// passes returns why the request goes by the cache, where found cannot be sent; ReasonNone: it does not.
func (a *asking) passes(found record, v *visit) policy.Reason {
	h, kind := &a.x.Request, found.kind()
	a.cold = kind == 0 && !v.alone && v.why == policy.ReasonNone && v.waited == 0 && v.follows < followsMax &&
		a.l.zone.disk.has(a.under)
	switch {
	case a.cold:
		return policy.ReasonNone
	case a.route.Rules.OnlyIfCached(h):
		return policy.ReasonOnlyIfCached
	case kind == isMarker && found.marks(h):
		v.marker = message.Span{At: uint32(len(h.Base)), Len: uint32(len(a.under))}
		h.Base = append(h.Base, a.under...)
		return cmp.Or(v.why, policy.ReasonUncacheable)
	case h.Verb == message.VerbHead && kind != isAnswer:
		return policy.ReasonHead
	case a.conditional && kind != isAnswer && a.isFar(h):
		return policy.ReasonRange
	case v.why != policy.ReasonNone:
		return v.why
	case v.follows == followsMax:
		return policy.ReasonWaited
	}
	return policy.ReasonNone
}

// isFar reports whether the whole answer is not fetched for h, since its range begins too late, or at a byte that its
// text does not tell.
func (a *asking) isFar(h *message.Head) bool {
	if !h.Has(message.Range) {
		return false
	}
	at, ok := policy.FirstByteOf(h)
	return !ok || at >= cmp.Or(a.route.RangeFill, rangeFill)
}

// shared reports whether an answer may also be sent to other requests that waited for it.
func shared(fresh *policy.Freshness) bool { return !fresh.Always && fresh.Lifetime > fresh.Age }
