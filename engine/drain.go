package engine

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// How the connections that a drain has left are ended.
const (
	closeShare    = 3 // the last third of grace is for it
	tailShare     = 8 // its last eighth is for the peers to take what is sent last
	closesPerTick = 64
)

// Parter is an Idler that ends its connection itself in a drain. Connections of other Idlers are closed.
type Parter interface {
	Idler
	// OnPart ends c, which is idle. Its peer may be about to send: see Conn.Close. Runs on c's reactor.
	OnPart(c *Conn)
}

// Drainer is a Handler that is told when the end of a drain is near.
type Drainer interface {
	// OnDrain says that c is cut after left if it is open then. It may come again. Runs on c's reactor.
	OnDrain(c *Conn, left time.Duration)
}

// DrainBeginner is a Handler that tells its peer at once that a drain has begun.
type DrainBeginner interface {
	// OnDrainBegin says that Draining has become true. Runs on c's reactor.
	OnDrainBegin(c *Conn)
}

// Draining reports whether Drain was called. From then on an answer has to say that its connection closes.
func (e *Engine) Draining() bool { return e.draining.Load() }

// Drain closes the listeners, as Close does and in half of grace at most; at once where no client is connected, but by
// a Port, or has begun to connect. Then it waits until they and all accepted connections are closed, at most for
// grace, and reports whether none is left. Handlers see Draining and close their connections after the present
// message. What is still open in the last third of grace, each connection at a random moment of its own, is ended if
// it is idle, and told the time that is left if it is not. Stop closes the connections that are open after that. Safe
// for any goroutine but a reactor's.
func (e *Engine) Drain(grace time.Duration) bool { return e.drain(grace, false) }

// DrainSuspended is Drain after Suspend. It does nothing and reports false where Resume came first, however close.
func (e *Engine) DrainSuspended(grace time.Duration) bool { return e.drain(grace, true) }

func (e *Engine) drain(grace time.Duration, suspended bool) bool {
	e.mu.Lock() // so that a Resume comes before all of this or after it
	if suspended && !e.suspended {
		e.mu.Unlock()
		return false
	}
	e.draining.Store(true)
	// Those that are suspended are another process's by now.
	listeners := slices.DeleteFunc(slices.Clone(e.listeners), func(l *Listener) bool { return l.paused.Load() })
	e.mu.Unlock()
	end := time.Now().Add(grace)
	busy := func(l *Listener) bool { return l.newPortHandler == nil && l.Conns() > 0 }
	idle := !slices.ContainsFunc(listeners, busy) && e.stopConnects(listeners)
	for _, l := range listeners {
		l.close(min(unlistenTime, grace/2), idle)
	}
	if e.runOnEach((*Reactor).beginDrain) && e.awaitDrained(listeners, end.Add(-grace/closeShare)) {
		return true
	}
	closing := func(r *Reactor) { r.beginClosing(time.Until(end)) }
	return e.Draining() && e.runOnEach(closing) && e.awaitDrained(listeners, end)
}

// awaitDrained waits until no listener and no accepted connection is left, until the time is up, or until Resume. It
// reports whether none is left. A connection is counted before its listener has closed.
func (e *Engine) awaitDrained(listeners []*Listener, until time.Time) bool {
	open := func() bool {
		return slices.ContainsFunc(listeners, (*Listener).isInUse) || e.Conns() > 0
	}
	for pause := time.Millisecond; open(); pause = min(2*pause, 50*time.Millisecond) {
		left := time.Until(until)
		if left <= 0 || !e.Draining() {
			return false
		}
		time.Sleep(min(pause, left))
	}
	return true
}

// beginDrain tells each DrainBeginner.
func (r *Reactor) beginDrain() {
	for i := range r.slots {
		c := r.slots[i].conn
		if c == nil || c.listener == nil {
			continue
		}
		if h, ok := c.handler.(DrainBeginner); ok {
			h.OnDrainBegin(c)
		}
	}
}

// drainCloser ends the connections that a drain has left. What is idle by then has been so for most of the drain, so no
// moment is better than another: docs/design/adr/0017. Spread out, their clients do not all come back at once.
// Owned by its reactor.
//
//	closeTimes is sorted by at, the last one first
type drainCloser struct {
	timer      Timer
	closeTimes []closeTime
	end        int64
}

// closeTime is when one connection is ended.
type closeTime struct {
	at  int64
	ref Ref
}

// beginClosing draws a time within left for each accepted connection, and tells each Drainer.
func (r *Reactor) beginClosing(left time.Duration) {
	left = max(left, tailShare)
	p := &drainCloser{end: r.now + int64(left)}
	p.timer.Run = p.closeDue
	for i := range r.slots {
		c := r.slots[i].conn
		if c == nil || c.listener == nil {
			continue
		}
		p.closeTimes = append(p.closeTimes, closeTime{r.now + rand.Int64N(int64(left-left/tailShare)), c.Ref()})
		if h, ok := c.handler.(Drainer); ok {
			h.OnDrain(c, left)
		}
	}
	slices.SortFunc(p.closeTimes, func(a, b closeTime) int { return cmp.Compare(b.at, a.at) })
	p.armNext(r)
}

// armNext arms the timer for the next of closeTimes.
func (p *drainCloser) armNext(r *Reactor) {
	if n := len(p.closeTimes); n > 0 {
		r.Arm(&p.timer, p.closeTimes[n-1].at)
	}
}

// closeDue ends the connections whose times have come.
func (p *drainCloser) closeDue(r *Reactor) {
	for n := 0; n < closesPerTick && len(p.closeTimes) > 0; n++ {
		next := p.closeTimes[len(p.closeTimes)-1]
		if next.at > r.now {
			break
		}
		p.closeTimes = p.closeTimes[:len(p.closeTimes)-1]
		if c := next.ref.Conn(); c != nil && r.engine.Draining() {
			r.current = c
			closeIdle(c, time.Duration(max(0, p.end-r.now)))
			r.current = nil
		}
	}
	p.armNext(r)
}

// closeIdle ends c if it is idle. If a message is under way it is left alone: the answer says that the connection
// closes. A tunnel is told what is left; it may have begun since the others were told.
func closeIdle(c *Conn, left time.Duration) {
	if h, ok := c.handler.(Idler); ok && h.Idle() && c.Quiet() {
		if h, ok := c.handler.(Parter); ok {
			h.OnPart(c)
			return
		}
		c.Close(nil)
		return
	}
	if h, ok := c.handler.(Drainer); ok {
		h.OnDrain(c, left)
	}
}
