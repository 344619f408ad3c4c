package proxy

import (
	"bytes"
	"log/slog"
	"runtime/debug"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/proxy/recent"
	"github.com/edge-proxy/edge/session"
)

// cut ends an answer that has begun and cannot be completed. What a worker owns ends with its Done.
func (x *Exchange) cut(f *Error) {
	if x.working {
		x.lost = f
		return
	}
	x.local.stats.Cut++
	x.fault = f
	x.dropUp()
	if !x.downGone && !x.call.end(x, f) {
		x.downGone = true
		x.down.Reset(session.Cancelled)
	}
	x.finish()
}

// answerSent ends the exchange when the answer has been sent whole; a tunnel ends when both sides have.
func (x *Exchange) answerSent() {
	if !x.toDown.endSent || x.tunnel && !x.toUp.endSent {
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
	if x.retrying {
		x.try.up.limits.EndRetry()
	}
	x.downGone = true
	if m := x.try.backend; m != nil && m.Trouble() != backend.NoTrouble && x.fault == nil && x.try.firstByte > 0 {
		x.try.praise(x)
	}
	if x.total != nil {
		x.local.reactor.Disarm(x.total)
	}
	if x.status > 0 {
		x.local.stats.Answered[x.status/100%6]++
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
	x.local.recycle(x)
}

// requestSent looks whether the backend has the whole request.
func (x *Exchange) requestSent() {
	if x.toUp.endSent {
		x.requestWhole()
	}
}

// requestWhole looks whether the backend is through with both messages.
func (x *Exchange) requestWhole() {
	switch {
	case x.toDown.ended:
		if x.local.rings != nil && x.try.whole == 0 {
			x.try.whole = recent.Bounded(x.local.reactor.Now() - x.started)
		}
		x.try.drop()
		x.try.exit(x)
	case x.try.sent == 0:
		x.try.sent = x.local.reactor.Now()
	}
}

// discardBody reads the rest of the request's body and discards it.
func discardBody(x *Exchange) {
	x.own = true
	if n := x.toUp.owed; n > 0 {
		x.toUp.owed = 0
		x.down.Release(n)
	}
}

// dropUp cancels the request in progress at the destination. The backend counts it no longer.
func (x *Exchange) dropUp() {
	x.tunnel = x.tunnel && x.answering
	if x.waiter.Waiting() {
		x.waited += x.local.reactor.Now() - x.waiter.Since()
		x.waiter.Cancel()
	}
	if x.place != nil && x.place.Waiting() {
		x.waited += x.local.reactor.Now() - x.place.Since()
		x.place.Cancel()
	}
	if x.aside != 0 {
		stopAside(x)
	}
	if s := x.try.stream; s != nil {
		x.try.noteConnect(x)
		x.try.drop()
		s.Reset(session.Cancelled)
	}
	x.try.exit(x)
}

// aside is what goes on beside the attempt of an exchange, or in its place: a set of bits.
type aside uint8

const (
	pausing aside = 1 << iota // Exchange.clock runs until the next attempt
	timed                     // Exchange.clock runs until the attempt has taken too long
	overdue                   // beside timed: it had taken too long before, and had no connection
	hedging                   // Exchange.hedge is not at rest
)

// stopAside ends what goes on beside the attempt.
func stopAside(x *Exchange) {
	x.stopClock()
	if x.aside&hedging != 0 {
		x.hedge.cancel()
	}
	x.aside = 0
}

// rescue ends x when code of the proxy's own panics where there is no connection that the reactor could close for it:
// inside a task, or after the end of the backend's. To be deferred.
func (x *Exchange) rescue() {
	p := recover()
	if p == nil {
		return
	}
	caught(x, p, "")
	x.parked = false
	x.cut(Internal)
}

// caught counts and logs a panic of the filter or function that by names. In a checked build one with a string may be a
// violated invariant, and is raised again.
func caught(x *Exchange, p any, by string) {
	if _, ok := p.(string); ok && invariant.On {
		panic(p)
	}
	logPanic(x, p, by)
	x.local.stats.Panics++
}

// logPanic logs what panicked, and for which request. By the owner of x.
func logPanic(x *Exchange, p any, by string) {
	h := &x.Request
	target, _, _ := bytes.Cut(h.Bytes(x.target), []byte{'?'})
	slog.Error("panic while a request was served", "filter", by, "panic", p, "request", x.ID(),
		"method", bounded(h.MethodBytes()), "host", bounded(h.Bytes(x.authority)), "path", bounded(target),
		"stack", string(debug.Stack()))
}

// bounded returns as much of what a client said as the log repeats.
func bounded(p []byte) string { return string(p[:min(len(p), quotedMax)]) }
