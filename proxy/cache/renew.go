package cache

import (
	"bytes"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// askAgain is the time in ns for which a backend that has failed is not asked again about the same stored answer.
const askAgain = int64(1e9)

// conditions are the fields by which the backend confirms a stored answer: RFC 9111 §4.3.1.
var conditions = [...]struct {
	of, id message.Name
	name   string
}{
	{message.ETag, message.IfNoneMatch, "If-None-Match"},
	{message.LastModified, message.IfModifiedSince, "If-Modified-Since"},
}

// addConditions adds the conditions to request by which the backend says whether stored is still its answer.
func addConditions(request, stored *message.Head) {
	for _, c := range conditions {
		if value := stored.Peek(c.of); len(value) > 0 {
			request.AddBytes(c.id, c.name, value)
		}
	}
}

// hasConditions reports whether request has just the conditions that addConditions makes of stored, and at least one.
func hasConditions(request, stored *message.Head) bool {
	some := false
	for _, c := range conditions {
		value := stored.Peek(c.of)
		if !bytes.Equal(request.Peek(c.id), value) {
			return false
		}
		some = some || len(value) > 0
	}
	return some
}

// refresh asks the backend about found, the stored answer that the request is given, unless a fill does so already.
func (f *front) refresh(a *asking, found record) {
	z, hash := f.zone, f.zone.fills.hash(a.under)
	s := z.fills.of(hash)
	s.mu.Lock()
	if z.filling.Load() >= z.fillingMax || a.findFill(s, hash) != nil || !f.detach(0) {
		s.mu.Unlock()
		return
	}
	one := a.l.takeFill()
	one.begin(f, a, hash, found)
	one.unasked = -1
	s.add(&one.entry)
	s.mu.Unlock()
	one.ask(a, found)
}

// endByStored ends f by the stored answer that the backend was asked about: a 304 renews it, and after an error it may
// be used. It reports false where the answer with head h is to be taken like any other.
func (f *fill) endByStored(l *local, h *message.Head) bool {
	switch h.Status {
	case 304:
		return f.renew(l, h)
	case 500, 502, 503, 504:
		return f.giveStale(l, h.Status)
	}
	return false
}

// storedAnswer returns the stored answer that f asks about; nil: it counts no more, or there is no memory to give it.
// It is borrowed until the store is asked again. v is what purges mean for it.
func (f *fill) storedAnswer(l *local) (r record, v verdict) {
	if l.zone.filling.Load() >= l.zone.fillingMax {
		return nil, v
	}
	if r = l.get(f.entry.key, f.asked); r.kind() != isAnswer {
		return nil, v
	}
	return l.after(r, &f.subject, l.zone.now(f.reactor))
}

// giveStale gives the followers the stored answer in place of the backend's answer with status; 0: it has not answered.
// It reports false where the stored answer may not be used so.
func (f *fill) giveStale(l *local, status uint16) bool {
	now := l.zone.now(f.reactor)
	r, _ := f.storedAnswer(l)
	if r == nil {
		return false
	}
	fresh := r.fresh()
	if f.route.Rules.Reuse(&fresh, f.fork.Request(), now) == policy.ReasonFresh { // another fill has stored it
		f.askAllAgain()
		return true
	}
	if f.stale = f.route.Rules.OnError(&fresh, f.fork.Request(), now, status); f.stale == policy.ReasonNone {
		if f.first == nil { // later requests may use it all the same: none asks the backend again at once
			r.setAsk(now + askAgain)
			l.zone.set(f.entry.key, r)
		}
		return false
	}
	r.setAsk(now + askAgain)
	f.giveRecord(r[:r.headLen()], r, r.stamp(), r.confirmed())
	return true
}

// renew gives the followers the stored answer, renewed by h, the head of a 304: RFC 9111 §4.3.4. Where that is about
// another answer, they ask the cache once more. It reports false where the request had no conditions.
func (f *fill) renew(l *local, h *message.Head) bool {
	head, now := &l.head, l.zone.now(f.reactor)
	r, v := f.storedAnswer(l)
	if r == nil || v.soft > f.stamp { // or a soft purge has come since f asked, maybe of a tag that h takes away
		f.askAllAgain()
		return true
	}
	head.Base = l.base[:0]
	r.writeTo(head)
	l.base = head.Base
	if request := f.fork.Request(); !hasConditions(request, head) {
		if !request.Has(message.IfNoneMatch) && !request.Has(message.IfModifiedSince) {
			return false
		}
		f.askAllAgain()
		return true
	}
	l.names, _ = policy.AppendVary(l.names[:0], head)
	varied := len(l.names)
	renewed := policy.Renew(head, h)
	l.base = head.Base
	a := f.route.judge(f.fork.Request(), head, f.asked, now)
	l.names, _ = policy.AppendVary(l.names, head)
	tags, ok := f.appendTags(l.tags[:0], h)
	if len(tags) > 0 {
		tags, ok = f.appendTags(tags[:0], head)
	} else { // as they were: some may be in fields that are not stored
		tags = append(tags, r.tags()...)
	}
	l.tags = tags
	same, stamp := ok && renewed && bytes.Equal(l.names[:varied], l.names[varied:]), f.stamp
	if l.zone.generations.places.Load() > r.stamp() { // maybe of another URL that shares r: it gets no body from before
		stamp, same = r.stamp(), same && bytes.Equal(tags, r.tags())
	}
	if same && a.Reason != policy.ReasonNone {
		l.zone.forget(f.entry.key)
		f.why, f.marks = a.Reason, a.Marks
		f.refuse(l)
		f.passOn()
		return true
	}
	l.renewed, l.text, ok = appendAnswer(l.renewed[:0], l.text[:0], l.tags, head, &a)
	if !same || !ok || len(l.renewed) > bodyMax {
		l.zone.forget(f.entry.key)
		f.askAllAgain()
		return true
	}
	f.alone = !shared(&a.Fresh)
	f.giveRecord(l.renewed, r, stamp, f.stamp)
	return true
}

// appendTags appends the tags of an answer to f. It reports false where they are too many.
func (f *fill) appendTags(list []byte, h *message.Head) (_ []byte, ok bool) {
	return appendTags(list, h, f.route.Tags, f.fork.Request().Scheme(), f.subject.at[0].authority)
}

// askAllAgain makes all followers ask the cache once more.
func (f *fill) askAllAgain() {
	f.finish(failed)
	if w := f.first; w != nil {
		w.again()
	}
}

// giveRecord stores the answer with that head, of a record, and the body of another record, and sends it to the
// followers.
func (f *fill) giveRecord(head, of record, stamp, confirmed uint64) {
	if number := of.file(); number != 0 && f.file == nil {
		if f.file = f.front.zone.bodies.take(number); f.file == nil { // it was evicted since the record was found
			f.askAllAgain()
			return
		}
	}
	f.store, f.length = f.entry.key, int64(of.bodyLen())
	if f.from == aBackend {
		f.from = theStore
	}
	f.keep(f.front.zone, head, len(of.body()), stamp, confirmed)
	record(f.bytes).setBodyLen(of.bodyLen())
	copy(f.bytes[f.headLen():], of.body())
	f.mark.Store(f.length)
	f.finish(stored)
	if w := f.first; w != nil {
		proxy.Credit(w.x, &f.fork)
		if w.begin(true) {
			w.feed()
		}
	}
}
