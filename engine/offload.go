package engine

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// OffloadOptions bound the pool for code that blocks. The zero value is good.
type OffloadOptions struct {
	Workers int // goroutines at one time; 0: 256
	Queue   int // jobs that wait for one; 0: 1024
}

// Job is work that may block: Do runs on a worker, then Done on the reactor the job was given on, unless that ended.
// Owned by the reactor before Offload and from Done on, by the worker in between.
type Job struct {
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

// offload is a bounded pool of goroutines, which are started when needed and stay.
type offload struct {
	jobs    chan *Job
	workers int64
	ctx     context.Context
	cancel  context.CancelFunc
	given   atomic.Int64 // jobs that are queued or run
	running atomic.Int64 // workers
	refused atomic.Uint64
	panics  atomic.Uint64
	mu      sync.Mutex // held to start a worker
}

func (o *offload) init(opts OffloadOptions) {
	setDefault(&opts.Workers, 256)
	setDefault(&opts.Queue, 1024)
	o.workers = int64(opts.Workers)
	o.ctx, o.cancel = context.WithCancel(context.Background())
	o.jobs = make(chan *Job, opts.Queue)
}

// Offload gives j to a worker. It never waits: when all workers are busy and the queue is full, it returns
// ErrOffloadFull. On r only.
func (r *Reactor) Offload(j *Job) error {
	r.MustOwn()
	if r.stopping {
		return ErrStopped
	}
	o := &r.engine.offload
	j.reactor, j.Err = r, nil
	j.ctx, j.cancel = context.WithCancel(o.ctx)
	if o.given.Add(1) > o.running.Load() { // else a worker is free: each has one job at most
		o.grow()
	}
	select {
	case o.jobs <- j:
		return nil
	default:
		o.given.Add(-1)
		o.refused.Add(1)
		j.cancel()
		return ErrOffloadFull
	}
}

func (o *offload) grow() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running.Load() < o.workers {
		o.running.Add(1)
		go o.work()
	}
}

func (o *offload) work() {
	for j := range o.jobs {
		o.do(j)
		j.cancel()
		o.given.Add(-1)
		j.reactor.Post(&j.Done)
	}
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
