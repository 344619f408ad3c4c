package proxy

import (
	"math"

	"github.com/edge-proxy/edge/session"
)

// Large bodies and tunnels go from one stream to the other inside the kernel where nobody looks at them: see
// session.Splice. That begins behind a piece of which nothing waits, and may end and begin again at any piece.

// spliceDown tries that for the answer's body.
func spliceDown(x *Exchange) {
	l := &x.toDown
	if !l.passable() || x.try.stream == nil || !x.answering {
		return
	}
	limit := int64(math.MaxInt64)
	switch {
	case l.staged && !x.tunnel:
		return
	case l.staged: // the ends of frames have to be seen
		limit = int64(min(x.socket.sent.Left(), math.MaxInt64))
	}
	session.Splice(x.try.stream, x.down, limit)
}

// spliceUp tries that for the request's body.
func spliceUp(x *Exchange) {
	l := &x.toUp
	if !l.passable() || l.staged || l.keep > 0 || x.try.stream == nil || x.own {
		return
	}
	session.Splice(x.down, x.try.stream, math.MaxInt64)
}

// passable reports whether all that came has been passed on, and more will come.
func (l *relay) passable() bool {
	return !l.ended && l.owed == 0 && len(l.held) == 0 && !l.waiting && l.begun()
}

// OnSpliced keeps the account of an answer that went by itself.
func (u *upSide) OnSpliced(_ session.Stream, in, out int) {
	u.toDown.passed += int64(out)
	if u.tunnel && u.socket.asked {
		u.socket.sent.Skip(in)
	}
}

// OnSpliced keeps the account of a request that went by itself.
func (d *downSide) OnSpliced(_ session.Stream, in, out int) {
	d.bodyIn += int64(in)
	d.toUp.passed += int64(out)
}
