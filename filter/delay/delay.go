package delay

import (
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy"
)

// Line has the exchanges that one filter holds back, so many at most. Safe for the reactors of a server.
type Line struct {
	most int64
	held atomic.Int64
}

// NewLine makes a Line with so many places.
func NewLine(most int) *Line { return &Line{most: int64(most)} }

// place is one exchange that is held back. Owned by its reactor.
type place struct {
	line  *Line
	timer engine.Timer
	ref   proxy.Ref
	then  proxy.Verdict
	left  bool // its time is over, or the exchange is
}

// taken is the place of an exchange. It has one at a time: nobody parks twice at once.
var taken = proxy.NewLocal[*place]()

// Hold is for a filter that holds x back: what it returns is its verdict. After d, x goes on with then. It reports
// false, and x is not held, where every place is taken.
func (l *Line) Hold(x *proxy.Exchange, d time.Duration, then proxy.Verdict) (v proxy.Verdict, ok bool) {
	if l.held.Add(1) > l.most {
		l.held.Add(-1)
		return proxy.Next, false
	}
	p := &place{line: l, ref: x.Ref(), then: then}
	p.timer.Run = p.over
	*taken.Of(x) = p
	r := x.Reactor()
	r.Arm(&p.timer, r.Now()+int64(d))
	return proxy.Park, true
}

func (p *place) over(*engine.Reactor) {
	p.left = true
	p.line.held.Add(-1)
	p.ref.Resume(p.then)
}

// Leave gives the place of x back where it ends before its time: its client has left, or the server stops. It is for
// Filter.Log.
func (l *Line) Leave(x *proxy.Exchange) {
	p := *taken.Of(x)
	if p == nil || p.line != l || p.left {
		return
	}
	p.left = true
	x.Reactor().Disarm(&p.timer)
	l.held.Add(-1)
}

// Held returns how many exchanges are held back now. Safe for any goroutine.
func (l *Line) Held() int { return int(l.held.Load()) }
