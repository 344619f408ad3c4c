package cache

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// follower is an exchange that waits for a fill: the stream from which it has its answer.
// Owned by the reactor of the exchange.
//
//	sent <= fill.mark, unless a range is sent that has not come yet; owed <= sent, unless the fill is passed
//	over => nothing of the exchange is used any more
type follower struct {
	session.NopStream
	front  *front
	route  *Route // of the exchange
	fill   *fill
	lane   *lane // nil: it is the first one
	to     session.Receiver
	x      *proxy.Exchange
	place  list.Node[follower]
	timer  engine.Timer // while it waits for the head
	task   engine.Task
	posted bool // the task is on its way

	sent  int // up to where the body was sent
	until int // up to where it is to be sent, where that is not its end; 0: to its end
	owed  int // bytes that were sent and not released
	begun bool
	over  bool

	conditional bool // see asking
	warm        content.Warmth
}

// findFill returns the fill that the request may follow: no purge has come since that asked, and the request has not
// waited in vain for its head. The mutex of s is held.
func (a *asking) findFill(s *fillShard, hash uint64) *fill {
	e := s.find(hash, a.under)
	for e != nil && (a.outlived(e.fill) || e.fill.isOver(a.now) || a.gaveUp(e.fill)) {
		s.remove(e)
		e = s.find(hash, a.under)
	}
	if e == nil {
		return nil
	}
	return e.fill
}

// outlived reports whether a purge has come since f asked, which the mutex of the table holds there. What tags its
// answer will have is not known before its head: then any purge of a tag may be one of it.
func (a *asking) outlived(f *fill) bool {
	g := &a.l.zone.generations
	if g.changedSince(f.stamp, a.about()) {
		return true
	}
	if f.stamp >= g.ended.Load() {
		return false
	}
	about := a.about()
	if about.tags = nil; f.state.Load() == filling {
		about.tags = record(f.bytes[:f.headLen()]).tags()
	} else if g.kinds[PurgeTag].ended.Load() > f.stamp {
		return true
	}
	v := g.judge(f.stamp, f.stamp, about)
	return v.dead || v.soft > 0
}

// gaveUp reports whether the request has waited too long for the head of the answer to f, or to a later fill.
func (a *asking) gaveUp(f *fill) bool {
	return f.stamp <= visits.Of(a.x).waited && f.state.Load() == asked
}

// isOver reports whether the answer of f, which is on its way and which followers may share, is stale by now. f is in
// the table, and the mutex of its part is held: its bytes are there.
func (f *fill) isOver(now int64) bool {
	if f.state.Load() != filling || f.alone {
		return false
	}
	fresh := record(f.bytes[:f.headLen()]).fresh()
	return fresh.Left(now) <= 0
}

// join makes w, which is over or new, the follower of a fill for a request.
func (w *follower) join(f *front, of *fill, a *asking) {
	*w = follower{front: f, route: a.route, fill: of, to: a.to, x: a.x, conditional: a.conditional}
	of.refs.Add(1)
	of.followers.Add(1)
}

// wait puts w into its lane. The fill counts it already.
func (w *follower) wait() {
	n := w.lane
	n.list.PushBack(&w.place, w)
	w.arm()
	proxy.SetCached(w.x, proxy.Cached{Status: proxy.CacheMiss})
	if w.fill.state.Load() != asked {
		n.more = true
		n.kick()
	}
}

// arm bounds how long w waits for the head.
func (w *follower) arm() {
	r := w.x.Reactor()
	w.timer.Run = w.tooLong
	r.Arm(&w.timer, r.Now()+int64(cmp.Or(w.route.LockTimeout, lockTimeout)))
}

// disarm ends that, where it was begun.
func (w *follower) disarm() {
	if w.timer.Run != nil {
		w.x.Reactor().Disarm(&w.timer)
	}
}

// step acts on what the fill of w, which is not the first follower, has come to.
func (w *follower) step() {
	f := w.fill
	switch s := f.state.Load(); s {
	case passed: // each asks for itself, unless the reason lies in visitors, and this is none
		if f.marks != policy.Visitors || isVisitor(&w.x.Request) {
			visits.Of(w.x).why = policy.ReasonUncacheable
		}
		w.again()
	case failed:
		// What the backend did not process fails for all. Else the request of the first follower may be the reason,
		// or the fill was cancelled when it had no follower, or so it seemed.
		if f.failure == nil || f.failure.Retry != proxy.RetryAlways {
			w.again()
			return
		}
		w.front.note(w.x, proxy.CacheMiss, -1, policy.ReasonNone)
		w.fail(session.Cancelled, f.failure)
	case cut:
		if !w.begun {
			w.again()
			return
		}
		w.fail(session.Truncated, nil)
	case filling, stored:
		if !w.begun {
			if s == filling && (f.length < 0 || f.alone) {
				return // it may become too large to be stored, and is given to the first follower alone
			}
			if f.alone {
				visits.Of(w.x).alone = true
				w.again()
				return
			}
			if !w.begin(s == stored) {
				return
			}
		}
		w.feed()
	}
}

