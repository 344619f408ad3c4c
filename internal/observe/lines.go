package observe

import (
	"sync"
	"sync/atomic"
)

// lineMax bounds a single line of Lines.
const lineMax = 4 << 20

// Lines is a producer that many goroutines share, reactors among them: what a logger writes to. The lock is held while
// a line is copied, never while one is written, so that lines keep their order and no goroutine waits for the output.
// As much may wait as a ring holds; the line that reaches this bound still has room, however long it is.
// Safe for any goroutine.
//
//	writers ──► waiting ⇄ taken ──► the writer of the Sink     the two change places when taken is empty
type Lines struct {
	sink *Sink
	max  int

	mu      sync.Mutex
	waiting []byte // guarded by mu
	dropped atomic.Uint64

	taken []byte // lines that the writer has yet to gather; owned by the writer
	at    int    // how much of taken the writer has gathered; owned by the writer
	seen  uint64 // lines dropped before taken was swapped; owned by the writer
}

// Lines returns the producer of s that many goroutines share. There is one.
func (s *Sink) Lines() *Lines {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines.Load() == nil {
		s.lines.Store(&Lines{sink: s, max: s.ringBytes})
	}
	return s.lines.Load()
}

// Write appends one line, newline included. Where there is no room it is dropped and counted: the caller could do
// nothing about it. The only error is ErrClosed.
func (l *Lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	if l.sink.state.Load() == closed {
		l.mu.Unlock()
		return 0, ErrClosed
	}
	fits := len(l.waiting) < l.max && len(line) <= lineMax
	if fits {
		l.waiting = append(l.waiting, line...)
	} else {
		l.dropped.Add(1)
	}
	filling := len(l.waiting) >= l.max/4
	l.mu.Unlock()
	// As in Ring.Commit: the writer sets state and then looks at waiting, we do it the other way round.
	if state := l.sink.state.Load(); state == asleep || state == dozing && filling {
		l.sink.rouse(state)
	}
	return len(line), nil
}

// peek returns lines that were not gathered, nil when there are none. Writer only.
func (l *Lines) peek() []byte {
	if l.at == len(l.taken) {
		room := l.taken[:0]
		if cap(room) > 2*l.max {
			room = nil // a long line went through
		}
		l.mu.Lock()
		l.taken, l.waiting, l.at = l.waiting, room, 0
		l.seen = l.dropped.Load()
		l.mu.Unlock()
	}
	return l.taken[l.at:]
}

// advance says that n peeked bytes are gathered. Writer only.
func (l *Lines) advance(n int) { l.at += n }

// holds is how many bytes were not gathered. Writer only.
func (l *Lines) holds() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) + len(l.taken) - l.at
}
