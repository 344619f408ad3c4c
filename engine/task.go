package engine

import (
	"sync/atomic"

	"github.com/edge-proxy/edge/timerwheel"
)

// Task is a piece of work for a reactor. It is intrusive: posting one allocates nothing. A Task that was posted must
// not be posted again before its Run has begun.
// Owned by its poster until Run has begun, then by the reactor.
type Task struct {
	next *Task
	Run  func(r *Reactor) // set once by its owner; runs on the reactor, never nested in a callback
}

// Post hands t to r. Safe for any goroutine; allocates nothing. Tasks of one goroutine run in their order.
func (r *Reactor) Post(t *Task) {
	if r.mail.post(t) {
		r.kernel.Wake()
	}
}

// Defer runs t in a later step of this tick, or of the next one. On r only; allocates nothing. As with Post, t must not
// be on its way already.
func (r *Reactor) Defer(t *Task) {
	r.MustOwn()
	t.next = nil
	if r.laterTail == nil {
		r.later = t
	} else {
		r.laterTail.next = t
	}
	r.laterTail = t
}

// mailbox is an unbounded queue with many producers and one consumer.
//
// Producers push onto a stack by compare-and-swap; the consumer takes the whole stack by one swap and reverses it. So
// there is no ABA: nothing is ever popped from a stack that others push to. The swap orders what a producer wrote
// before Post before what the consumer reads in Run.
//
// It is bounded by what its users own: a task is embedded in an exchange, a connection or a job, and each of these
// is counted and limited.
type mailbox struct {
	head  atomic.Pointer[Task]
	awake atomic.Int64 // when the consumer began to work, by its clock; or asleep, or woken
}

// Values of mailbox.awake that are not a time.
const (
	asleep = 0  // the consumer sleeps or is about to; the producer that changes it wakes the consumer
	woken  = -1 // a producer did
)

// post adds t and reports whether the consumer has to be woken.
//
// The consumer says asleep and then looks at head; a producer sets head and then looks at awake. Both are
// sequentially consistent, so at least one of the two sees the other: the consumer never sleeps on a task.
func (m *mailbox) post(t *Task) bool {
	for {
		old := m.head.Load()
		t.next = old
		if m.head.CompareAndSwap(old, t) {
			break
		}
	}
	return m.awake.Load() == asleep && m.awake.CompareAndSwap(asleep, woken)
}

// take empties the mailbox and returns its tasks, oldest first.
func (m *mailbox) take() *Task {
	if m.head.Load() == nil {
		return nil
	}
	var first *Task
	for t := m.head.Swap(nil); t != nil; {
		next := t.next
		t.next, first = first, t
		t = next
	}
	return first
}

func (m *mailbox) empty() bool { return m.head.Load() == nil }

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
