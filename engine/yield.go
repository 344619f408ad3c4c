package engine

import (
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Bounds of making room for newcomers.
const (
	// idleLeast is how long a connection must have been idle before it is closed for a newcomer: a request may be
	// on its way. It holds also for a connection that has sent nothing yet.
	idleLeast = time.Second
	// idleWalk is among how many slots the longest idle connection is looked for. The next search goes on after
	// them. A list in the order of becoming idle would cost each request two moves between connections that are in
	// no cache.
	idleWalk = 256
	// idleBatch is how many are closed when descriptors ran out: the newcomer needs one to a backend, too.
	idleBatch = 4
)

// Idler is a Handler that knows when its connection is between two messages.
type Idler interface {
	// Idle reports that nothing would be lost if the connection closed now. Runs on its reactor.
	Idle() bool
}

// Yielder is a Handler whose idle connection may be closed for a newcomer: above ListenOptions.ConnsMax, and when
// there are no descriptors left.
type Yielder interface {
	Idler
	// IdleSince returns the time of the reactor since which c, which is idle, has been so.
	IdleSince(c *Conn) int64
	// OnYield ends c without waiting for the peer: see Finish.
	OnYield(c *Conn)
}

// idleSearch looks for idle connections on the other reactors, one after another, until it has closed some.
// Owned by the reactor that runs its task.
//
//	acceptor ──Post──► reactor ──Post──► reactor …  ──Post──► acceptor
//	                   none of l idle     closes some         a.placeFound: the newcomer takes the place
type idleSearch struct {
	task     Task
	home     *acceptor
	from     *Reactor
	listener *Listener // search connections of this listener; nil: of all
	most     int       // at most so many are closed
	found    int
	next     int // index of the reactor it is at
}

// yield closes connections of l (nil: of all listeners) that are idle, the longest first, and returns how many.
func (r *Reactor) yield(l *Listener, most int) (n int) {
	for n < most {
		c := r.longestIdle(l)
		if c == nil {
			break
		}
		r.stats.Yielded++
		n++
		r.current = c
		c.handler.(Yielder).OnYield(c)
		r.current = nil
	}
	return n
}

// yieldLater closes idle connections after the present callback.
func (r *Reactor) yieldLater() {
	if !r.yielding {
		r.yielding = true
		r.Defer(&r.yieldTask)
	}
}

// runYield is the task of yieldLater.
func (r *Reactor) runYield(*Reactor) {
	r.yielding = false
	r.yield(nil, idleBatch)
}

// longestIdle returns the connection that has been idle for longest among the next idleWalk slots.
func (r *Reactor) longestIdle(l *Listener) (found *Conn) {
	since := r.now - int64(idleLeast) + 1
	for range min(len(r.slots), idleWalk) {
		if r.walked++; r.walked >= len(r.slots) {
			r.walked = 0
		}
		c := r.slots[r.walked].conn
		if c == nil || c.listener == nil || l != nil && c.listener != l || c.queued > 0 || !c.Quiet() {
			continue
		}
		if l == nil && c.fd == poller.NoFD { // descriptors are short, and it has none
			continue
		}
		if h, ok := c.handler.(Yielder); ok && h.Idle() {
			if at := h.IdleSince(c); at < since {
				found, since = c, at
			}
		}
	}
	return found
}

// searchIdle asks the other reactors to close idle connections of l (nil: of all listeners). An acceptor has one
// such search at a time.
func (a *acceptor) searchIdle(r *Reactor, l *Listener, most int) {
	if a.searching || len(r.engine.reactors) == 1 {
		return
	}
	a.searching = true
	p := &idleSearch{home: a, from: r, listener: l, most: most, next: r.index}
	p.task.Run = p.ask
	p.pass()
}

// pass posts p to the next reactor, or home.
func (p *idleSearch) pass() {
	reactors := p.from.engine.reactors
	p.next = (p.next + 1) % len(reactors)
	if p.found > 0 {
		p.next = p.from.index
	}
	reactors[p.next].Post(&p.task)
}

// ask is the task of p.
func (p *idleSearch) ask(r *Reactor) {
	if r != p.from {
		p.found = r.yield(p.listener, p.most)
		p.pass()
		return
	}
	a := p.home
	a.searching = false
	if p.found > 0 {
		a.placeFound = a.pending != nil && p.listener != nil
		a.ready, r.acceptAny = true, true
	}
}
