package report

import (
	"strings"
	"sync"
	"time"
)

const (
	quietTime = 10 * time.Minute // between events of one kind
	retryTime = time.Minute      // between events of one kind while they are lost
	kindsMost = 1024             // of which it is known when the last event came
)

// once tells which events are to be sent: one of a kind in quietTime. Safe for any goroutine.
type once struct {
	mu   sync.Mutex
	last map[string]time.Time // of kinds
}

// pass reports whether an event of that kind is to be sent now, and takes it that it is.
func (o *once) pass(of []string, now time.Time) bool {
	kind := strings.Join(of, "\n")
	o.mu.Lock()
	defer o.mu.Unlock()
	if at, known := o.last[kind]; known && now.Sub(at) < quietTime {
		return false
	}
	if o.last == nil {
		o.last = make(map[string]time.Time)
	}
	if len(o.last) >= kindsMost {
		o.makeRoom(now)
	}
	o.last[kind] = now
	return true
}

// retry lets an event of that kind pass in retryTime, since the last one has not reached Sentry.
func (o *once) retry(of []string, now time.Time) {
	kind := strings.Join(of, "\n")
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.last[kind]; known {
		o.last[kind] = now.Add(retryTime - quietTime)
	}
}

// makeRoom forgets the kinds that may be sent again, or else the oldest one. o.mu is held.
func (o *once) makeRoom(now time.Time) {
	first, at := "", now
	for kind, last := range o.last {
		if now.Sub(last) >= quietTime {
			delete(o.last, kind)
		} else if !last.After(at) {
			first, at = kind, last
		}
	}
	if len(o.last) >= kindsMost {
		delete(o.last, first)
	}
}
