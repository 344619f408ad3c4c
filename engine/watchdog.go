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
	stacksMax  = 1 << 20     // bytes of all stacks that are looked through for the reactors'
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

// look reports the first reactor that hangs in a tick.
func (w *watchdog) look(e *Engine) bool {
	for _, r := range e.reactors {
		from := r.mail.awake.Load()
		if from <= 0 { // it waits
			continue
		}
		if d := r.kernel.Now() - from; d > slowTick && r.mail.awake.Load() == from {
			slog.Warn("a callback keeps its reactor", "reactor", r.index, "for", time.Duration(d),
				"stacks", reactorStacks())
			return true
		}
	}
	return false
}

// reactorStacks returns the stacks of the goroutines that run reactors.
func reactorStacks() string {
	all := make([]byte, stacksMax)
	all = all[:runtime.Stack(all, true)]
	var found []string
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if strings.Contains(stack, "engine.(*Reactor).Tick(") {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}
