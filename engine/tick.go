package engine

import (
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// Bounds of one tick. The next tick begins with what is left over, and does not sleep then.
const (
	mailPerTick   = 1024
	timersPerTick = 1024
	turnsPerTick  = 2048
	settleRounds  = 16 // of later, flush and reap, which make work for each other

	// turnTime ends the turns of a tick early, so that timers, mail and new connections do not wait for bulk
	// transfers. The clock is read every turnsPerLook turns.
	turnTime     = int64(2 * time.Millisecond)
	turnsPerLook = 16
)

// sleptLeast tells a Wait that slept, so that other goroutines ran, from a Wait that only looked.
const sleptLeast = int64(20 * time.Microsecond)

// longTick is the length from which a tick may be Stats.SlowestTick.
const longTick = int64(time.Millisecond)

// Tick waits once and does all that became due. It is for simulations and benches, which drive the reactors of an
// engine that was not started.
//
//	wait ─► mail ─► timers ─► accept ─► turns ─► ┌ later ─► flush ─► reap ┐ until all three are empty
//	                                             └────────────◄───────────┘
//
// wait, timers and accept make connections ready, and turns runs them.
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
	// Connections that r dialled come first: an answer gives back the exchange and the connection that a request of the
	// same batch takes, while the caches of the processor have them.
	if len(r.accepted) > 0 {
		r.accepted = r.joinReady(r.accepted)
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
	return len(r.ready)+len(r.turnSpent) == 0 && r.inbox == nil && r.tickDone() && !r.acceptAny
}

// tickDone reports whether the steps after the turns have nothing to do.
func (r *Reactor) tickDone() bool {
	return r.later == nil && r.deferred == nil && r.dirtyAt == len(r.dirty) && r.deadAt == len(r.dead) &&
		len(r.ports.unsent) == 0
}

func (r *Reactor) deliver(ev poller.Event) {
	i := ev.Token.Slot()
	if int(i) >= len(r.slots) || r.slots[i].gen != ev.Token.Generation() {
		r.stats.StaleEvents++
		return
	}
	if c := r.slots[i].conn; c != nil {
		c.can |= ev.Ready
		if c.listener == nil {
			r.makeReady(c)
		} else {
			c.readyOn(&r.accepted)
		}
	} else if a := r.slots[i].accept; a != nil {
		if a.port != nil && ev.Ready&poller.CanWrite != 0 {
			a.port.unblock()
		}
		a.ready = true
		r.acceptAny = true
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
		r.acceptAny = false
		if r.ports.read(r.acceptors) {
			r.acceptAny = true
		}
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
	r.shedding = r.Pressure() == PressureShed
	for n := 1; n <= turnsPerTick && r.readyAt < len(r.ready); n++ {
		c := r.ready[r.readyAt]
		r.readyAt++
		r.current = c
		c.turn()
		if !r.shedding && r.Pressure() == PressureShed {
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
		r.turnSpent = r.joinReady(r.turnSpent)
	}
}

// tendBudget gives back the part of the share that r does not need. Under pressure it frees memory.
func (r *Reactor) tendBudget() {
	for b := &r.engine.budget; r.bufs.total < r.slack; {
		n := min(b.chunk, r.share-b.floor)
		r.setShare(r.share - n)
		b.spare.Add(n)
	}
	p := r.Pressure()
	switch {
	case p >= PressureAccept:
		r.flushAll() // else a peer would be blamed for not taking bytes that we have not sent yet
		r.bufs.shrink(0)
		r.relieve()
	case p == PressureCache && r.now >= r.shrunk+shrinkEvery:
		r.shrunk = r.now
		r.bufs.shrink(2)
	}
}

// shrinkEvery is how often free buffers are halved at PressureCache, in ns.
const shrinkEvery = int64(1e9)

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
	if len(r.ports.unsent) > 0 {
		r.current = nil
		r.ports.flush()
	}
}

// reapAll tells the handlers of dead connections that they are closed, and gives their descriptors and slots back.
func (r *Reactor) reapAll() {
	for r.deadAt < len(r.dead) {
		c := r.dead[r.deadAt]
		r.deadAt++
		r.current = c
		c.flags |= reaping
		c.handler.OnClose(c, c.cause)
		c.release()
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
