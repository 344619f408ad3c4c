package engine

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// OffloadOptions bound the code that blocks. The zero value is good.
type OffloadOptions struct {
	Workers int // goroutines at one time for jobs that are over soon; 0: 256
	Queue   int // such jobs that wait for one; 0: 1024
	Lasting int // jobs at one time that may last; 0: one for each 64 KiB of Options.Memory
}

// lastingSize is roughly the memory of a job that lasts: its goroutine and what that works on.
const lastingSize = 64 << 10

// Job is work that may block: Do runs on a goroutine, then Done on the reactor the job was given on, unless that ended.
// Owned by the reactor before Offload and from Done on, by the goroutine in between.
type Job struct {
	// Lasts says that Do may last, as what serves a stream does. It gets a goroutine of its own then: any number of
	// those leave the workers to jobs that are over soon.
	Lasts   bool
	Do      func(ctx context.Context) // ctx ends with Cancel and with the engine
	Done    Task
	Err     error // ErrPanic when Do panicked; for Done to look at
	reactor *Reactor
	ctx     context.Context
	cancel  context.CancelFunc
}

// Cancel ends the context of Do. Done still comes. On the job's reactor only.
func (j *Job) Cancel() {
	if j.cancel != nil {
		j.cancel()
	}
}

// offload is a bounded pool of goroutines, which are started when needed and stay, and the goroutines of jobs that
// last.
//
//	Job ─┬────────► jobs, Queue ─► one of Workers ─┬─► Done
//	     └ Lasts ─► a goroutine, one of Lasting ───┘
type offload struct {
	opts    OffloadOptions
	jobs    chan *Job
	ctx     context.Context
	cancel  context.CancelFunc
	given   atomic.Int64 // jobs that are queued or run, but for those that last
	running atomic.Int64 // workers
	lasting atomic.Int64 // jobs that last
	refused atomic.Uint64
	panics  atomic.Uint64
	warned  atomic.Int64 // when it was last logged that a job was refused, reactor time
	mu      sync.Mutex   // held to start a worker
}

func (o *offload) init(opts OffloadOptions, memory int64) {
	setDefault(&opts.Workers, 256)
	setDefault(&opts.Queue, 1024)
	setDefault(&opts.Lasting, int(max(memory/lastingSize, 1)))
	o.opts = opts
	o.warned.Store(-int64(refusedLog))
	o.ctx, o.cancel = context.WithCancel(context.Background())
	o.jobs = make(chan *Job, opts.Queue)
}

// Offload gives j, which has both functions, to a worker or, where it lasts, to a goroutine of its own. It never waits:
// when all workers are busy and the queue is full, or there are as many lasting jobs as there may be, it returns
// ErrOffloadFull. On r only.
func (r *Reactor) Offload(j *Job) error {
	r.MustOwn()
	if r.stopping {
		return ErrStopped
	}
	if j.Do == nil || j.Done.Run == nil {
		panic("engine: a Job needs Do and Done.Run") // here, where the stack names the caller
	}
	o := &r.engine.offload
	j.reactor, j.Err = r, nil
	j.ctx, j.cancel = context.WithCancel(o.ctx)
	if o.start(j) {
		return nil
	}
	j.cancel()
	o.refused.Add(1)
	o.warn(j, r.now)
	return ErrOffloadFull
}

// start reports false where there is no room for j.
func (o *offload) start(j *Job) bool {
	if j.Lasts {
		if o.lasting.Add(1) > int64(o.opts.Lasting) {
			o.lasting.Add(-1)
			return false
		}
		go o.finish(j, &o.lasting)
		return true
	}
	if o.given.Add(1) > o.running.Load() { // else a worker is free: each has one job at most
		o.grow()
	}
	select {
	case o.jobs <- j:
		return true
	default:
		o.given.Add(-1)
		return false
	}
}

// refusedLog is the time between two lines about jobs that were refused.
const refusedLog = 10 * time.Second

// warn logs that j was refused, unless that was logged a moment ago.
func (o *offload) warn(j *Job, now int64) {
	before := o.warned.Load()
	if now-before < int64(refusedLog) || !o.warned.CompareAndSwap(before, now) {
		return
	}
	if j.Lasts {
		slog.Warn("requests are refused: as many handlers run as may", "limit", o.opts.Lasting,
			"setting", "engine.OffloadOptions.Lasting", "refused", o.refused.Load())
		return
	}
	slog.Warn("requests are refused: all workers for code that blocks are busy, and their queue is full",
		"workers", o.opts.Workers, "queue", o.opts.Queue,
		"setting", "engine.OffloadOptions.Workers and Queue", "refused", o.refused.Load())
}

func (o *offload) grow() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running.Load() < int64(o.opts.Workers) {
		o.running.Add(1)
		go o.work()
	}
}

func (o *offload) work() {
	for j := range o.jobs {
		o.finish(j, &o.given)
	}
}

// finish runs j, which count counts, and hands it back to its reactor.
func (o *offload) finish(j *Job, count *atomic.Int64) {
	o.do(j)
	j.cancel()
	count.Add(-1)
	j.reactor.Post(&j.Done)
}

// do runs j. A panic costs the job, not the process.
func (o *offload) do(j *Job) {
	defer func() {
		if p := recover(); p != nil {
			o.panics.Add(1)
			j.Err = ErrPanic
			slog.Error("offloaded job panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	j.Do(j.ctx)
}

// stop cancels all jobs and ends the workers after the queued ones. It does not wait for them: a job may ignore its
// context. The reactors have ended by then, so no job is given any more.
func (o *offload) stop() {
	o.cancel()
	close(o.jobs)
}

// OffloadStats returns the counters of the pool, OffloadRefused and OffloadPanics of Stats: no reactor has them. Safe
// for any goroutine.
func (e *Engine) OffloadStats() (refused, panics uint64) {
	return e.offload.refused.Load(), e.offload.panics.Load()
}
