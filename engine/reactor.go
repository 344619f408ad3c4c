package engine

import (
	"log/slog"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/timerwheel"
)

// slot is what the token of an event names.
//
//	gen grows with each use, so that an event for a former tenant is recognised
type slot struct {
	conn   *Conn
	accept *acceptor
	gen    uint32
}

// Reactor is one event loop: it owns its connections, their timers and buffers, and runs all their callbacks.
// Its methods are for its own goroutine, that is for callbacks; Post, Index and Engine are safe for any goroutine.
type Reactor struct {
	engine *Engine
	kernel poller.Kernel
	opts   *Options
	index  int
	now    int64

	slots     []slot
	free      []uint32 // slots without a tenant
	ready     []*Conn  // have something to do; those before readyAt had their turn, also when it panicked
	accepted  []*Conn  // of this wait, by clients: ready after those that were dialled
	turnSpent []*Conn  // used up their share of this tick: ready in the next one
	dirty     []*Conn  // have something to flush
	dead      []*Conn  // to be reaped
	fresh     []*Conn  // accepted and not registered yet; fresh[:lived] have lived through a whole tick
	late      []*Conn  // not read under memory pressure until retry fires

	readyAt, dirtyAt, deadAt, lived int

	current   *Conn // its callback runs: it is closed if that panics
	mail      mailbox
	inbox     *Task // taken from mail, not yet run
	later     *Task // deferred to the end of this tick
	laterTail *Task
	deferred  *Task // taken from later, not yet run
	wheel     timerwheel.Wheel
	bufs      bufPool
	share     int64 // memory that r may use, of the budget
	accepts   int   // in one tick, for each listener
	shedding  bool  // PressureShed was reached when the turns of this tick began
	slack     int64 // total below which a part of share is given back, -1: never
	shrunk    int64 // when free buffers were halved last
	relief    relief
	giver     *connGiver // nil: connections stay
	acceptors []*acceptor
	ports     ports
	acceptAny bool // an acceptor may have connections waiting
	walked    int  // the slot at which longestIdle goes on
	yielding  bool // yieldTask was deferred and has not begun
	yieldTask Task
	retry     Timer // accepts and reads again after a pause

	scratch  []byte
	wire     []byte // the scratch of Conns with a Layer; nil until there is one
	gather   []byte // for Conns with a Layer: plaintext of a record that lay in several buffers
	probed   [1]byte
	reserved *Buf // returned by Reserve and not committed yet
	pipes    pipes
	iov      [poller.IOVMax][]byte
	events   [poller.EventsMax]poller.Event

	worked   int64 // when the last tick ended
	began    int64 // CPU time of the thread, ns; 0 unless poller.TurnsByCPU
	yielded  int64 // when other goroutines ran on this processor last
	stats    Stats
	stopping bool
	done     chan struct{}
	compared int // the reactor at which leastLoaded goes on

	owner     invariant.Owner        // the goroutine that runs it, in a checked build
	goroutine atomic.Pointer[string] // the goroutine that runs it, for the watchdog; nil before

	_    [128]byte    // other reactors read load, and write it when they hand over a connection
	load atomic.Int64 // accepted connections
	_    [120]byte
}

// Index is the number of r, from 0, by which other packages keep state for each reactor. Safe for any goroutine.
func (r *Reactor) Index() int { return r.index }

// Ended returns a channel that is closed when r has ended: what is posted to it then may never run. Safe for any
// goroutine.
func (r *Reactor) Ended() <-chan struct{} { return r.done }

// Engine returns the engine r belongs to. Safe for any goroutine.
func (r *Reactor) Engine() *Engine { return r.engine }

// Now is the time of this tick: the monotonic clock in nanoseconds, read once after waiting.
func (r *Reactor) Now() int64 { return r.now }

