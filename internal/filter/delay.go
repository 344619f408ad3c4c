package filter

import (
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy"
)

// DelayLine has the exchanges that one filter holds back, so many at most. Safe for the reactors of a server.
//
// It is no queue: each exchange has a time of its own, and no exchange waits for another one.
//
//	Hold ─► parked, a timer of its reactor runs ─► the time is over: the exchange goes on with its verdict
//	                     └────────────────────────► the client leaves, the exchange ends: Leave, the timer is stopped
//
// A DelayLine belongs to a filter. Hold and Leave run on the reactor that owns the exchange: Hold in a phase that may
// park, Leave in the phase Log. There is no goroutine. Exchanges that are held when a server drains go on when their
// time is over, as any request in progress, and are ended with the others at the end of the grace.
//
// A DelayLine has a number of places. A full DelayLine refuses: its caller says what becomes of the request. A held
// exchange costs two allocations, a request that is not held none.
type DelayLine struct {
	most int64
	held atomic.Int64
}

// NewDelayLine makes a DelayLine with so many places.
func NewDelayLine(most int) *DelayLine { return &DelayLine{most: int64(most)} }

// delayPlace is one exchange that is held back. Owned by its reactor.
type delayPlace struct {
	line  *DelayLine
	timer engine.Timer
	ref   proxy.Ref
	then  proxy.Verdict
	left  bool // its time is over, or the exchange is
}

// delayPlaces is the place of an exchange. It has one at a time: no exchange parks twice at once.
var delayPlaces = proxy.NewLocal[*delayPlace]()

// Hold is for a filter that holds x back: what it returns is its verdict. After d, x goes on with then. It reports
// false, and x is not held, where every place is taken.
func (l *DelayLine) Hold(x *proxy.Exchange, d time.Duration, then proxy.Verdict) (v proxy.Verdict, ok bool) {
	if l.held.Add(1) > l.most {
		l.held.Add(-1)
		return proxy.Next, false
	}
	p := &delayPlace{line: l, ref: x.Ref(), then: then}
	p.timer.Run = p.over
	*delayPlaces.Of(x) = p
	r := x.Reactor()
	r.Arm(&p.timer, r.Now()+int64(d))
	return proxy.Park, true
}

func (p *delayPlace) over(*engine.Reactor) {
	p.left = true
	p.line.held.Add(-1)
	p.ref.Resume(p.then)
}

// Leave gives the place of x back where it ends before its time: its client has left, or the server stops. It is for
// Filter.Log.
func (l *DelayLine) Leave(x *proxy.Exchange) {
	p := *delayPlaces.Of(x)
	if p == nil || p.line != l || p.left {
		return
	}
	p.left = true
	x.Reactor().Disarm(&p.timer)
	l.held.Add(-1)
}
