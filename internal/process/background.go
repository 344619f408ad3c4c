package process

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Background is work that a program does beside its connections, on a goroutine.
type Background struct {
	Name string
	// Run works until ctx ends: with the drain, or when an upgrade has handed over. It calls ready once connections may
	// be accepted, or returns nil, and is done. After an error or a panic it is begun again, 1, 2, … 30 s later.
	Run func(ctx context.Context, ready func()) error
}

const (
	readyWait    = 30 * time.Second // for all to be ready
	endWait      = 5 * time.Second  // for all to return
	retryMax     = 30 * time.Second
	retryForgets = time.Minute // work that has run for so long is begun again after a second
)

// backgrounds run what Options.Background has. Owned by the goroutine of Run and, during an upgrade, by its side.
type backgrounds struct {
	all []Background

	mu   sync.Mutex
	stop context.CancelFunc // nil: none runs; guarded by mu
	done *sync.WaitGroup    // of those that stop ends; guarded by mu
}

// begin starts all of them and returns when they are ready. The error names the first that is not.
func (b *backgrounds) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.done = stop, &sync.WaitGroup{}
	limit := time.After(readyWait)
	ready := make([]chan struct{}, len(b.all))
	for i := range b.all {
		ready[i] = make(chan struct{})
		say := sync.OnceFunc(func() { close(ready[i]) })
		b.done.Go(func() { b.all[i].keep(ctx, say) })
	}
	for i := range ready {
		select {
		case <-ready[i]:
		case <-limit:
			return fmt.Errorf("background %s: it is not ready after %v", b.all[i].Name, readyWait)
		}
	}
	return nil
}

// end makes all of them return, and waits for that, though not for long.
func (b *backgrounds) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop == nil {
		return
	}
	b.stop()
	done, ended := b.done, make(chan struct{})
	b.stop, b.done = nil, nil
	go func() { done.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(endWait):
		slog.Warn("background work does not end", "waited", endWait.String())
	}
}

// keep runs one until it is done, or ctx ends.
func (b *Background) keep(ctx context.Context, ready func()) {
	for pause := time.Second; ; pause = min(2*pause, retryMax) {
		begun := time.Now()
		err := b.run(ctx, ready)
		if err == nil || ctx.Err() != nil {
			ready()
			return
		}
		if time.Since(begun) > retryForgets {
			pause = time.Second
		}
		slog.Error("background failed", "name", b.Name, "error", err, "again", pause.String())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// run is Run; a panic is an error.
func (b *Background) run(ctx context.Context, ready func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return b.Run(ctx, ready)
}
