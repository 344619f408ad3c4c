package proxy

import (
	"bytes"
	"cmp"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// cut ends an answer that has begun and cannot be completed. What a worker owns ends with its Done.
func (x *Exchange) cut(f *Error) {
	if x.working {
		x.lost = f
		return
	}
	if x.fork == nil {
		x.local.stats.Cut++
	}
	x.fault = f
	x.local.unlend(x) // of a filter that ends a stored answer without a word
	x.dropUp()
	if !x.downGone && !x.call.end(x, f) {
		x.downGone = true
		x.down.Reset(session.Cancelled)
	}
	x.finish()
}

// answerSent ends the exchange when the answer has been sent whole; a tunnel ends when both sides have.
func (x *Exchange) answerSent() {
	if !x.toDown.EndSent || x.tunnel && !x.up.Body.EndSent {
		return
	}
	if x.tunnel && x.own {
		x.downGone = true
		x.down.Reset(session.Cancelled)
	}
	x.finish()
}

// finish writes the log record and frees x. The client's stream may serve the next request already.
func (x *Exchange) finish() {
	x.dropUp()
	if x.used&bitOf(kinshipOf.slot) != 0 && x.fork == nil { // a fork has a copy
		kinshipOf.Of(x).first.endAll()
	}
	x.up.LeaveRetries()
	x.downGone = true
	m, recovered := x.up.Backend, x.fault == nil && x.up.FirstByte > 0 && x.up.To != nil
	if m != nil && m.Trouble() != backend.NoTrouble && recovered {
		x.up.RecordRecovery()
	}
	if x.total != nil {
		x.local.reactor.Disarm(x.total)
	}
	if x.toDown.Encoded {
		encodingOf.Of(x).stop()
	}
	if f := x.fork; f != nil {
		f.x = nil
		if x.listener.Meter != nil {
			x.local.countAttempts(&x.up, x.local.reactor.Now())
		}
		x.local.recycle(x)
		return
	}
	if x.status > 0 {
		x.local.stats.Answered[x.status/100%6]++
	}
	read := x.used&bitOf(bodyRead.slot) != 0
	if read && bodyRead.Of(x).Missed {
		x.LogField("body_cut", "true")
	}
	if x.snapshot != nil {
		if x.listener.Meter != nil {
			x.local.count(x)
		}
		x.local.logExchange(x)
		if x.local.rings != nil {
			x.local.remember(x)
		}
	}
	if read && bodyRead.Of(x).Missed { // by a text of the log, perhaps
		x.local.stats.BodiesCut++
	}
	x.local.recycle(x)
}

// requestSent looks whether the backend has the whole request.
func (x *Exchange) requestSent() {
	if x.up.Body.EndSent {
		x.requestWhole()
	}
}

// requestWhole looks whether the backend is through with both messages.
func (x *Exchange) requestWhole() {
	switch {
	case x.toDown.Ended:
		if x.local.rings != nil && x.up.Whole == 0 {
			x.up.Whole = recent.Bounded(x.local.reactor.Now() - x.started)
		}
		x.up.Through()
	default:
		x.up.Sent()
	}
}

// discardBody reads the rest of the request's body and discards it.
func discardBody(x *Exchange) {
	x.own = true
	if n := x.up.Body.Owed; n > 0 {
		x.up.Body.Owed = 0
		x.down.Release(n)
	}
}

// dropUp cancels the request in progress at the destination. The backend counts it no longer.
func (x *Exchange) dropUp() {
	x.tunnel = x.tunnel && x.answering
	x.up.Cancel()
}

// rescue ends x when code of the proxy's own panics where there is no connection that the reactor could close for it:
// inside a task, or after the end of the backend's. To be deferred.
func (x *Exchange) rescue() {
	if p := recover(); p != nil {
		x.rescued(p)
	}
}

// rescued ends x after the panic p.
func (x *Exchange) rescued(p any) {
	x.caught(&x.Request, p, "")
	x.parked = false
	x.cut(Internal)
}

// caught counts and logs a panic of the filter or function that by names, for the request h. In a checked build one
// with a string may be a violated invariant, and is raised again.
func (k *record) caught(h *message.Head, p any, by string) {
	if _, ok := p.(string); ok && invariant.On {
		panic(p)
	}
	k.logPanic(h, p, by)
	k.local.stats.Panics++
}

// logPanic logs what panicked, and for which request. By the owner of the exchange.
func (k *record) logPanic(h *message.Head, p any, by string) {
	target, _, _ := bytes.Cut(h.Bytes(k.target), []byte{'?'})
	slog.Error("panic while a request was served", "filter", by, "panic", p, "request", k.ID(),
		"method", bounded(h.MethodBytes()), "host", bounded(h.Bytes(k.authority)), "path", bounded(target),
		"stack", string(debug.Stack()))
}

// quotedMax bounds how much of a client's words the log repeats.
const quotedMax = 256

func bounded(p []byte) string { return string(p[:min(len(p), quotedMax)]) }

// end ends an answer that has begun and cannot be completed by saying why, where there is room for that: a reset says
// less. It reports whether it did.
func (c *call) end(x *Exchange, f *Error) bool {
	l := &x.toDown
	if !c.answered || !x.answering || l.Encoded || l.EndSent || len(l.Held) > 0 || l.Waiting || x.down.Congested() {
		return false
	}
	var h message.Head
	c.addStatus(&h, f, f.Status, f.Text)
	if c.form == grpc.Native {
		return x.down.SendTrailers(&h) == nil
	}
	last := c.encode(x.local, nil, &h)
	n, err := x.down.SendData(last, true)
	return err == nil && n == len(last) // no sender is left for the rest
}

// forkMargin is how much sooner a fork ends than the exchange that it was made of, so that its failure can be acted on.
const forkMargin = 20 * time.Millisecond

// armTotal bounds the time of the exchange: by its route, and by the client of a call.
func armTotal(x *Exchange) {
	limit := cmp.Or(x.timeouts.Total, x.route.Timeout)
	if d, ok := x.lead().to.(*toUpstream); ok && x.route == noRoute {
		limit = cmp.Or(limit, d.total)
	}
	if x.call.form != grpc.None {
		if d := grpc.Timeout(&x.Request); d > 0 && (limit == 0 || d < limit) {
			limit, x.call.deadline = d, x.started+int64(d)
		}
	}
	if limit == 0 {
		return
	}
	if x.total == nil {
		x.total = &engine.Timer{Run: func(*engine.Reactor) { expire(x) }}
	}
	if x.fork != nil {
		limit -= min(limit/16, forkMargin)
	}
	x.local.reactor.Arm(x.total, x.started+int64(limit))
}

// expire ends an exchange that takes too long.
func expire(x *Exchange) {
	defer x.rescue()
	x.local.stats.Expired++
	f := totalTimeout
	if x.call.deadline > 0 {
		f = deadlinePassed
	}
	switch {
	case x.working: // its Done ends it
		x.lost = f
		x.ctx.cancel()
	case x.answering:
		x.cut(f)
	default:
		x.fail(f)
	}
}
