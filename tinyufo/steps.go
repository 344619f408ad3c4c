//go:build invariants

package tinyufo

import (
	"sync"
	"sync/atomic"
)

// beforeStep, when it is set, is called before each operation on what several goroutines write: a test that stops
// and resumes its goroutines there decides the order of their steps.
var beforeStep atomic.Pointer[func()]

func step() {
	if f := beforeStep.Load(); f != nil {
		(*f)()
	}
}

// sharedWord is an atomic.Uint64, step by step.
type sharedWord struct{ word atomic.Uint64 }

func (w *sharedWord) Load() uint64 { step(); return w.word.Load() }

func (w *sharedWord) Store(v uint64) { step(); w.word.Store(v) }

func (w *sharedWord) Add(d uint64) uint64 { step(); return w.word.Add(d) }

func (w *sharedWord) And(mask uint64) uint64 { step(); return w.word.And(mask) }

func (w *sharedWord) Or(mask uint64) uint64 { step(); return w.word.Or(mask) }

func (w *sharedWord) Swap(v uint64) uint64 { step(); return w.word.Swap(v) }

func (w *sharedWord) CompareAndSwap(old, v uint64) bool { step(); return w.word.CompareAndSwap(old, v) }

// sharedHalf is an atomic.Uint32, step by step.
type sharedHalf struct{ half atomic.Uint32 }

func (h *sharedHalf) Load() uint32 { step(); return h.half.Load() }

func (h *sharedHalf) Store(v uint32) { step(); h.half.Store(v) }

// sharedCount is an atomic.Int64, step by step.
type sharedCount struct{ count atomic.Int64 }

func (c *sharedCount) Load() int64 { step(); return c.count.Load() }

func (c *sharedCount) Store(v int64) { step(); c.count.Store(v) }

func (c *sharedCount) Add(d int64) int64 { step(); return c.count.Add(d) }

// sharedPointer is an atomic.Pointer, step by step.
type sharedPointer[T any] struct{ pointer atomic.Pointer[T] }

func (p *sharedPointer[T]) Load() *T { step(); return p.pointer.Load() }

func (p *sharedPointer[T]) Store(v *T) { step(); p.pointer.Store(v) }

func (p *sharedPointer[T]) Swap(v *T) *T { step(); return p.pointer.Swap(v) }

func (p *sharedPointer[T]) CompareAndSwap(old, v *T) bool {
	step()
	return p.pointer.CompareAndSwap(old, v)
}

// mutex is a sync.Mutex that waits step by step while a test decides the order.
type mutex struct{ mu sync.Mutex }

func (m *mutex) TryLock() bool { step(); return m.mu.TryLock() }

func (m *mutex) Lock() {
	if beforeStep.Load() == nil {
		m.mu.Lock()
		return
	}
	for !m.TryLock() {
	}
}

func (m *mutex) Unlock() { step(); m.mu.Unlock() }
