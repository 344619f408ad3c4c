package cache

import (
	"sync/atomic"

	"github.com/edge-proxy/edge/engine"
)

const (
	readersMax = 64   // goroutines that read from disk
	loadsMax   = 1024 // and those that wait for one of them: if there are more, backends are asked
)

// loads read from disk beside the reactors. Safe for any goroutine.
type loads struct {
	slots   chan struct{}
	waiting atomic.Int32
}

// do has read run on a goroutine. It reports false where too many wait.
func (p *loads) do(read func()) bool {
	if p.waiting.Add(1) > loadsMax {
		p.waiting.Add(-1)
		return false
	}
	go func() {
		p.slots <- struct{}{}
		read()
		<-p.slots
		p.waiting.Add(-1)
	}()
	return true
}

// warmth says which bytes of a body on disk may be sent.
type warmth struct {
	until  int
	failed bool
}

// upTo returns up to where b, from a byte on, can be sent without waiting for a disk: sent, where it has to be loaded.
// It reports false where b cannot be read.
func (w *warmth) upTo(b *body, sent, end int) (_ int, ok bool) {
	if b.disk == nil {
		return end, true
	}
	if sent >= w.until && !w.failed {
		w.until = int(b.disk.Ready(int64(sent)))
	}
	return min(max(w.until, sent), end), !w.failed
}

// load has b read from a byte on, and w know of that when t runs on r. It reports false where too many wait.
func (l *reading) load(r *engine.Reactor, b *body, sent int, w *warmth, t *engine.Task) bool {
	if !b.take() {
		return false
	}
	ok := l.loads.do(func() {
		to, err := b.disk.Load(int64(sent))
		if w.until, w.failed = int(to), err != nil; w.failed {
			b.bodies.store.Delete(b.number)
		}
		b.release()
		r.Post(t)
	})
	if !ok {
		b.release()
	}
	return ok
}
