package engine_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/engine"
)

// idler is an echo that closes in a drain only when it says that it is idle.
type idler struct {
	echo
	idle *atomic.Bool
}

func (h idler) Idle() bool { return h.idle.Load() }

// An open connection is served on. What is idle is closed in the last tenth of the grace, what is not is left.
func TestEngine_drain(t *testing.T) {
	for name, idle := range map[string]bool{"idle": true, "busy": false} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { drain(t, idle) }) })
	}
}

// drain plays a drain of 10 s with one connection. Its clock is that of a synctest bubble.
func drain(t *testing.T, idle bool) {
	g := newRig(t, engine.Options{})
	var flag atomic.Bool
	_, fd := g.open(idler{idle: &flag})
	done, begun := make(chan bool, 1), time.Now()
	go func() { done <- g.engine.Drain(10 * time.Second) }()
	synctest.Wait()
	g.pass(time.Second)
	if !g.engine.Draining() || g.loop.Sock(g.door).Open {
		t.Fatal("it still listens")
	}
	time.Sleep(9*time.Second - time.Millisecond)
	synctest.Wait()
	g.inject(fd, "during")
	g.want(g.sent(fd), "during")
	if g.loop.Sock(fd).FIN {
		t.Fatal("closed before its time")
	}
	flag.Store(idle) // after all that this goroutine did with the reactor, which is asked on another one
	time.Sleep(2 * time.Millisecond)
	synctest.Wait()
	g.ticks(2)
	if g.loop.Sock(fd).FIN != idle {
		t.Fatalf("idle %v, closed %v", idle, !idle)
	}
	if idle {
		g.loop.Finish(fd)
		g.ticks(2)
	}
	if got, took := <-done, time.Since(begun); got != idle || (took < 10*time.Second) != idle {
		t.Errorf("drained %v after %v", got, took)
	}
}
