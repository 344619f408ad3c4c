package engine

import (
	"log/slog"
	"runtime"
	"strings"
	"time"
)

// The watchdog looks once a second, since a more frequent timer costs a saturated reactor more than it tells.
const (
	watchEvery = time.Second
	watchLog   = time.Minute // at most one report of a slow tick in this time
	stacksMax  = 1 << 20     // bytes of all stacks that are looked through for that of the reactor
)

// watchdog looks whether a reactor has been in the same tick for too long, and logs where.
// Guarded by being one goroutine.
type watchdog struct {
	quit chan struct{}
}

func (w *watchdog) start(e *Engine) {
	w.quit = make(chan struct{})
	go w.run(e)
}

func (w *watchdog) stop() {
	if w.quit != nil {
		close(w.quit)
	}
}

func (w *watchdog) run(e *Engine) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	var logged time.Time
	for {
		select {
		case <-w.quit:
			return
		case now := <-t.C:
			if now.Sub(logged) >= watchLog && w.look(e) {
				logged = now
			}
		}
	}
}

// look reports the first reactor that hangs in a tick, or between two of them, without sleeping there.
func (w *watchdog) look(e *Engine) bool {
	for _, r := range e.reactors {
		from := r.mail.awake.Load()
		if from <= 0 { // it waits
			continue
		}
		d := r.kernel.Now() - from
		if d <= slowTick {
			continue
		}
		stack := r.stack()
		if r.mail.awake.Load() != from { // it went on, and this is from elsewhere
			continue
		}
		what := "a callback keeps its reactor"
		if stack != "" && !strings.Contains(stack, "engine.(*Reactor).work(") {
			what = "a reactor does not get to run" // too few processors, or a machine that stood still
		}
		slog.Warn(what, "reactor", r.index, "for", time.Duration(d), "stack", stack)
		return true
	}
	return false
}

// stack returns the stack of the goroutine that runs r; "" when it is not among the first stacksMax bytes of all.
func (r *Reactor) stack() string {
	id := r.goroutine.Load()
	if id == nil {
		return ""
	}
	all := make([]byte, stacksMax)
	all = all[:runtime.Stack(all, true)]
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if strings.HasPrefix(stack, *id+" ") {
			return stack
		}
	}
	return ""
}

// goroutine returns how the stack of the calling goroutine begins: "goroutine" and a number.
func goroutine() *string {
	begin := make([]byte, 64)
	begin = begin[:runtime.Stack(begin, false)]
	id, _, _ := strings.Cut(string(begin), " [")
	return &id
}
