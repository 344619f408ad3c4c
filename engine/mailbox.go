package engine

import "sync/atomic"

// Task is a piece of work for a reactor. It is intrusive: posting one allocates nothing. A Task that was posted must
// not be posted again before its Run has begun.
// Owned by its poster until Run has begun, then by the reactor.
type Task struct {
	next *Task
	Run  func(r *Reactor) // set once by its owner; runs on the reactor, never nested in a callback
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
