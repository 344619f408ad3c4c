package admission

import (
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// A line that holds requests for longer than standingAfter, while more than standingPlaces places came free, is a
// standing one: longer than what the members can take. A request that comes to it waits for standingWait at the most,
// or for so long as standingTurns places take to come free.
//
// The times are taken from CoDel (RFC 8289 §4) and of Maurer, Fail at Scale (ACM Queue 13, 8, 2015). The counts are for
// members that take few requests at a time, or take long: with one request of 10 ms at a time, the times alone refuse 8
// % at a load of 80 %, and with the counts 0.5 %. See docs/design/adr/0014-standing-lines.md.
const (
	standingAfter  = 100 * time.Millisecond
	standingPlaces = 100
	standingWait   = 5 * time.Millisecond
	standingTurns  = 5
)

// Line counts what waits for a place, over all reactors, and tells a line that only holds a burst from a line that
// stands. The zero value is empty. It fills its cache lines, since all reactors write it.
// Safe for any goroutine.
type Line struct {
	_       [64]byte
	waiting atomic.Int64
	since   atomic.Int64 // reactor time since which it is not empty
	freed   atomic.Int64 // places that came free since then
	_       [104]byte
}

// Join adds one to the line at a reactor time, and returns how many it has now.
func (l *Line) Join(now int64) int {
	n := l.waiting.Add(1)
	if n == 1 {
		l.since.Store(now)
		l.freed.Store(0)
	}
	return int(n)
}

// Leave takes one out.
func (l *Line) Leave() {
	n := l.waiting.Add(-1)
	if invariant.On {
		invariant.That(n >= 0, "%d wait", n)
	}
}

// Freed notes that a place came free while a request waits.
func (l *Line) Freed() { l.freed.Add(1) }

// Patience returns how long one waits that has joined at a reactor time, most at the most.
func (l *Line) Patience(now int64, most time.Duration) time.Duration {
	held, freed := time.Duration(now-l.since.Load()), l.freed.Load()
	if held <= standingAfter || freed <= standingPlaces {
		return most
	}
	return min(most, max(standingWait, standingTurns*held/time.Duration(freed)))
}