// begin gives the head of the record to w. whole says that the body is here to its end. It reports false where w is
// over.
func (w *follower) begin(whole bool) (ok bool) {
	f, r := w.fill, w.x.Reactor()
	l := f.front.zone.on(r)
	if len(f.names) > 0 {
		l.text = policy.AppendVariant(l.text[:0], f.names, &w.x.Request)
		if string(l.text) != string(f.variant) {
			w.again()
			return false
		}
	}
	h, head, now := &l.head, record(f.bytes[:f.headLen()]), l.zone.now(r)
	fresh := head.fresh()
	if f.stale != policy.ReasonNone && w.lane != nil &&
		w.route.Rules.OnError(&fresh, &w.x.Request, now, f.status.code) == policy.ReasonNone {
		w.again() // its own request forbids a stale answer
		return false
	}
	if f.from == aDisk && w.route.Rules.Reuse(&fresh, &w.x.Request, now) != policy.ReasonFresh {
		w.again()
		return false
	}
	length := f.length
	if whole {
		length = f.mark.Load()
	}
	h.Base = l.base[:0]
	head.writeTo(h)
	age := l.addAge(h, &fresh, now)
	h.Length = w.shape(h, length, fresh.Received)
	s, how, why := f.status, proxy.CacheHit, f.stale
	switch {
	case f.from == aDisk:
		s = status{ttl: int64(fresh.Left(now) / time.Second)}
	case f.stale != policy.ReasonNone:
		s, how = status{ttl: int64(fresh.Left(now) / time.Second), why: f.stale}, proxy.CacheStale
	case w.lane != nil:
		s.more = "; collapsed"
	default:
		how, why = proxy.CacheRevalidated, s.why
	}
	l.tell(w.route, h, s)
	w.front.note(w.x, how, age, why)
	l.base = h.Base // OnHead takes the head, and not its memory
	end := h.Length == 0 || w.x.Request.Verb == message.VerbHead
	w.begun = true
	w.disarm()
	w.end(end)
	w.to.OnHead(w, h, end)
	return !w.over
}

// shape makes h, the head of an answer that w is about to be given, what its request wants, and returns the length of
// the body.
func (w *follower) shape(h *message.Head, length, received int64) int64 {
	if !w.conditional {
		return length
	}
	at, n := shape(&w.x.Request, h, length, received)
	if h.Status == 206 {
		w.sent, w.until = int(at), int(at+n)
	}
	return n
}

// feed gives w what there is of the body and was not given to it, once all before was released.
func (w *follower) feed() {
	f := w.fill
	if w.over || !w.begun || w.owed > 0 || w.posted { // goOn comes back
		return
	}
	whole := f.state.Load() == stored // before mark is read, which does not grow after that
	mark := int(f.mark.Load())
	if w.until > 0 && mark >= w.until {
		mark, whole = w.until, true
	}
	if mark <= w.sent && !whole {
		return
	}
	var p []byte
	if f.file == nil {
		p = f.bytes[f.headLen():][w.sent:mark:mark]
		w.sent = mark
	} else {
		l, r := f.front.zone.on(w.x.Reactor()), w.x.Reactor()
		end, ok := w.warm.UpTo(f.file, w.sent, mark)
		if ok && end == w.sent && w.sent < mark {
			w.task.Run = w.goOn
			if w.posted = l.source.Load(r, f.file, w.sent, &w.warm, &w.task); w.posted {
				return
			}
			ok = false
		}
		if ok {
			p, ok = l.source.Next(w.to, f.file, &w.sent, end)
		}
		if !ok {
			w.fail(session.Truncated, nil)
			return
		}
		if len(p) == 0 && w.sent == end && end < mark {
			w.Release(0) // no call says that the rest may follow
		}
		whole = whole && w.sent == mark
	}
	if invariant.On {
		w.check(mark)
	}
	w.give(p, whole)
}

// give gives w the bytes up to w.sent, and maybe the end.
func (w *follower) give(p []byte, end bool) {
	f := w.fill
	w.owed = len(p)
	if f.took(w.sent - w.owed) {
		f.resume()
	}
	if len(p) == 0 && !end {
		return
	}
	f.refs.Add(1) // for p: the exchange may end before it is through with it
	w.end(end)
	w.to.OnData(w, p, end)
	f.release()
}

// check panics when an invariant of follower, or of its fill, does not hold.
func (w *follower) check(mark int) {
	invariant.That(w.sent <= mark && w.owed <= w.sent, "%d of %d bytes were sent, %d are owed", w.sent, mark, w.owed)
	invariant.That(!w.over && w.fill.refs.Load() > 0, "a follower that is over is fed")
}

// end ends w where that is so: nothing of its exchange is used any more.
func (w *follower) end(over bool) {
	if !over || w.over {
		return
	}
	w.over = true
	f := w.fill
	if w.lane == nil {
		f.first = nil
	} else {
		w.place.Remove()
	}
	w.disarm()
	if f.followers.Add(-1) == 0 {
		switch {
		case w.lane == nil || w.lane.reactor == f.reactor:
			f.left(f.reactor)
		default:
			f.reactor.Post(&engine.Task{Run: f.left})
		}
	}
	f.release()
}

