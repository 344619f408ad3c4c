package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// lastAnswers is for how long Run waits for answers when its context has ended.
const lastAnswers = time.Second

// Run loads the server until o.Duration has passed or ctx ends. The error says why nothing could be measured: an
// option that makes no sense, or no connection at all. Everything else is in the Result, which is empty where ctx ends
// while connections are opened.
func Run(ctx context.Context, o Options) (*Result, error) {
	p, err := o.plan(ctx)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, err
	}
	engines, workers, err := p.start()
	defer stop(engines)
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, workers); ctx.Err() != nil {
		stop(engines)
		return sum(workers), nil
	} else if err != nil {
		return nil, err
	}
	before := usage()
	for _, w := range workers {
		w.reactor.Post(&w.beginTask)
	}
	p.waitOver(ctx, workers)
	cpu := usage() - before
	var in, out uint64
	for _, e := range engines {
		s := e.Stats()
		in, out = in+s.BytesIn, out+s.BytesOut
	}
	stop(engines)
	r := sum(workers)
	r.BytesIn, r.BytesOut, r.CPU, r.Rate = r.BytesIn+in, r.BytesOut+out, cpu, p.Rate
	return r, nil
}

func stop(engines []*engine.Engine) {
	for _, e := range engines {
		e.Stop()
	}
}

// start starts the engines with a worker on each reactor, which connects. After an error it returns those that stand.
func (p *plan) start() (engines []*engine.Engine, workers []*worker, err error) {
	reactors := p.Threads
	if p.Protocol == HTTP3 {
		reactors = 1 // of each engine: all its reactors have sockets at the port of a client, which needs one
	}
	for len(workers) < p.Threads && err == nil {
		more := make([]*worker, reactors)
		for i := range more {
			more[i] = newWorker(p, len(workers)+i)
		}
		workers = append(workers, more...)
		var e *engine.Engine
		if e, err = p.engine(more); err == nil {
			engines = append(engines, e)
			err = p.connect(e, more)
		}
	}
	return engines, workers, err
}

// engine makes the engine of workers.
func (p *plan) engine(workers []*worker) (*engine.Engine, error) {
	e, err := engine.New(engine.Options{
		Reactors: len(workers), SendMax: 1<<20 + p.Depth*len(p.wire),
		Kernel: func(i int) (poller.Kernel, error) {
			k, err := poller.NewEpoll(poller.ParkAuto)
			if err != nil || p.Rate == 0 {
				return k, err
			}
			return &pacedKernel{Kernel: k, worker: workers[i]}, nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("event loops: %w", err)
	}
	return e, nil
}

// connect starts e, whose workers connect.
func (p *plan) connect(e *engine.Engine, workers []*worker) error {
	var hs *tlsconn.Handshaker
	if p.TLS != nil {
		hs = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{Max: 2 * p.Connections, Timeout: p.Timeout})
	}
	co := p.clientTLS()
	e.Start()
	for i, r := range e.Reactors() {
		w := workers[i]
		w.reactor, w.handshaker, w.tls = r, hs, co
		for _, x := range w.peers {
			if c, ok := x.self.(*h3Client); ok {
				if err := c.listen(e); err != nil {
					return fmt.Errorf("UDP port: %w", err)
				}
			}
		}
		r.Post(&w.connectTask)
	}
	return nil
}

func (p *plan) clientTLS() *tlsconn.ClientOptions {
	if p.TLS == nil {
		return nil
	}
	c := p.TLS.Clone()
	switch c.NextProtos = []string{"http/1.1"}; p.Protocol {
	case HTTP2:
		c.NextProtos = []string{"h2"}
	case HTTP3:
		c.NextProtos, c.MinVersion = []string{"h3"}, tls.VersionTLS13
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
		r.BytesIn += w.h3.in
		r.BytesOut += w.h3.out
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
