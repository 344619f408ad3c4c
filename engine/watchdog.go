package engine

import (
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// The watchdog looks once a second: a more frequent timer would cost a busy reactor too much.
const (
	watchEvery = time.Second
	watchLog   = time.Minute // at most one report of a slow tick in this time
	stacksMax  = 1 << 20     // bytes of all stacks among which the stack of the reactor is looked for
)

// slowTick is the length from which a tick counts as slow.
const slowTick = int64(10 * time.Millisecond)

// watch is the goroutine of the watchdog. It logs where a reactor is that has been in the same tick for too long.
func (e *Engine) watch() {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	var logged time.Time
	for {
		select {
		case <-e.unwatch:
			return
		case now := <-t.C:
			if now.Sub(logged) >= watchLog && e.logStuck() {
				logged = now
			}
		}
	}
}

// logStuck logs the first reactor that is stuck in a tick, or does not get to run between two.
func (e *Engine) logStuck() bool {
	for _, r := range e.reactors {
		from := r.mail.awake.Load()
		if from <= 0 { // it waits
			continue
		}
		d := r.kernel.Now() - from
		if d <= slowTick {
			continue
		}
		stack := stackOf(r.goroutine.Load())
		if r.mail.awake.Load() != from { // it went on, and the stack is of a later tick
			continue
		}
		what := "a callback keeps its reactor"
		if stack != "" && !strings.Contains(stack, "engine.(*Reactor).work(") {
			what = "a reactor does not get to run" // too few processors, or the machine was stopped
		}
		slog.Warn(what, "reactor", r.index, "for", time.Duration(d), "stack", stack)
		return true
	}
	return false
}

// stackOf returns the stack of a goroutine that goroutine told of; "" for nil, and when it is not among the first
// stacksMax bytes of all.
func stackOf(id *string) string {
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

// Pulse tells whether all reactors go through their ticks, for a watchdog outside of the process.
// Owned by one goroutine, not a reactor's.
type Pulse struct {
	engine *Engine
	asked  []heartbeat // by Reactor.Index
}

// heartbeat is a question that a reactor has yet to answer, or has answered.
type heartbeat struct {
	task Task
	open atomic.Bool // set by the Pulse before it posts the task, cleared by the task
}

// NewPulse returns a Pulse of e.
func (e *Engine) NewPulse() *Pulse {
	p := &Pulse{engine: e, asked: make([]heartbeat, len(e.reactors))}
	for i := range p.asked {
		q := &p.asked[i]
		q.task.Run = func(*Reactor) { q.open.Store(false) }
	}
	return p
}

// Beat reports whether every reactor has gone on since the call before, and asks all that have. It does not wait. It is
// false until the reactors run.
func (p *Pulse) Beat() bool {
	if !p.engine.started.Load() {
		return false
	}
	all := true
	for i := range p.asked {
		if p.asked[i].open.Load() { // its task is still in the mailbox
			all = false
			continue
		}
		p.asked[i].open.Store(true)
		p.engine.reactors[i].Post(&p.asked[i].task)
	}
	return all
}
