package engine

import (
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/poller"
)

// Options configure an Engine. The zero value is good.
type Options struct {
	Reactors    int           // event loops; 0: one per processor of this process, at most one per 16 MiB of Memory
	Park        poller.Park   // how a reactor sleeps
	Pin         bool          // each reactor stays on one processor; ParkAuto and ParkRuntime are ParkSyscall then
	ReadSize    int           // bytes of one read, four times as many after a full one; 0: 64 KiB
	ReadMax     int           // unread bytes of one Conn at which it is closed with ErrReadFull; 0: 64 KiB
	SendLow     int           // low mark of a send queue, see OnSendable; 0: 64 KiB
	SendMax     int           // bytes a send queue holds before Write refuses; 0: 1 MiB
	SpliceMin   int64         // least bytes for which Splice is used; 0: 256 KiB; below 0: it is not
	SendTimeout time.Duration // for the peer of a closing connection to take its queue; 0: 30 s
	ConnsMax    int           // connections accepted by all listeners, where as many descriptors are open; 0: no limit
	Memory      int64         // budget for buffers over all reactors; 0: half of what the cgroup or the machine has
	Offload     OffloadOptions

	// Kernel makes the kernel of reactor i; nil: epoll. For simulations and benches.
	Kernel func(i int) (poller.Kernel, error)
}

func (o *Options) setDefaults() {
	setDefault(&o.ReadSize, 64<<10)
	setDefault(&o.ReadMax, 64<<10)
	setDefault(&o.SendLow, 64<<10)
	setDefault(&o.SendMax, 1<<20)
	setDefault(&o.SpliceMin, 256<<10)
	if o.SpliceMin < 0 {
		o.SpliceMin = math.MaxInt64
	}
	setDefault(&o.SendTimeout, 30*time.Second)
	if o.Memory == 0 {
		o.Memory = MemoryLimit() / 2
	}
	// With less memory than that a reactor can serve little: few reactors share it then.
	setDefault(&o.Reactors, min(runtime.GOMAXPROCS(0), int(max(o.Memory/reactorLeast, 1))))
	if o.Pin && o.Park <= poller.ParkRuntime {
		o.Park = poller.ParkSyscall // the runtime would move it to another thread at each sleep
	}
	if o.Kernel == nil {
		park := o.Park
		o.Kernel = func(int) (poller.Kernel, error) { return poller.NewEpoll(park) }
	}
}

// reactorLeast is the memory per reactor by default, at least.
const reactorLeast = 16 << 20

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Engine is a set of reactors with their listeners and a pool for code that blocks.
// Safe for any goroutine.
type Engine struct {
	opts      Options
	reactors  []*Reactor
	budget    budget
	offload   offload
	started   atomic.Bool
	stopped   atomic.Bool
	draining  atomic.Bool
	giving    atomic.Pointer[Giving] // nil: connections stay
	ended     chan struct{}          // closed when Stop is done
	mu        sync.Mutex
	listeners []*Listener   // guarded by mu
	suspended bool          // Suspend was called, and Resume was not after it; guarded by mu
	unwatch   chan struct{} // closed to end the watchdog; nil before Start
}

// Reactors returns the reactors; their number does not change.
func (e *Engine) Reactors() []*Reactor { return e.reactors }

// Memory returns the budget for buffers over all reactors: Options.Memory, or its default.
func (e *Engine) Memory() int64 { return e.opts.Memory }

// SendTimeout returns Options.SendTimeout, or its default.
func (e *Engine) SendTimeout() time.Duration { return e.opts.SendTimeout }

// Conns returns how many accepted connections are open.
func (e *Engine) Conns() int {
	var n int64
	for _, r := range e.reactors {
		n += r.load.Load()
	}
	return int(n)
}

// Stats adds up the counters of all reactors: each copies its own out. Safe for any goroutine but a reactor's.
func (e *Engine) Stats() Stats {
	var sum Stats
	for _, r := range e.reactors {
		r.runOn(func() error { //nolint:errcheck // ErrStopped: its counters are lost
			s := r.Stats()
			tally.Add(&sum, &s)
			return nil
		})
	}
	sum.OffloadRefused, sum.OffloadPanics = e.OffloadStats()
	return sum
}

// surveySlots is how many slots a Survey looks at in one tick.
const surveySlots = 4096

// Survey calls f for each connection that was accepted and is open, with Listener and Handler, on its reactor, one
// reactor after the other. It returns when f has seen all, or the Engine has stopped. f must return at once. Not for
// reactors.
func (e *Engine) Survey(f func(c *Conn, l *Listener, h Handler)) {
	for _, r := range e.reactors {
		for next, more := 0, true; more; more = next > 0 {
			if r.runOn(func() error {
				next = Accepted(r, next, surveySlots, f)
				return nil
			}) != nil {
				return
			}
		}
	}
}

// runOnEach runs f on every reactor and waits. It reports false when the engine was stopped.
func (e *Engine) runOnEach(f func(*Reactor)) bool {
	for _, r := range e.reactors {
		if r.runOn(func() error { f(r); return nil }) == ErrStopped {
			return false
		}
	}
	return true
}

// runOnAll runs f on all reactors at the same time and waits for all. It returns what f did, joined.
func (e *Engine) runOnAll(f func(*Reactor) error) error {
	waits := make([]func() error, len(e.reactors))
	for i, r := range e.reactors {
		waits[i] = ask(r, func() error { return f(r) })
	}
	errs := make([]error, len(waits))
	for i, wait := range waits {
		errs[i] = wait()
	}
	return errors.Join(errs...)
}

// runOn runs f on r and waits for it; in place while the reactors do not run yet. Not for reactors.
func (r *Reactor) runOn(f func() error) error { return ask(r, f)() }

// ask begins a call of r; the function that it returns waits for the end.
func ask(r *Reactor, f func() error) (wait func() error) {
	switch {
	case r.engine.started.Load():
	case r.engine.stopped.Load():
		return func() error { return ErrStopped }
	default:
		err := f()
		return func() error { return err }
	}
	answer := make(chan error, 1)
	r.Post(&Task{Run: func(*Reactor) {
		err := ErrPanic
		defer func() { answer <- err }()
		select {
		case <-r.done: // the caller has left
		default:
			err = f()
		}
	}})
	return func() error {
		select {
		case err := <-answer:
			return err
		case <-r.done:
		}
		select {
		case err := <-answer:
			return err
		default:
			return ErrStopped
		}
	}
}
