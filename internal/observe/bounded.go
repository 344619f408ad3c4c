package observe

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

// ErrWriteWait says that an output did not take what was written in time.
var ErrWriteWait = errors.New("observe: output did not take the text in time")

// Bounded is an output that is waited for only so long. It is for the last words of a process: they are written before
// Write returns, but a pipe that is not read must not keep the process from ending.
// Safe for any goroutine.
type Bounded struct {
	out  io.Writer
	wait time.Duration

	mu   sync.Mutex    // held by the one Write that waits
	left chan struct{} // closed when the write that was given up returns; nil: none was. guarded by mu
}

// NewBounded wraps out, each write to which is waited for at most for wait.
func NewBounded(out io.Writer, wait time.Duration) *Bounded { return &Bounded{out: out, wait: wait} }

// Write writes p. As long as a write before hangs it fails at once.
func (b *Bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left != nil {
		select {
		case <-b.left:
			b.left = nil
		default:
			return 0, ErrWriteWait
		}
	}
	var n int
	var err error
	text, done := bytes.Clone(p), make(chan struct{}) // p is the caller's again when this gives up
	go func() {
		defer close(done)
		n, err = b.out.Write(text)
	}()
	wait := time.NewTimer(b.wait)
	defer wait.Stop()
	select {
	case <-done:
		return n, err
	case <-wait.C:
		b.left = done
		return 0, ErrWriteWait
	}
}
