package engine

import (
	"context"
	"sync"
	"sync/atomic"
)

// OffloadOptions bound the pool for code that blocks. The zero value is good.
type OffloadOptions struct {
	Workers int // goroutines at one time; 0: 256
	Queue   int // jobs that wait for one; 0: 1024
}

// Job is work that may block: Do runs on a worker, then Done on the reactor the job was given on.
// Owned by the reactor before Offload and from Done on, by the worker in between.
type Job struct {
	Do      func(ctx context.Context)
	Done    Task
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

// offload is a bounded pool of goroutines: they are started when needed and stay.
type offload struct {
	jobs    chan *Job
	workers int
	idle    atomic.Int64
	refused atomic.Uint64
	mu      sync.Mutex
	running int // guarded by mu
	wait    sync.WaitGroup
}

func (o *offload) init(opts OffloadOptions) {
	setDefault(&opts.Workers, 256)
	setDefault(&opts.Queue, 1024)
	o.workers = opts.Workers
	o.jobs = make(chan *Job, opts.Queue)
}

// Offload gives j to a worker, or refuses it with ErrOffloadFull when all are busy and the queue is full: it never
// waits. On r only.
func (r *Reactor) Offload(j *Job) error {
	o := &r.engine.offload
	j.reactor = r
	j.ctx, j.cancel = context.WithCancel(context.Background())
	if o.idle.Load() <= int64(len(o.jobs)) {
		o.grow()
	}
	select {
	case o.jobs <- j:
		return nil
	default:
		o.refused.Add(1)
		j.cancel()
		return ErrOffloadFull
	}
}

func (o *offload) grow() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running < o.workers {
		o.running++
		o.wait.Add(1)
		go o.work()
	}
}

func (o *offload) work() {
	defer o.wait.Done()
	for {
		o.idle.Add(1)
		j, ok := <-o.jobs
		o.idle.Add(-1)
		if !ok {
			return
		}
		j.Do(j.ctx)
		j.cancel()
		j.reactor.Post(&j.Done)
	}
}

// stop ends the workers after what is queued. The reactors have ended by then, nobody gives jobs any more.
func (o *offload) stop() {
	close(o.jobs)
}
