package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/tlsconn"
)

// lastAnswers is for how long Run waits for answers when its context has ended.
const lastAnswers = time.Second

// Run loads the server until o.Duration has passed or ctx ends. The error says why nothing could be measured: an
// option that makes no sense, or no connection at all. Everything else is in the Result.
func Run(ctx context.Context, o Options) (*Result, error) {
	p, err := o.plan(ctx)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	e, workers, err := p.start()
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, workers); err != nil {
		e.Stop()
		return nil, err
	}
	before := usage()
	for _, w := range workers {
		w.reactor.Post(&w.beginTask)
	}
	p.waitOver(ctx, workers)
	cpu := usage() - before
	stats := e.Stats()
	e.Stop()
	r := sum(workers)
	r.BytesIn, r.BytesOut, r.CPU, r.Rate = stats.BytesIn, stats.BytesOut, cpu, p.Rate
	return r, nil
}

// start starts an engine with a worker on each reactor, which connects.
func (p *plan) start() (*engine.Engine, []*worker, error) {
	workers := make([]*worker, p.Threads)
	for i := range workers {
		workers[i] = newWorker(p, i)
	}
	e, err := engine.New(engine.Options{
		Reactors: p.Threads, SendMax: 1<<20 + p.Depth*len(p.wire),
		Kernel: func(i int) (poller.Kernel, error) {
			k, err := poller.NewEpoll(poller.ParkAuto)
			if err != nil || p.Rate == 0 {
				return k, err
			}
			return &pacedKernel{Kernel: k, worker: workers[i]}, nil
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("event loops: %w", err)
	}
	var hs *tlsconn.Handshaker
	if p.TLS != nil {
		hs = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Max: 2 * p.Connections, Timeout: p.Timeout})
	}
	co := p.clientTLS()
	for i, r := range e.Reactors() {
		w := workers[i]
		w.reactor, w.handshaker, w.tls = r, hs, co
		r.Post(&w.connectTask)
	}
	e.Start()
	return e, workers, nil
}

func (p *plan) clientTLS() *tlsconn.ClientOptions {
	if p.TLS == nil {
		return nil
	}
	c := p.TLS.Clone()
	if c.NextProtos = []string{"http/1.1"}; p.Protocol == HTTP2 {
		c.NextProtos = []string{"h2"}
	}
	return &tlsconn.ClientOptions{Config: c}
}

// await waits until each worker has connected, as far as it could. The error is the first failure where none could.
func (p *plan) await(ctx context.Context, workers []*worker) error {
	var first error
	open := 0
	for _, w := range workers {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s := <-w.connected:
			open += s.open
			if first == nil {
				first = s.failure
			}
		}
	}
	if open == 0 && !p.Reconnect {
		return fmt.Errorf("no connection to %s: %w", p.Addr, first)
	}
	return nil
}

// waitOver waits until each worker is done: by itself, or soon after ctx has ended.
func (p *plan) waitOver(ctx context.Context, workers []*worker) {
	last := time.NewTimer(p.Duration + 2*p.Timeout)
	defer last.Stop()
	ended := ctx.Done()
	for _, w := range workers {
		for over := false; !over; {
			select {
			case <-w.done:
				over = true
			case <-last.C:
				return
			case <-ended:
				ended = nil
				last.Reset(lastAnswers)
				for _, w := range workers {
					w.reactor.Post(&w.endTask)
				}
			}
		}
	}
}

// sum adds up what the workers have counted. They do not run any more.
func sum(workers []*worker) *Result {
	r := new(Result)
	all := newHistogram()
	for _, w := range workers {
		r.Elapsed = max(r.Elapsed, time.Duration(max(w.ends, w.answeredAt)-w.began)) // late answers included
		all.Merge(w.latencies)
		r.Requests += w.requests
		r.Status.add(&w.status)
		r.Errors.add(&w.errors)
		r.Opened += w.opened
		r.Reopened += w.reopened
		r.Unsent += w.unsent
		r.Late = max(r.Late, time.Duration(w.late))
		if r.Failure == "" && w.failure != nil {
			r.Failure = w.failure.Error()
		}
	}
	r.Latency = latencyOf(all)
	return r
}

// usage is the processor time of this process.
func usage() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// pacedKernel wakes a reactor at the time of its worker's next request. The wheel of a reactor keeps times in granules
// of a millisecond, which would make bursts of a steady rate. Owned by its reactor.
type pacedKernel struct {
	poller.Kernel
	worker *worker
}

// Wait waits as the Kernel does, but not beyond the next request.
func (k *pacedKernel) Wait(dst []poller.Event, until int64) int {
	w := k.worker
	if w.wake != 0 && until != 0 && (until < 0 || w.wake < until) {
		until = w.wake
	}
	n := k.Kernel.Wait(dst, until)
	if w.wake != 0 && k.Now() >= w.wake {
		w.postSend()
	}
	return n
}
