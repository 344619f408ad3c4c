package engine_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// idler is an echo that closes in a drain only when it says that it is idle.
type idler struct {
	echo
	idle *atomic.Bool
}

func (h idler) Idle() bool { return h.idle.Load() }

// An open connection is served on. What is idle is closed in the last third of the grace, what is not is left.
func TestEngine_drain(t *testing.T) {
	for name, idle := range map[string]bool{"idle": true, "busy": false} {
		t.Run(name, func(t *testing.T) { testutil.Bubble(t, func(t *testing.T) { drain(t, idle) }) })
	}
}

// drain plays a drain of 12 s with one connection. Its clock is that of a synctest bubble, that of the reactor another.
func drain(t *testing.T, idle bool) {
	g := newRig(t, engine.Options{})
	var flag atomic.Bool
	_, fd := g.open(idler{idle: &flag})
	done, begun := make(chan bool, 1), time.Now()
	go func() { done <- g.engine.Drain(12 * time.Second) }()
	synctest.Wait()
	g.pass(time.Second)
	if !g.engine.Draining() || g.loop.Sock(g.door).Open {
		t.Fatal("it still listens")
	}
	time.Sleep(8*time.Second - time.Millisecond)
	synctest.Wait()
	g.inject(fd, "during")
	g.want(g.sent(fd), "during")
	g.pass(10 * time.Second)
	if g.loop.Sock(fd).FIN {
		t.Fatal("closed before its time")
	}
	flag.Store(idle)
	g.listener.Close() // a second time, after all that this goroutine did with the reactor: the one that drains asks
	time.Sleep(2 * time.Millisecond)
	synctest.Wait()
	g.ticks(2)
	g.pass(4*time.Second - 4*time.Second/8)
	if g.loop.Sock(fd).FIN != idle {
		t.Fatalf("idle %v, closed %v", idle, !idle)
	}
	if idle {
		g.loop.Finish(fd)
		g.ticks(2)
	}
	if got, took := <-done, time.Since(begun); got != idle || (took < 12*time.Second) != idle {
		t.Errorf("drained %v after %v", got, took)
	}
}

// parter counts what a drain has it do.
type parter struct {
	idler
	parted, told *int
}

func (h parter) OnPart(c *engine.Conn)               { *h.parted++; c.Finish() }
func (h parter) OnDrain(*engine.Conn, time.Duration) { *h.told++ }

// Connections that are left are ended over the whole last third, few at a time: their clients do not all come back at
// once. One that is busy is left alone and hears of the end.
func TestEngine_drainSpreadsTheEnds(t *testing.T) {
	const conns, steps = 2000, 50
	testutil.Bubble(t, func(t *testing.T) {
		g := newRig(t, engine.Options{})
		var idle, busy atomic.Bool
		idle.Store(true)
		parted, told := 0, 0
		for range conns {
			g.open(parter{idler{idle: &idle}, &parted, &told})
		}
		busyTold := 0
		g.open(parter{idler{idle: &busy}, new(int), &busyTold})
		done := make(chan bool, 1)
		go func() { done <- g.engine.Drain(30 * time.Second) }()
		defer func() { <-done }()
		synctest.Wait()
		g.pass(time.Second)
		g.listener.Close() // as above
		time.Sleep(20*time.Second + time.Millisecond)
		synctest.Wait()
		g.ticks(2)
		if told != conns || parted != 0 {
			t.Fatalf("%d were told, %d ended", told, parted)
		}
		most, before := 0, 0
		for range steps {
			g.pass(10 * time.Second / steps)
			most, before = max(most, parted-before), parted
		}
		if parted != conns || most > 3*conns/steps {
			t.Errorf("%d of %d ended, %d in one of %d parts of the time", parted, conns, most, steps)
		}
		if busyTold != 2 {
			t.Errorf("a busy one was told %d times", busyTold)
		}
	})
}
