package engine

import (
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/timerwheel"
)

// Bounds of one tick. The next tick begins with what is left over, and does not sleep then.
const (
	mailPerTick    = 1024
	timersPerTick  = 1024
	turnsPerTick   = 2048
	acceptsPerTick = 64
	settleRounds   = 16   // of later, flush and reap, which make work for each other
	finishRounds   = 1024 // of all steps, when the reactor ends
)

// turnTime ends the turns of a tick early, so that timers, mail and new connections do not wait for bulk transfers.
// The clock is read every turnsPerLook turns.
const (
	turnTime     = int64(2 * time.Millisecond)
	turnsPerLook = 16
)

// yieldEvery is how long a busy reactor runs before it lets other goroutines run.
const yieldEvery = int64(200 * time.Microsecond)

// sleptLeast tells a Wait that slept, so that other goroutines ran, from a Wait that only looked.
const sleptLeast = int64(20 * time.Microsecond)

// slowTick is the length from which a tick counts as slow.
const slowTick = int64(10 * time.Millisecond)

// longTick is the length from which a tick may be Stats.SlowestTick.
const longTick = int64(time.Millisecond)

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
//
//	wait ─► mail ─► timers ─► accept ─► turns ─► ┌ later ─► flush ─► reap ┐ until all three are empty
//	                                             └────────────◄───────────┘
//
// wait, timers and accept make connections ready, and turns runs them.
type Reactor struct {
	engine *Engine
	kernel poller.Kernel
	opts   *Options
	index  int
	now    int64

	slots     []slot
	free      []uint32 // slots without a tenant
	ready     []*Conn  // have something to do; those before readyAt had their turn, also when it panicked
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
	share     int64    // memory that r may use, of the budget
	accepts   int      // in one tick, for each listener
	pressing  Pressure // Pressure when the turns of this tick began
	slack     int64    // total below which a part of share is given back, -1: never
	shrunk    int64    // when free buffers were halved last
	relief    relief
	giver     *connGiver // nil: connections stay
	acceptors []*acceptor
	acceptAny bool // an acceptor may have connections waiting
	walked    int  // the slot at which longestIdle goes on
	yielding  bool // yieldTask was deferred and has not begun
	yieldTask Task
	retry     Timer // accepts and reads again after a pause

	scratch  []byte
	wire     []byte // the scratch of Conns with a Layer; nil until there is one
	gather   []byte // for Conns with a Layer: plaintext of a record that lay in several places
	probed   [1]byte
	reserved *Buf   // returned by Reserve and not committed yet
	pipes    []pipe // empty ones; see takePipe
	pipesOut int
	noSplice bool // the kernel refused to splice
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

func newReactor(e *Engine, k poller.Kernel, index int) *Reactor {
	r := &Reactor{
		engine: e, kernel: k, opts: &e.opts, index: index,
		scratch: make([]byte, bulkReads*e.opts.ReadSize),
		done:    make(chan struct{}),
	}
	r.now = k.Now()
	r.yielded = r.now
	r.wheel.Init(r.now)
	r.retry.Run = (*Reactor).retryAfterPause
	r.bufs.most = min(bufFreeMax, e.budget.chunk/2)
	r.setShare(e.budget.floor)
	r.yieldTask.Run = r.runYield
	return r
}

// Index is the number of r, from 0, by which other packages keep state for each reactor. Safe for any goroutine.
func (r *Reactor) Index() int { return r.index }

// Engine returns the engine r belongs to. Safe for any goroutine.
func (r *Reactor) Engine() *Engine { return r.engine }

// Now is the time of this tick: the monotonic clock in nanoseconds, read once after waiting.
func (r *Reactor) Now() int64 { return r.now }

// MustOwn panics in a checked build unless it runs on r's goroutine, or r does not run.
func (r *Reactor) MustOwn() {
	if invariant.On {
		invariant.OnReactor(&r.owner)
	}
}

// run is the goroutine of r.
func (r *Reactor) run() {
	defer close(r.done)
	r.owner.Take()
	defer r.owner.Drop()
	r.goroutine.Store(goroutine())
	if r.opts.Pin {
		if err := poller.Pin(r.index); err != nil { // a sandbox may forbid it; r still has a thread of its own
			slog.Warn("reactor not pinned", "reactor", r.index, "error", err.Error())
		}
	}
	poller.OwnThread()
	for !r.stopping {
		r.Tick()
		if r.now-r.yielded >= yieldEvery {
			r.yielded = r.now
			runtime.Gosched()
		}
	}
	r.closeAll()
}

// Tick waits once and does all that became due. It is for simulations and benches, which drive the reactors of an
// engine that was not started.
func (r *Reactor) Tick() {
	r.wait()
	for !r.work() {
		// A handler panicked: its connection is closed and the tick goes on.
	}
	r.worked = r.kernel.Now()
	d := r.worked - r.now
	r.stats.Busy += uint64(d)
	if poller.TurnsByCPU {
		d = poller.ThreadTime() - r.began
	}
	if d > longTick {
		r.stats.SlowestTick = max(r.stats.SlowestTick, d)
		if d > slowTick {
			r.stats.SlowTicks++
		}
	}
}

func (r *Reactor) wait() {
	until := int64(0)
	if r.idle() {
		r.mail.awake.Store(asleep)
		if r.mail.empty() {
			until = r.wheel.Next()
		}
	}
	n := r.poll(until)
	r.now = r.kernel.Now()
	if poller.TurnsByCPU {
		r.began = poller.ThreadTime()
	}
	r.mail.awake.Store(r.now)
	if r.now-r.worked >= sleptLeast {
		r.yielded = r.now
	}
	r.stats.Ticks++
	r.stats.Events += uint64(n)
	for _, ev := range r.events[:n] {
		r.deliver(ev)
	}
}

// poll asks the kernel for events and sleeps until there is one. Before it sleeps it registers every connection.
// Connections that came in the last tick are not registered as long as there are other events.
func (r *Reactor) poll(until int64) int {
	if len(r.fresh) == 0 {
		return r.kernel.Wait(r.events[:], until)
	}
	r.watchFresh()
	n := r.kernel.Wait(r.events[:], 0)
	if n > 0 || until == 0 {
		return n
	}
	r.watchFresh()
	// A connection could not be registered, or a task was posted and the first Wait has consumed its wake.
	if len(r.dead) > 0 || r.mail.awake.Load() != asleep {
		until = 0
	}
	return r.kernel.Wait(r.events[:], until)
}

// idle reports whether r has nothing to do but to wait.
func (r *Reactor) idle() bool {
	return len(r.ready) == 0 && r.inbox == nil && r.tickDone() && !r.acceptAny
}

// tickDone reports whether the steps after the turns have nothing to do.
func (r *Reactor) tickDone() bool {
	return r.later == nil && r.deferred == nil && r.dirtyAt == len(r.dirty) && r.deadAt == len(r.dead)
}

func (r *Reactor) deliver(ev poller.Event) {
	i := ev.Token.Slot()
	if int(i) >= len(r.slots) || r.slots[i].gen != ev.Token.Generation() {
		r.stats.StaleEvents++
		return
	}
	if c := r.slots[i].conn; c != nil {
		c.can |= ev.Ready
		r.makeReady(c)
	} else if a := r.slots[i].accept; a != nil {
		a.ready = true
		r.acceptAny = true
	}
}

func (r *Reactor) makeReady(c *Conn) {
	if c.flags&onReady == 0 {
		c.flags |= onReady
		r.ready = append(r.ready, c)
	}
}

// work does the steps after waiting and reports false when a callback panicked: then it is called again.
func (r *Reactor) work() (done bool) {
	defer r.closePanicked()
	if r.inbox != nil || !r.mail.empty() {
		r.runMail()
	}
	r.wheel.Advance(r.now, timersPerTick)
	if r.acceptAny {
		r.acceptAll()
	}
	r.runReady()
	if n := r.bufs.total; n >= r.bufs.ease || n < r.slack {
		r.tendBudget()
	}
	for n := 0; n < settleRounds && !r.tickDone(); n++ {
		if r.later != nil || r.deferred != nil {
			r.runLater()
		}
		r.flushAll()
		if len(r.dead) > 0 {
			r.reapAll()
		}
	}
	r.current = nil
	if invariant.On && r.tickDone() {
		r.check()
	}
	return true
}

func (r *Reactor) runMail() {
	r.current = nil
	if r.inbox == nil {
		r.inbox = r.mail.take()
	}
	for range mailPerTick {
		t := r.inbox
		if t == nil {
			return
		}
		r.inbox, t.next = t.next, nil
		r.stats.Tasks++
		t.Run(r)
	}
	if r.inbox != nil {
		r.stats.MailCut++
	}
}

// runReady gives each ready Conn a turn. A Conn that becomes ready meanwhile has its turn in this tick. A Conn that
// used up its share has the next turn in the next tick, after all that are ready by then.
//
// It ends early when the pressure reaches its last step: then memory is freed first, since the next turn would have
// to refuse new work.
func (r *Reactor) runReady() {
	r.pressing = r.Pressure()
	for n := 1; n <= turnsPerTick && r.readyAt < len(r.ready); n++ {
		c := r.ready[r.readyAt]
		r.readyAt++
		r.current = c
		c.turn()
		if r.pressing < PressureShed && r.Pressure() == PressureShed {
			break
		}
		if n%turnsPerLook == 0 && r.kernel.Now()-r.now > turnTime {
			break
		}
	}
	if r.readyAt < len(r.ready) {
		r.stats.TurnsCut++
	}
	r.ready, r.readyAt = removeFirst(r.ready, r.readyAt)
	if len(r.turnSpent) > 0 {
		r.ready = append(r.ready, r.turnSpent...)
		clear(r.turnSpent)
		r.turnSpent = r.turnSpent[:0]
	}
}

// runLater runs the tasks that were deferred so far. Those deferred meanwhile run in the next round.
func (r *Reactor) runLater() {
	r.current = nil
	if r.deferred == nil {
		r.deferred, r.later, r.laterTail = r.later, nil, nil
	}
	for r.deferred != nil {
		t := r.deferred
		r.deferred, t.next = t.next, nil
		t.Run(r)
	}
}

func (r *Reactor) flushAll() {
	for r.dirtyAt < len(r.dirty) {
		c := r.dirty[r.dirtyAt]
		r.dirtyAt++
		r.current = c
		c.flags &^= dirty
		c.flush()
	}
	r.dirty, r.dirtyAt = removeFirst(r.dirty, r.dirtyAt)
}

func (r *Reactor) reapAll() {
	for r.deadAt < len(r.dead) {
		c := r.dead[r.deadAt]
		r.deadAt++
		c.reap()
	}
	r.dead, r.deadAt = removeFirst(r.dead, r.deadAt)
}

// removeFirst removes the first n of list, in place. Their places are cleared: a list must not keep a closed Conn
// alive.
func removeFirst(list []*Conn, n int) ([]*Conn, int) {
	if n == 1 && len(list) == 1 { // as below, without a call: most ticks have a single event
		list[0] = nil
		return list[:0], 0
	}
	if n == 0 {
		return list, 0
	}
	left := copy(list, list[n:])
	clear(list[left:])
	return list[:left], 0
}

// closePanicked closes the connection whose handler panicked.
func (r *Reactor) closePanicked() {
	p := recover()
	if p == nil {
		return
	}
	r.Panicked(p)
	c := r.current
	r.current = nil
	switch {
	case c == nil:
	case c.flags&reaping != 0: // in OnClose: it is off the dead list
		c.release()
	default:
		c.drop(ErrPanic)
	}
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

// retrySoon arms the retry timer. A pending one is not moved, or a stream of pauses would put it off for ever.
func (r *Reactor) retrySoon() {
	if !r.retry.pending() {
		r.Arm(&r.retry, r.now+int64(acceptPause))
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

// closeAll closes everything r holds.
func (r *Reactor) closeAll() {
	r.stopping = true
	for _, a := range r.acceptors {
		r.closeAcceptor(a)
	}
	r.acceptors = nil
	for i := range r.slots {
		if c := r.slots[i].conn; c != nil {
			c.drop(ErrStopped)
		}
	}
	r.finish()
	r.closePipes()
	r.kernel.Shut()
}

// finish does what is left to do, mail included, since a connection that was handed over must be closed. It is
// called again when all reactors have ended, for the tasks that they posted to each other last.
func (r *Reactor) finish() {
	for range finishRounds {
		for !r.work() {
			// A handler panicked.
		}
		if r.inbox == nil && r.mail.empty() && r.tickDone() {
			return
		}
	}
}
