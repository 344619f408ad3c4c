package engine

import (
	"slices"
	"time"
)

// Idler is a Handler that knows when its connection is between two messages.
type Idler interface {
	// Idle reports that nothing would be lost if the connection closed now. Runs on its reactor.
	Idle() bool
}

// Drainer is a Handler that is told when the end of a drain is near.
type Drainer interface {
	// OnDrain says that c is cut after left if it is open then. Runs on c's reactor.
	OnDrain(c *Conn, left time.Duration)
}

// DrainBeginner is a Handler that tells its peer at once that a drain has begun.
type DrainBeginner interface {
	// OnDrainBegin says that Draining has become true. Runs on c's reactor.
	OnDrainBegin(c *Conn)
}

// Draining reports whether Drain was called. From then on an answer has to say that its connection closes.
func (e *Engine) Draining() bool { return e.draining.Load() }

// Drain closes the listeners, as Close does and in half of grace at most. Then it waits until they and all accepted
// connections are closed, at most for grace, and reports whether none is left. Handlers see Draining and close their
// connections after the present message. Connections that are idle are closed in the last tenth of grace; what is open
// after that is closed by Stop. Safe for any goroutine but a reactor's.
func (e *Engine) Drain(grace time.Duration) bool {
	e.draining.Store(true)
	e.mu.Lock()
	// Those that are suspended are another process's by now.
	listeners := slices.DeleteFunc(slices.Clone(e.listeners), func(l *Listener) bool { return l.paused.Load() })
	e.mu.Unlock()
	begun := time.Now()
	for _, l := range listeners {
		l.close(min(unlistenTime, grace/2))
	}
	return e.each((*Reactor).beginDrain) && e.drained(listeners, begun.Add(grace-grace/10)) || e.Draining() &&
		e.each(func(r *Reactor) { r.closeIdle(grace / 10) }) && e.drained(listeners, begun.Add(grace))
}

// drained waits until no listener and no accepted connection is left, until the time is up, or until Resume. It reports
// whether none is left. A connection is counted before its listener has closed.
func (e *Engine) drained(listeners []*Listener, until time.Time) bool {
	open := func() bool {
		return slices.ContainsFunc(listeners, func(l *Listener) bool { return !l.Closed() }) || e.Conns() > 0
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

// closeIdle closes idle connections and tells each Drainer that left is left.
func (r *Reactor) closeIdle(left time.Duration) {
	for i := range r.slots {
		c := r.slots[i].conn
		if c == nil || c.listener == nil {
			continue
		}
		if h, ok := c.handler.(Idler); ok && h.Idle() {
			c.Close(nil)
			continue
		}
		if h, ok := c.handler.(Drainer); ok {
			h.OnDrain(c, left)
		}
	}
}
