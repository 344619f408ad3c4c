package cache

import (
	"bytes"
	"cmp"
	"sync/atomic"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

const (
	markerTime   = int64(120e9)
	listTime     = int64(3600e9)
	followersMax = 10_000
)

// fillState says how far a fill is. Each state but asked and filling is the last one.
//
//	asked ─┬► filling ─┬► stored
//	       │           └► cut       the backend ended the answer before its end
//	       ├► passed                the answer is not stored: it goes to the first follower alone
//	       └► failed                there is none
type fillState = uint32

const (
	asked fillState = iota
	filling
	stored
	cut
	passed
	failed
)

// fill is a request for an answer that any number of exchanges follow: the first follower, which has caused it, and
// others, which are in the lane of their reactor. It takes the answer of its Forked.
// Owned by its reactor. What followers read is written before state or mark says so, and then stays as it is.
//
//	refs counts the owner and the followers: the last one gives buf back
//	a fill that is in the table is asked or filling
type fill struct {
	session.NopStream
	growth
	next    *fill // of local.free
	entry   entry // in the table, from the beginning
	second  entry // likewise, once it is known by what the answer varies; without a key: it is not needed
	front   *front
	route   *Route
	reactor *engine.Reactor
	plain   []byte // key without the values of varying fields
	fork    proxy.Forked
	asked   int64     // ns since 1970
	subject subject   // of the request
	memory  []byte    // of subject
	stamp   uint64    // see generations
	first   *follower // nil once it is over
	self    follower  // first, while it is not over
	renews  bool      // the backend is asked about a stored answer
	content bool      // the request has some

	state     atomic.Uint32
	published atomic.Uint32
	followers atomic.Int32
	refs      atomic.Int32
	lanes     atomic.Pointer[lane]

	store   []byte        // key of the record: of an entry, or plain
	names   []byte        // by which the answer varies; empty: by nothing
	variant []byte        // values of these in the request
	status  status        // for Cache-Status
	stale   policy.Reason // a stored answer is given in place of one of the backend; ReasonNone: it is not
	alone   bool          // each request has to ask the backend by itself
	why     policy.Reason // not stored
	marks   policy.Class  // which requests that holds for
	failure *proxy.Error
}

// follow makes the request a follower of the fill of a key, which it begins where there is none; with alone it always
// begins one, which others do not find by that key. found is what is stored. Without a stream the store has to be
// asked again, or there is no room.
func (f *front) follow(a *asking, found record, alone bool) (stream session.Stream, again bool) {
	x, z, r := a.x, f.zone, a.x.Reactor()
	hash := z.fills.hash(a.under)
	s := z.fills.of(hash)
	s.mu.Lock()
	var one *fill
	if !alone {
		one = a.findFill(s, hash)
	}
	if one != nil {
		var w *follower
		if one.followers.Load() < followersMax {
			w = new(follower)
			w.join(f, one, a)
			w.lane = one.laneOf(r)
		}
		s.mu.Unlock()
		if w == nil {
			return nil, false
		}
		w.wait()
		z.counts[r.Index()].followers.Add(1)
		return w, false
	}
	// A fill on another reactor may have ended since the store was asked: it stores its answer, then it leaves the
	// table.
	if before := found.edition(); len(z.locals) > 1 && !alone {
		if found = a.get(); found.edition() != before {
			s.mu.Unlock()
			return nil, true
		}
	}
	if z.filling.Load() < z.fillingMax {
		one = a.l.takeFill()
		one.begin(f, a, hash, found)
		one.first = &one.self
		one.self.join(f, one, a)
		if !alone {
			s.add(&one.entry)
		}
	}
	s.mu.Unlock()
	if one == nil {
		return nil, false
	}
	proxy.SetCached(x, proxy.Cached{Status: proxy.CacheMiss})
	if a.cold && one.load() {
		one.self.arm()
	} else {
		one.ask(a, found)
	}
	return &one.self, false
}

// begin makes f, which is free, the fill for a request, for which found is stored. It has no followers yet.
func (f *fill) begin(of *front, a *asking, hash uint64, found record) {
	key := a.under
	f.front, f.route, f.reactor = of, a.route, a.x.Reactor()
	f.entry.fill, f.entry.key, f.second.fill, f.second.key = f, append(f.entry.key[:0], key...), f, f.second.key[:0]
	f.entry.hash, f.asked, f.plain = hash, a.now, append(f.plain[:0], a.l.key...)
	f.stamp, f.subject = a.l.zone.generations.next(a.now), *a.about()
	f.memory = f.subject.keep(f.memory)
	f.renews, f.status = found.kind() == isAnswer, status{forwarded: "uri-miss"}
	switch {
	case f.renews:
		f.status.forwarded = "stale"
		if fresh := found.fresh(); !fresh.Always && fresh.Left(a.now) > 0 {
			f.status.forwarded = "request"
		}
		if a.why != policy.ReasonExpired && !a.why.Uses() {
			f.status.why = a.why
		}
	case key[0] == variantKey:
		f.status.forwarded = "vary-miss"
	}
	f.names, f.why, f.failure = f.names[:0], policy.ReasonNone, nil
	f.content = len(a.content) > 0
	f.stale, f.alone, f.first = policy.ReasonNone, false, nil
	f.growth.begin()
	f.state.Store(asked)
	f.refs.Store(1)
	f.followers.Store(0)
}

// ask sends the request to the backend.
func (f *fill) ask(a *asking, found record) {
	a.l.zone.counts[f.reactor.Index()].begun.Add(1)
	f.fork.Body, f.fork.Class, f.fork.Apart = a.content, admission.Usual, f.first == nil
	if f.fork.Apart {
		f.fork.Class = admission.Last
	}
	proxy.Fork(&f.fork, a.x, f.front.onward, f)
	f.fork.Body = nil
	edit(f.fork.Request(), a.target)
	if f.renews {
		l := a.l
		l.head.Base = l.base[:0]
		found.writeTo(&l.head)
		addConditions(f.fork.Request(), &l.head)
		l.base = l.head.Base
	}
}

// edit makes h the request of a fill: what the key leaves out is left out of it, and the answer is to be whole.
func edit(h *message.Head, target []byte) {
	if h.Verb == message.VerbHead {
		h.SetMethod("GET")
	}
	if string(target) != string(h.Bytes(h.Target)) {
		h.SetTarget(string(target))
	}
	if c, stated := policy.CodingOf(h); stated {
		h.DelID(message.AcceptEncoding)
		h.AddID(message.AcceptEncoding, "Accept-Encoding", c.String())
	}
	for _, id := range []message.Name{message.IfNoneMatch, message.IfModifiedSince, message.IfRange, message.Range} {
		h.DelID(id)
	}
}

// SendHead takes the head of the answer, and decides what happens to it.
func (f *fill) SendHead(h *message.Head, end bool) error {
	if h.Status < 200 {
		if w := f.first; w != nil {
			w.to.OnHead(w, h, false)
		}
		return nil
	}
	l := f.front.zone.on(f.reactor)
	f.status.code = h.Status
	if f.renews && f.endByStored(l, h) {
		if !end { // HTTP/2 may end the stream of a 304 after its head: f is over, and may be used again
			f.fork.Cancel()
		}
		return nil
	}
	a := f.judge(l, h, end)
	if f.why, f.marks = a.Reason, a.Marks; f.why != policy.ReasonNone {
		f.refuse(l)
		f.giveHead(l, h, end)
		return nil
	}
	if end {
		f.finish(stored)
	} else if f.draft() == nil {
		f.publish(filling)
	}
	f.giveHead(l, h, end)
	return nil
}

// judge decides whether the answer with head h is stored, and makes the head of its record.
func (f *fill) judge(l *local, h *message.Head, end bool) (a policy.Answer) {
	now, request := l.zone.now(f.reactor), f.fork.Request()
	a = f.route.judge(request, h, f.asked, now)
	if a.Reason != policy.ReasonNone {
		return a
	}
	tooLarge := policy.Answer{Reason: policy.ReasonTooLarge, Marks: policy.ReasonTooLarge.Marks()}
	switch f.length = h.Length; {
	case end:
		f.length = 0
	case f.length < 0:
		f.length = -1
	}
	if f.length > f.route.most(f.front.zone) {
		return tooLarge
	}
	if z := f.front.zone; z.filling.Load() >= z.fillingMax { // taken by others that waited for their heads, as this did
		return policy.Answer{Reason: policy.ReasonCrowd}
	}
	if l.names, _ = policy.AppendVary(l.names[:0], h); !f.vary(l, now) { // what is stored stays for others
		return policy.Answer{Reason: policy.ReasonVary}
	}
	var ok bool
	if l.tags, ok = f.appendTags(l.tags[:0], h); !ok {
		return policy.Answer{Reason: policy.ReasonTags, Marks: policy.ReasonTags.Marks()}
	}
	if l.record, l.text, ok = appendAnswer(l.record[:0], l.text[:0], l.tags, h, &a); !ok || len(l.record) > bodyMax {
		return tooLarge
	}
	room, large := bodyMax, f.length > f.front.zone.bodies.largest()
	if f.length >= fileMin && !large {
		f.file = f.front.zone.bodies.begin(f.length)
	}
	switch {
	case f.file != nil, large:
		room = 0
	case f.length > bodyMax:
		return policy.Answer{Reason: policy.ReasonCrowd}
	case f.length >= 0:
		room = int(f.length)
	}
	f.keep(f.front.zone, l.record, room, f.stamp, f.stamp)
	record(f.bytes).setBodyLen(int(max(f.length, 0)))
	if f.alone = !shared(&a.Fresh); large && !f.beginDraft() {
		return policy.Answer{Reason: policy.ReasonCrowd}
	}
	return a
}

// vary decides under which key the answer, which varies by l.names, is stored. It reports false where answers to this
// key vary by too many fields.
func (f *fill) vary(l *local, now int64) (ok bool) {
	f.store = f.plain
	if len(l.names) == 0 {
		return true
	}
	z, request, id := f.front.zone, f.fork.Request(), uint64(0)
	if list := l.get(f.plain, now); list.kind() == isList {
		all, ok := policy.UnionVary(nil, list.names(), l.names)
		if !ok {
			return false
		}
		if l.names = append(l.names[:0], all...); bytes.Equal(all, list.names()) {
			id = list.id()
		}
	}
	fresh := id == 0
	if fresh {
		id = z.lists.Add(1)
	}
	f.names = append(f.names, l.names...)
	f.variant = policy.AppendVariant(f.variant[:0], f.names, request)
	f.beFoundBy(id, request)
	if fresh {
		l.text = appendList(l.text[:0], now+listTime, id, f.names)
		record(l.text).setStamps(f.stamp, f.stamp)
		z.set(f.plain, l.text)
		z.disk.write(f.plain, l.text, nil)
	}
	return true
}

// beFoundBy lets requests find f by the values of varying fields in its request, too, before others can know the list
// with that id.
func (f *fill) beFoundBy(id uint64, request *message.Head) {
	e, z := &f.second, f.front.zone
	e.key = appendVariantKey(e.key[:0], f.plain, id, f.names, request)
	if f.store = e.key; bytes.Equal(e.key, f.entry.key) {
		f.store, e.key = f.entry.key, e.key[:0]
		return
	}
	e.hash = z.fills.hash(e.key)
	z.fills.offer(f)
}

// refuse lets all but the first follower go on by themselves, since the answer is not stored, and those that come soon.
func (f *fill) refuse(l *local) {
	if f.marks != policy.Nobody {
		l.text = appendMarker(l.text[:0], l.zone.now(f.reactor)+markerTime, f.marks, f.why)
		record(l.text).setStamps(f.stamp, f.stamp)
		key := f.entry.key
		if len(f.second.key) > 0 {
			key = f.second.key
		}
		f.front.zone.set(key, l.text)
	}
	if f.draft() != nil { // nothing of it is there: others may have its room
		f.file.Release()
		f.file = nil
	}
	f.finish(passed)
}

// giveHead gives the head of the answer to the first follower, as its request wants it.
func (f *fill) giveHead(l *local, h *message.Head, end bool) {
	w := f.first
	if w == nil {
		if f.state.Load() == passed {
			f.fork.Cancel()
		}
		f.exceed()
		return
	}
	proxy.Credit(w.x, &f.fork)
	if f.why != policy.ReasonNone && h.Status == 200 && (h.Length < 0 || h.Length > bodyMax) &&
		w.x.Request.Has(message.Range) {
		f.passOn() // it gets its part, and not a large whole
		return
	}
	s := f.status
	if s.why = cmp.Or(f.why, s.why); f.why == policy.ReasonNone {
		h.DelID(message.Trailer) // none follow: see SendTrailers
		if f.length >= 0 {
			s.more = "; stored"
		}
		length := w.shape(h, f.length, f.asked)
		if h.Length >= 0 {
			h.Length = length
		}
		end = end || length == 0
	}
	end = end || w.x.Request.Verb == message.VerbHead
	l.tell(w.route, h, s)
	f.front.note(w.x, proxy.CacheMiss, -1, f.why)
	w.begun = true
	w.end(end)
	base := h.Base
	w.to.OnHead(w, h, end)
	h.Base = base[:0] // a head that was taken has left its memory
}

// passOn sends the first follower to the backend by itself, by a request that is its own.
func (f *fill) passOn() {
	if w := f.first; w != nil {
		visits.Of(w.x).why = f.why
		w.again()
	}
}

// SendData takes a piece of the body.
func (f *fill) SendData(p []byte, end bool) (int, error) {
	z := f.front.zone
	if f.draft() != nil {
		return f.add(p, end), nil
	}
	if f.state.Load() == filling {
		if why := f.makeRoom(&z.bodies, len(p), f.route.most(z)); why != policy.ReasonNone {
			f.unstore(why)
		}
	}
	w := f.first
	if f.state.Load() == passed {
		if w == nil {
			f.fork.Cancel()
			return len(p), nil
		}
		if int64(w.sent) < f.mark.Load() {
			return 0, nil // it is given the rest of the buffer before
		}
		w.owed += len(p)
		w.end(end)
		w.to.OnData(w, p, end)
		return len(p), nil
	}
	before := f.mark.Load()
	if !f.write(p) {
		f.fork.Cancel()
		f.Reset(session.Cancelled)
		return len(p), nil
	}
	if end {
		f.finish(stored)
	} else {
		f.publish(filling)
	}
	switch {
	case w == nil:
		f.exceed()
	case f.file != nil && w.begun && int64(w.sent) == before && w.owed == 0 && w.until == 0 && len(p) > 0:
		w.sent += len(p) // a copy costs less than the call for a small piece of the file
		w.give(p, end)
	default:
		w.feed()
	}
	return len(p), nil
}

// unstore gives the answer to the first follower alone, which has seen its head, or all that there is.
func (f *fill) unstore(why policy.Reason) {
	f.why, f.marks = why, why.Marks()
	if w := f.first; w != nil {
		w.front.unstored(w.x, f.why) // it was counted as a miss with its head
	}
	f.refuse(f.front.zone.on(f.reactor))
}

// SendTrailers ends the body. RFC 9110 §6.5.1: an answer that is stored has none.
func (f *fill) SendTrailers(h *message.Head) error {
	if f.state.Load() == passed {
		if w := f.first; w != nil {
			w.end(true)
			w.to.OnTrailers(w, h)
		}
		return nil
	}
	_, err := f.SendData(nil, true)
	return err
}

// Congested reports whether the backend has to wait: for the first follower, which alone is given an answer that is not
// stored, or for the fastest one.
func (f *fill) Congested() bool {
	if f.state.Load() == passed {
		w := f.first
		return w != nil && (w.owed > 0 || int64(w.sent) < f.mark.Load())
	}
	if d := f.draft(); d != nil && (f.state.Load() == asked || len(d.came) == draftPiece) {
		return true // for the disk
	}
	return f.waits() && f.followers.Load() > 0
}

// Reset is the end of the answer before its time.
func (f *fill) Reset(session.Code) {
	if f.state.Load() != passed {
		f.finish(cut)
	}
	if w := f.first; w != nil {
		w.fail(session.Truncated, nil)
	}
}

// OnFailed is a failure in place of an answer.
func (f *fill) OnFailed(e *proxy.Error) {
	f.status.code = 0
	if f.renews && e.Status >= 502 && f.giveStale(f.front.zone.on(f.reactor), 0) {
		return
	}
	if w := f.first; w != nil {
		f.failure = e
		proxy.Credit(w.x, &f.fork)
	}
	f.finish(failed)
	if w := f.first; w != nil {
		f.front.note(w.x, proxy.CacheMiss, -1, policy.ReasonNone)
		w.fail(session.Cancelled, e)
	}
}

// finish ends f: it gets no new followers.
func (f *fill) finish(s fillState) {
	z := f.front.zone
	c := &z.counts[f.reactor.Index()]
	if s == stored && f.from != aDisk {
		l, d := z.on(f.reactor), f.draft()
		var r record
		r, l.renewed = f.record(&z.bodies, l.renewed)
		f.subject.tags = r.tags()
		z.generations.know(&f.subject) // before the next line: see knownURLs
		switch {
		case z.generations.changedSince(f.stamp, &f.subject),
			z.generations.judge(r.stamp(), r.confirmed(), &f.subject).dead:
			if c.purged.Add(1); f.first != nil {
				f.front.unstored(f.first.x, policy.ReasonPurged)
			}
		default:
			if z.set(f.store, r) {
				c.stored.Add(1)
			} else {
				c.refused.Add(1)
			}
			switch {
			case d != nil:
				d.disk.Commit()
			case f.from == aBackend:
				z.disk.write(f.store, r, f.file)
			}
		}
	} else if f.from != aDisk {
		c.ended[s].Add(1)
	}
	z.fills.remove(f)
	f.publish(s)
	if n := f.unasked; n != 0 {
		f.unasked = 0
		f.front.detached.Add(-1)
		if n > 0 { // what was charged was an estimate
			f.front.earn(n - f.mark.Load())
		}
	} else if s == stored && f.from == aBackend {
		f.front.earn(f.mark.Load())
	}
	f.release()
}

// publish makes all followers look at f.
func (f *fill) publish(s fillState) {
	f.state.Store(s)
	f.published.Add(1)
	for n := f.lanes.Load(); n != nil; n = n.next {
		n.kick()
	}
}

// release gives a reference to the buffer back.
func (f *fill) release() {
	n := f.refs.Add(-1)
	if invariant.On {
		invariant.That(n >= 0, "a fill is released once too often")
	}
	if n > 0 {
		return
	}
	f.free(f.front.zone)
	// Without a lane this is the reactor of f. An exchange with content keeps its stream, which is first, until the
	// answer is sent.
	if f.lanes.Load() == nil && !f.content {
		f.front.zone.on(f.reactor).keepFill(f)
	}
}

// resume lets the backend send more where it has waited for followers. Safe for any goroutine.
func (f *fill) resume() { f.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { f.fork.Resume() }}) }