// left is told, on the reactor of f, that maybe it has no follower any more.
func (f *fill) left(*engine.Reactor) {
	s := f.state.Load()
	if f.followers.Load() > 0 || f.unasked != 0 {
		return
	}
	switch {
	case s == passed:
		f.fork.Cancel()
	case s == asked || s == filling:
		if n, worth := f.rest(); !f.route.Abandon && worth && f.front.detach(n) {
			if f.unasked = max(f.mark.Load()+n, 1); f.paced.Load() {
				f.resume()
			}
			return
		}
		f.giveUp()
	}
}

// exceed ends f where it has no follower and its body is longer than was charged: the length was not known then.
func (f *fill) exceed() {
	if f.unasked > 0 && max(f.length, f.mark.Load()) > f.unasked && f.followers.Load() == 0 {
		f.giveUp()
	}
}

// giveUp ends f, unless an exchange follows it.
func (f *fill) giveUp() {
	if f.front.zone.fills.removeLonely(f) {
		f.fork.Cancel()
		f.finish(failed)
	}
}

// Congested makes the exchange keep the content of its request: it may have to go to the backend by itself.
func (w *follower) Congested() bool { return true }

// Release notes that n bytes are no longer owed.
func (w *follower) Release(n int) {
	if w.owed -= n; w.owed > 0 || w.over || w.posted {
		return
	}
	w.posted = true
	w.task.Run = w.goOn
	w.x.Reactor().Defer(&w.task)
}

// goOn gives w more, or lets the backend send more.
func (w *follower) goOn(*engine.Reactor) {
	if w.posted = false; w.over {
		return
	}
	if w.fill.took(w.sent) {
		w.fill.resume()
	}
	w.feed()
	if f := w.fill; !w.over && w.owed == 0 && w.lane == nil && f.state.Load() == passed {
		f.fork.Resume()
	}
}

// Reset is the end of the exchange.
func (w *follower) Reset(session.Code) {
	if f := w.fill; !w.over && w.lane == nil && f.state.Load() == asked {
		proxy.Credit(w.x, &f.fork) // the backend has the request, and has been told of the exchange
	}
	w.end(true)
}

// again makes the exchange ask the cache once more.
func (w *follower) again() { w.fail(session.Cancelled, proxy.ErrAgain) }

// fail ends the exchange.
func (w *follower) fail(code session.Code, cause error) {
	if !w.over {
		w.end(true)
		w.to.OnReset(w, code, cause)
	}
}

// tooLong makes the exchange ask the cache once more, since the answer to another one does not come: the first exchange
// that does so asks the backend, and the others follow it.
func (w *follower) tooLong(*engine.Reactor) {
	if !w.over && !w.begun {
		visits.Of(w.x).waited = w.fill.stamp
		w.again()
	}
}

// lane has the followers of a fill that are on one reactor, beside the first follower of the fill.
//
//	owner     writes bytes, then mark, state ─► published ─► kick: armed? ─► its task is posted, once
//	reactor   task: looks at each follower ─► armed ─► published once more, and from the front where it has changed
//
// Made under the mutex of the table, where the fill is found; owned by its reactor, but for armed.
type lane struct {
	fill    *fill
	reactor *engine.Reactor
	next    *lane // of the fill; immutable
	armed   atomic.Bool
	task    engine.Task

	list list.List[follower]
	left int    // followers that are to be looked at in this round
	seen uint32 // fill.published at its beginning
	more bool   // a follower came that may have to be looked at
}

// turnMax bounds how many followers are looked at in one turn of a reactor.
const turnMax = 256

// laneOf returns the lane of f on r. The mutex of the table is held.
func (f *fill) laneOf(r *engine.Reactor) *lane {
	first := f.lanes.Load()
	for n := first; n != nil; n = n.next {
		if n.reactor == r {
			return n
		}
	}
	n := &lane{fill: f, reactor: r, next: first}
	n.task.Run = n.run
	n.armed.Store(true)
	f.lanes.Store(n)
	return n
}

// kick makes the reactor of n look at its followers. Safe for any goroutine.
func (n *lane) kick() {
	if n.armed.CompareAndSwap(true, false) {
		n.reactor.Post(&n.task)
	}
}

// run looks at the followers of n. Those that stay go to the end of the list, so that each has its turn whatever the
// others do.
func (n *lane) run(r *engine.Reactor) {
	if n.left == 0 {
		n.seen, n.left, n.more = n.fill.published.Load(), n.list.Len(), false
	}
	for i := 0; i < turnMax && n.left > 0; i++ {
		w := n.list.First()
		if w == nil {
			n.left = 0
			break
		}
		n.left--
		w.place.Remove()
		n.list.PushBack(&w.place, w)
		w.step()
	}
	if n.left > 0 {
		r.Post(&n.task)
		return
	}
	n.armed.Store(true)
	if n.more || n.fill.published.Load() != n.seen {
		n.kick()
	}
}