// Stats returns the counters of r. On r only; Engine.Stats is for other goroutines.
func (r *Reactor) Stats() Stats {
	r.MustOwn()
	s := r.stats
	s.Conns = r.load.Load()
	s.BufBytes = r.bufs.inUse()
	s.BufKept = r.bufs.spare()
	s.Timers = int64(r.wheel.Len())
	return s
}

// Accepted calls f for each connection that was accepted on r and is open, from slot from on, with its listener and its
// handler; a connection that waits for a handshake has the handshake's handler. At most slots slots are looked at. next
// is the slot to go on with, 0 after the last one. On r only.
func Accepted(r *Reactor, from, slots int, f func(c *Conn, l *Listener, h Handler)) (next int) {
	r.MustOwn()
	end := min(from+slots, len(r.slots))
	for i := from; i < end; i++ {
		if c := r.slots[i].conn; c != nil && c.listener != nil && c.state <= open {
			f(c, c.listener, c.handler)
		}
	}
	if end >= len(r.slots) {
		return 0
	}
	return end
}

// MustOwn panics in a checked build unless it runs on r's goroutine, or r does not run.
func (r *Reactor) MustOwn() {
	if invariant.On {
		invariant.OnReactor(&r.owner)
	}
}

func (r *Reactor) makeReady(c *Conn) { c.readyOn(&r.ready) }

// turnLater gives c its next turn after all that are ready in this tick, or outside of a turn in the next one.
func (c *Conn) turnLater() { c.readyOn(&c.reactor.turnSpent) }

// readyOn puts c on the ready list, or on a list that joins it later, unless it is on one of them.
func (c *Conn) readyOn(list *[]*Conn) {
	if c.flags&onReady == 0 {
		c.flags |= onReady
		*list = append(*list, c)
	}
}

// joinReady appends list to the ready list, and returns it empty.
func (r *Reactor) joinReady(list []*Conn) []*Conn {
	r.ready = append(r.ready, list...)
	clear(list)
	return list[:0]
}

func (c *Conn) makeDirty() {
	if c.flags&dirty == 0 {
		c.flags |= dirty
		c.reactor.dirty = append(c.reactor.dirty, c)
	}
}

func (r *Reactor) takeSlot() (i, gen uint32) {
	if n := len(r.free); n > 0 {
		i = r.free[n-1]
		r.free = r.free[:n-1]
	} else {
		i = uint32(len(r.slots))
		invariant.That(i < math.MaxUint32, "slots")
		r.slots = append(r.slots, slot{})
	}
	r.slots[i].gen++
	return i, r.slots[i].gen
}

func (r *Reactor) freeSlot(i uint32) {
	s := &r.slots[i]
	s.conn, s.accept = nil, nil
	s.gen++ // at once: a stale event of this batch must not find the next tenant
	r.free = append(r.free, i)
}

// Panicked counts and logs a panic of foreign code that the caller has recovered. On r only. In a checked build a
// panic with a string may be a violated invariant, and is not recovered.
func (r *Reactor) Panicked(p any) {
	r.MustOwn()
	if _, ok := p.(string); ok && invariant.On {
		panic(p)
	}
	r.stats.Panics++
	slog.Error("handler panicked", "reactor", r.index, "panic", p, "stack", string(debug.Stack()))
}

// retryPause is how long a reactor waits that ran out of descriptors, memory or connections, before it accepts and
// reads again.
const retryPause = 20 * time.Millisecond

// retrySoon arms the retry timer. A pending one is not moved, or a stream of pauses would put it off for ever.
func (r *Reactor) retrySoon() {
	if !r.retry.pending() {
		r.Arm(&r.retry, r.now+int64(retryPause))
	}
}

// retryAfterPause is the task of the retry timer: r accepts again, and reads the connections that were put off.
func (r *Reactor) retryAfterPause() {
	r.acceptAny = true
	for _, c := range r.late {
		c.flags &^= late
		r.makeReady(c)
	}
	clear(r.late)
	r.late = r.late[:0]
}
