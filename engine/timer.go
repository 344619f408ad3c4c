package engine

import "github.com/edge-proxy/edge/timerwheel"

// Timer is a deadline that belongs to no Conn. The zero value, with Run set, is ready.
// Owned by the reactor it is armed on.
type Timer struct {
	Run     func(r *Reactor) // set once; runs as a deferred task, never nested
	entry   timerwheel.Timer
	task    Task
	reactor *Reactor
	due     bool // fired and not disarmed
	queued  bool // its task is deferred and has not run
}

// Arm arranges for t.Run at the absolute time at (see Now). It replaces the time set before, even if that has come in
// this tick; moving it later is cheap. A Timer stays with the reactor it was first armed on.
func (r *Reactor) Arm(t *Timer, at int64) {
	r.MustOwn()
	if t.reactor == nil {
		t.reactor = r
		t.entry.Owner = (*firing)(t)
		t.task.Run = t.fire
	}
	t.due = false
	r.wheel.Arm(&t.entry, at)
}

// Disarm stops t: Run is not called, even if its time has come in this tick.
func (r *Reactor) Disarm(t *Timer) {
	r.MustOwn()
	r.wheel.Disarm(&t.entry)
	t.due = false
}

// pending reports whether t.Run is still to come.
func (t *Timer) pending() bool { return t.due || t.entry.Armed() }

// firing is a Timer as the wheel sees it.
type firing Timer

// OnTimer runs inside the wheel: it makes no callback, it defers the task.
func (f *firing) OnTimer(*timerwheel.Timer, int64) {
	f.due = true
	if !f.queued {
		f.queued = true
		f.reactor.Defer(&f.task)
	}
}

func (t *Timer) fire(r *Reactor) {
	t.queued = false
	if t.due {
		t.due = false
		t.Run(r)
	}
}
