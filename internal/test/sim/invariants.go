//go:build invariants

package sim

import (
	"slices"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// A walk takes longer than the Wait that it follows: after the first walkedFirst steps only one in walkEvery has one.
const (
	walkedFirst = 256
	walkEvery   = 32
)

// check panics when the invariants of Kernel and of end do not hold.
func (w *World) check() {
	if w.steps > walkedFirst && w.steps%walkEvery != 0 {
		return
	}
	for _, k := range w.kernels {
		k.check()
	}
	var room [64]*end
	flights := room[:0]
	for i := range w.events {
		if e := w.events[i].flight; e != nil {
			invariant.That(!slices.Contains(flights, e), "an end has two flights")
			flights = append(flights, e)
		}
	}
	for _, e := range flights {
		e.check(flights)
	}
	for _, f := range w.files {
		if f != nil && f.end != nil {
			invariant.That(f.end.file == f, "fd %d is not the one of its end", f.fd)
			f.end.check(flights)
		}
	}
	for _, p := range w.peers {
		p.e.check(flights)
	}
}

// check panics when the invariants of Kernel do not hold.
func (k *Kernel) check() {
	for i, f := range k.ready {
		invariant.That(f.watcher == k && f.queued, "fd %d is ready, queued %v", f.fd, f.queued)
		invariant.That(slices.Index(k.ready, f) == i, "fd %d is ready twice", f.fd)
	}
	queued := 0
	for _, f := range k.w.files {
		if f != nil && f.watcher == k && f.queued {
			queued++
		}
	}
	invariant.That(queued == len(k.ready), "%d files are queued, %d ready", queued, len(k.ready))
	invariant.That(!k.asleep || k.until != 0, "asleep without a time to wait for")
}

// check panics when the invariants of end do not hold. flights are the ends of which an event is in the queue.
func (e *end) check(flights []*end) {
	invariant.That(!e.dead || e.shutRead && e.shutWrite, "dead and not shut: %v", e)
	invariant.That(!e.closed || e.file == nil, "closed, and fd %d is open", fdOf(e))
	invariant.That(e.flying == slices.Contains(flights, e), "flying %v, and not as the queue has it", e.flying)
}

func fdOf(e *end) int {
	if e.file == nil {
		return -1
	}
	return int(e.file.fd)
}
