package engine

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// lines is what the default logger says during a test.
type lines struct{ testutil.Output }

func listen(t *testing.T) *lines {
	l := &lines{}
	testutil.EventLog(t, slog.NewJSONHandler(l, nil))
	return l
}

// about waits until the watchdog reports reactor 1, and returns that line. On a busy machine it may report the other.
func (l *lines) about(t *testing.T, e *Engine) (line string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		e.logStuck()
		for line = range strings.Lines(l.Take()) {
			if strings.Contains(line, `"reactor":1,`) {
				return true
			}
		}
		return false
	}, "the watchdog reports")
	if n := strings.Count(line, "engine.(*Reactor).run("); n != 1 {
		t.Errorf("%d stacks, want that of the reactor: %s", n, line)
	}
	return line
}

func hang(block chan struct{}) { <-block }

func TestWatchdog_namesTheCallbackThatHangs(t *testing.T) {
	said := listen(t)
	e, err := New(Options{Reactors: 3})
	testutil.Must(t, err)
	e.Start()
	defer e.Stop()
	block, begun := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(block) })
	defer release()
	e.reactors[1].Post(&Task{Run: func(*Reactor) { close(begun); hang(block) }})
	<-begun
	line := said.about(t, e)
	if !strings.Contains(line, `"msg":"a callback keeps its reactor"`) || !strings.Contains(line, "engine.hang(") {
		t.Errorf("got %s", line)
	}
	release()
	testutil.Eventually(t, testutil.Patience, func() bool {
		st := e.Stats()
		return st.SlowTicks > 0 && st.SlowestTick > slowTick
	})
	// On a busy machine any tick may be slow. A reactor that sleeps is not in one.
	testutil.Eventually(t, testutil.Patience, func() bool { return !e.logStuck() }, "nobody is reported")
}

// starved is a kernel whose looks for events, between two ticks without sleep, take as long as the test likes: as if
// the reactor got no processor there.
type starved struct {
	poller.Kernel
	starve  atomic.Bool
	release chan struct{}
}

func (k *starved) Wait(dst []poller.Event, until int64) int {
	if until == 0 && k.starve.Load() {
		<-k.release
	}
	return k.Kernel.Wait(dst, until)
}

func TestWatchdog_blamesNoCallbackForABusyMachine(t *testing.T) {
	said := listen(t)
	k := &starved{release: make(chan struct{})}
	e, err := New(Options{Reactors: 2, Kernel: func(i int) (poller.Kernel, error) {
		epoll, err := poller.NewEpoll(poller.ParkRuntime)
		if i == 0 || err != nil {
			return epoll, err
		}
		k.Kernel = epoll
		return k, nil
	}})
	testutil.Must(t, err)
	e.Start()
	defer e.Stop()
	var over atomic.Bool
	defer func() {
		over.Store(true)
		close(k.release)
	}()
	var again Task
	again.Run = func(r *Reactor) { // there is always more to do: it does not sleep
		if k.starve.Store(true); !over.Load() {
			r.Defer(&again)
		}
	}
	e.reactors[1].Post(&again)
	line := said.about(t, e)
	if !strings.Contains(line, `"msg":"a reactor does not get to run"`) {
		t.Errorf("got %s", line)
	}
}

// A reactor that hangs is noticed at the second question, and its answer counts again once it goes on.
func TestPulse(t *testing.T) {
	e, err := New(Options{Reactors: 2})
	testutil.Must(t, err)
	p := e.NewPulse()
	if p.Beat() {
		t.Fatal("it beats before the reactors run")
	}
	e.Start()
	defer e.Stop()
	for range 3 {
		testutil.Eventually(t, testutil.Patience, p.Beat, "idle reactors go on")
	}
	block, begun := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(block) })
	defer release()
	e.reactors[1].Post(&Task{Run: func(*Reactor) { close(begun); hang(block) }})
	<-begun
	p.Beat() // it may have answered the question before
	for range 1000 {
		if p.Beat() {
			t.Fatal("it beats while a reactor hangs")
		}
	}
	release()
	testutil.Eventually(t, testutil.Patience, p.Beat, "both go on")
	if n := testutil.Allocs(100, func() { p.Beat() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
