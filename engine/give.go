package engine

import (
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Progress is what a process has to know of a connection that it takes over between two messages.
type Progress struct {
	Requests uint32        // so far
	Idle     time.Duration // since the last answer was sent, or since the connection opened
}

// Releaser is a Handler whose connection may go on in another process.
type Releaser interface {
	// OnRelease reports whether c may go now, with no more known of it than p. With true it is the last event: OnClose
	// does not come. Nothing is queued then and no byte is kept. Runs on c's reactor.
	OnRelease(c *Conn) (p Progress, ok bool)
}

// Given is a connection on its way to another process: a descriptor that no kernel watches.
// Owned by its holder, which sends it away and closes it, or passes it to Listener.Receive.
type Given struct {
	FD       poller.FD
	Listener *Listener // that accepted it
	Progress Progress
}

// GiveMax is the most connections of one batch: as many descriptors as one message takes (SCM_MAX_FD). It also bounds
// what one tick of a reactor takes out of the kernel's set.
const GiveMax = 253

// Bounds of a walk of a connGiver.
const (
	givePerTick = 2048                   // slots
	givePause   = 100 * time.Millisecond // between two walks
)

// Giving is the time in which an engine gives away the connections of suspended listeners.
// Safe for any goroutine but a reactor's.
type Giving struct {
	engine *Engine
	take   func([]Given)
	credit atomic.Int64 // connections that may go now; below 0 for a moment
}

// connGiver walks over the connections of one reactor and gives those that may go. A connection that is busy goes at
// the first flush after which it may.
// Owned by its reactor.
//
//	walk ─► 2048 slots or 253 connections ─► walk, in the next tick ─► … ─► timer, or More ─► walk
//	             └──────────────► batch ─► take        flush ─► batch, at the end of the tick ─► take
//
//	0 <= left <= slots, which never become fewer
type connGiver struct {
	giving  *Giving
	reactor *Reactor
	slot    int  // the slot that the walk looked at last
	left    int  // slots that are left of this walk
	walking bool // walk was posted and has not begun
	sending bool // send was deferred and has not begun
	batch   []Given
	walk    Task
	send    Task
	pause   Timer
}

// Give begins to give connections away, of handlers that are Releasers and without a Layer: now where they are idle,
// else each at its next message boundary. take is called on reactors with at most GiveMax of them, which it owns, and
// must not wait. At most credit connections go; More allows more. It ends with End or Resume. One Giving at a time.
// Safe for any goroutine but a reactor's.
func (e *Engine) Give(credit int, take func([]Given)) *Giving {
	g := &Giving{engine: e, take: take}
	g.credit.Store(int64(credit))
	e.giving.Store(g)
	e.runOnAll(func(r *Reactor) error { //nolint:errcheck // ErrStopped: there are no connections
		v := &connGiver{giving: g, reactor: r}
		v.walk.Run, v.send.Run, v.pause.Run = v.runWalk, v.runSend, v.restartWalk
		r.giver = v
		v.continueWalk()
		return nil
	})
	return g
}

// More allows n connections more to go.
func (g *Giving) More(n int) {
	if before := g.credit.Add(int64(n)) - int64(n); before > 0 {
		return // no goroutine waits for credit
	}
	for _, r := range g.engine.reactors {
		r.Post(&Task{Run: func(r *Reactor) {
			if v := r.giver; v != nil && v.giving == g {
				v.continueWalk()
			}
		}})
	}
}

// End lets the other connections stay. When it returns take is not called any more.
func (g *Giving) End() {
	g.engine.giving.CompareAndSwap(g, nil)
	g.engine.runOnAll(func(r *Reactor) error { //nolint:errcheck // ErrStopped: there are no connections
		if v := r.giver; v != nil && v.giving == g {
			v.runSend(r)
			r.Disarm(&v.pause)
			r.giver = nil
		}
		return nil
	})
}

// Gives reports whether c will go to another process at its next message boundary, so that its answer need not say
// that it closes although the engine drains.
func Gives(c *Conn) bool {
	return c.layer == nil && c.flags&told == 0 && c.reactor.engine.giving.Load() != nil && c.listener != nil &&
		c.listener.paused.Load()
}

// postWalk walks on, in the next tick.
func (v *connGiver) postWalk() {
	if !v.walking {
		v.walking = true
		v.reactor.Post(&v.walk)
	}
}

// runWalk is the task of a walk.
func (v *connGiver) runWalk(r *Reactor) {
	v.walking = false
	if r.giver != v {
		return
	}
	for n := 0; n < givePerTick && v.left > 0 && len(v.batch) < GiveMax && v.giving.credit.Load() > 0; n++ {
		v.left--
		if v.slot++; v.slot >= len(r.slots) {
			v.slot = 0
		}
		c := r.slots[v.slot].conn
		if c == nil || !Gives(c) {
			continue
		}
		if _, ok := c.handler.(Releaser); ok {
			c.flags |= givable
			v.release(c)
		}
	}
	v.runSend(r)
	if v.left > 0 && v.giving.credit.Load() > 0 {
		v.postWalk()
		return
	}
	r.Arm(&v.pause, r.now+int64(givePause))
}

// continueWalk walks on, or again where the last walk has ended.
func (v *connGiver) continueWalk() {
	if v.left == 0 {
		v.left = len(v.reactor.slots)
	}
	v.postWalk()
}

// restartWalk begins a walk, for connections that could not go and are not flushed any more, and for those that another
// reactor has passed on meanwhile.
func (v *connGiver) restartWalk(r *Reactor) {
	v.left = len(r.slots)
	v.postWalk()
}

// runSend is the task that passes a batch on.
func (v *connGiver) runSend(*Reactor) {
	v.sending = false
	if len(v.batch) > 0 {
		batch := v.batch
		v.batch = nil
		v.giving.take(batch)
	}
}

// onFlushed gives c away, whose queue is empty, if this is a message boundary. v is nil once Giving has ended.
func (v *connGiver) onFlushed(c *Conn) {
	if v == nil {
		c.flags &^= givable
		return
	}
	if len(v.batch) < GiveMax {
		v.release(c)
	}
	if len(v.batch) > 0 && !v.sending {
		v.sending = true
		c.reactor.Defer(&v.send)
	}
}

// release takes c off its reactor if it may go. Afterwards c is closed for all its methods. Unread bytes in the kernel
// travel with the socket.
func (v *connGiver) release(c *Conn) {
	const busy = openDue | timedOut | eof | finDue | finSent
	if c.state != open || c.queued > 0 || c.in != nil || c.layer != nil || c.flags&busy != 0 ||
		c.can&poller.Broken != 0 || c.extra != nil && (c.extra.spliceIn != nil || c.extra.spliceOut != nil) {
		return
	}
	if v.giving.credit.Add(-1) < 0 {
		v.giving.credit.Add(1)
		return
	}
	r := c.reactor
	h, ok := c.handler.(Releaser)
	var p Progress
	if ok {
		r.current = c // it is closed if h panics
		p, ok = h.OnRelease(c)
		r.current = nil
	}
	if !ok {
		v.giving.credit.Add(1)
		return
	}
	v.batch = append(v.batch, Given{FD: c.fd, Listener: c.listener, Progress: p})
	r.kernel.Del(c.fd)
	c.fd = poller.NoFD
	c.handler = NopHandler{}
	c.drop(nil)
	r.stats.Released++
}
