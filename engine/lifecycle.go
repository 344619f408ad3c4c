package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// New makes an Engine. Its reactors do not run before Start; listening works already.
func New(o Options) (*Engine, error) {
	o.setDefaults()
	if o.SendMax <= o.SendLow || o.ReadSize <= 0 || o.Reactors < 0 {
		return nil, errors.New("engine: SendMax must be above SendLow, ReadSize above 0")
	}
	e := &Engine{opts: o, ended: make(chan struct{})}
	e.budget.init(o.Memory, o.Reactors)
	e.offload.init(o.Offload, o.Memory)
	for i := range o.Reactors {
		k, err := o.Kernel(i)
		if err != nil {
			for _, r := range e.reactors {
				r.closeAll()
			}
			return nil, fmt.Errorf("reactor %d: %w", i, err)
		}
		e.reactors = append(e.reactors, newReactor(e, k, i))
	}
	return e, nil
}

// Start runs the reactors and the watchdog, each on a goroutine of its own.
func (e *Engine) Start() {
	if e.stopped.Load() || e.started.Swap(true) {
		return
	}
	for _, r := range e.reactors {
		go r.run()
	}
	e.unwatch = make(chan struct{})
	go e.watch()
}

// Stop closes all connections, each with ErrStopped, ends the reactors, and cancels what is offloaded. It returns when
// the reactors have ended. Safe for any goroutine but a reactor's.
func (e *Engine) Stop() {
	if e.stopped.Swap(true) {
		<-e.ended
		return
	}
	defer close(e.ended)
	if e.unwatch != nil {
		close(e.unwatch)
	}
	running := e.started.Load()
	for _, r := range e.reactors {
		if running {
			r.Post(&Task{Run: func(r *Reactor) { r.stopping = true }})
		} else {
			r.closeAll()
			close(r.done)
		}
	}
	for _, r := range e.reactors {
		<-r.done
	}
	e.offload.stop()
	for _, r := range e.reactors {
		r.finish() // the goroutine of r has ended: this one owns it
	}
	e.checkBudget()
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

// yieldEvery is how long a busy reactor runs before it lets other goroutines run.
const yieldEvery = int64(200 * time.Microsecond)

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

// closeAll closes everything r holds.
func (r *Reactor) closeAll() {
	r.stopping = true
	r.acceptors = slices.DeleteFunc(r.acceptors, func(a *acceptor) bool {
		if a.port != nil {
			return false // connections tell their ends by it
		}
		r.closeAcceptor(a)
		return true
	})
	for i := range r.slots {
		if c := r.slots[i].conn; c != nil {
			c.drop(ErrStopped)
		}
	}
	r.finish()
	for _, a := range r.acceptors {
		r.closeAcceptor(a)
	}
	r.acceptors = nil
	r.closePipes()
	r.kernel.Shut()
}

// finishRounds bounds the steps of a reactor that ends.
const finishRounds = 1024

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
