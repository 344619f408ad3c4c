package cache

import (
	"bytes"

	"github.com/edge-proxy/edge/cache/policy"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// askAgain is how long a backend that has failed is not asked again for the same, in ns.
const askAgain = int64(1e9)

// conditions are the fields by which the backend confirms a stored answer: RFC 9111 §4.3.1.
var conditions = [...]struct {
	of, id message.Name
	name   string
}{
	{message.ETag, message.IfNoneMatch, "If-None-Match"},
	{message.LastModified, message.IfModifiedSince, "If-Modified-Since"},
}

// addConditions adds the conditions to a request that ask whether the backend still has what is stored.
func addConditions(request, stored *message.Head) {
	for _, c := range conditions {
		if value := stored.Peek(c.of); len(value) > 0 {
			request.AddBytes(c.id, c.name, value)
		}
	}
}

// hasConditions reports whether request has the conditions, one at least, that are made of what is stored.
func hasConditions(request, stored *message.Head) bool {
	any := false
	for _, c := range conditions {
		value := stored.Peek(c.of)
		if !bytes.Equal(request.Peek(c.id), value) {
			return false
		}
		any = any || len(value) > 0
	}
	return any
}

// refresh has the backend asked for a stored answer that the request is given meanwhile, unless it is asked already.
func (f *front) refresh(a *asking, found record) {
	z, hash := f.zone, f.zone.fills.hash(a.under)
	s := z.fills.of(hash)
	s.mu.Lock()
	if z.filling.Load() >= z.fillingMax || a.findFill(s, hash) != nil || !f.detach() {
		s.mu.Unlock()
		return
	}
	one := a.l.takeFill()
	one.begin(f, a, hash, found)
	one.apart = true
	s.add(&one.entry)
	s.mu.Unlock()
	one.ask(a, found)
}

// settles gives the followers the stored answer that the backend was asked about, where the answer with head h says so.
func (f *fill) settles(l *local, h *message.Head) bool {
	switch h.Status {
	case 304:
		return f.renew(l, h)
	case 500, 502, 503, 504:
		return f.staleFor(l, h.Status)
	}
	return false
}

// kept returns what is stored where f asks about it; nil: it is not there any more, or there is no memory to give it.
// It is borrowed until the store is asked again.
func (f *fill) kept(l *local) record {
	if l.zone.filling.Load() >= l.zone.fillingMax {
		return nil
	}
	r := l.get(f.entry.key, f.asked)
	if r.kind() != isAnswer || l.zone.generations.dead(r.generation(), f.urls) {
		return nil
	}
	return r
}

// staleFor gives the followers a stored answer in place of one with status, or of none: 0. It reports false where there
// is none for that.
func (f *fill) staleFor(l *local, status uint16) bool {
	r, now := f.kept(l), l.zone.now(f.reactor)
	if r == nil {
		return false
	}
	fresh := r.fresh()
	if f.route.Rules.Reuse(&fresh, f.fork.Request(), now) == policy.ReasonFresh { // another fill has stored it
		f.startOver()
		return true
	}
	if f.stale = f.route.Rules.OnError(&fresh, f.fork.Request(), now, status); f.stale == policy.ReasonNone {
		return false
	}
	r.setAsk(now + askAgain)
	f.give(r[:r.headLen()], r.body())
	return true
}

// renew gives the followers the stored answer, renewed by h, the head of a 304: RFC 9111 §4.3.4. It reports false where
// nobody asked for a 304.
func (f *fill) renew(l *local, h *message.Head) bool {
	r, stored, now := f.kept(l), &l.head, l.zone.now(f.reactor)
	if r == nil {
		f.startOver()
		return true
	}
	stored.Base = l.base[:0]
	r.writeTo(stored)
	l.base = stored.Base
	if request := f.fork.Request(); !hasConditions(request, stored) {
		if !request.Has(message.IfNoneMatch) && !request.Has(message.IfModifiedSince) {
			return false
		}
		f.startOver()
		return true
	}
	l.names, _ = policy.AppendVary(l.names[:0], stored)
	varied := len(l.names)
	renewed := policy.Renew(stored, h)
	l.base = stored.Base
	a := f.route.Rules.Judge(f.fork.Request(), stored, f.asked, now)
	if l.names, _ = policy.AppendVary(l.names, stored); !renewed || !bytes.Equal(l.names[:varied], l.names[varied:]) {
		l.zone.records.Delete(f.entry.key)
		f.startOver()
		return true
	}
	if a.Reason != policy.ReasonNone {
		l.zone.records.Delete(f.entry.key)
		f.why, f.marks = a.Reason, a.Marks
		f.refuse(l)
		f.passOn()
		return true
	}
	var ok bool
	if l.renewed, l.text, ok = appendAnswer(l.renewed[:0], l.text[:0], stored, &a); !ok || len(l.renewed) > bodyMax {
		l.zone.records.Delete(f.entry.key)
		f.startOver()
		return true
	}
	f.alone = !shared(&a.Fresh)
	f.give(l.renewed, r.body())
	return true
}

// startOver has all followers ask the cache once more.
func (f *fill) startOver() {
	f.finish(failed)
	if w := f.first; w != nil {
		w.again()
	}
}

// give gives the followers an answer that is here whole, and stores it.
func (f *fill) give(head record, body []byte) {
	f.store, f.length = f.entry.key, int64(len(body))
	f.keep(head, len(body))
	record(f.bytes).setBodyLen(copy(f.bytes[f.headLen:], body))
	f.mark.Store(f.length)
	f.finish(stored)
	if w := f.first; w != nil {
		proxy.Credit(w.x, &f.fork)
		if w.begin(true) {
			w.feed()
		}
	}
}
