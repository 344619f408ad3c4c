package content

import "sync/atomic"

const (
	readersMax = 64   // goroutines that read from disk
	loadsMax   = 1024 // that wait for one of them, before nothing new is begun
)

// Loads read from disk beside the reactors. Safe for any goroutine.
type Loads struct {
	slots   chan struct{}
	waiting atomic.Int32
}

// NewLoads makes Loads.
func NewLoads() *Loads { return &Loads{slots: make(chan struct{}, readersMax)} }

// Do runs read on a goroutine, once fewer than 64 of them run.
func (p *Loads) Do(read func()) {
	p.waiting.Add(1)
	go func() {
		p.slots <- struct{}{}
		read()
		<-p.slots
		p.waiting.Add(-1)
	}()
}

// Full reports whether so many wait that nothing should be begun which has to be loaded. What was begun goes on.
func (p *Loads) Full() bool { return p.waiting.Load() >= loadsMax }

// Warmth says which bytes of a body may be sent to one exchange.
type Warmth struct {
	until  int
	failed bool
}

// UpTo returns up to where b, from a byte on, can be sent without waiting for a disk: sent, where it has to be loaded.
// It reports false where b cannot be read.
func (w *Warmth) UpTo(b Body, sent, end int) (_ int, ok bool) {
	if sent >= w.until && !w.failed {
		w.until = int(b.Ready(int64(sent)))
	}
	return min(max(w.until, sent), end), !w.failed
}
