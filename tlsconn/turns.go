package tlsconn

import (
	"sync"

	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/internal/list"
)

// turns lets so many handshakes compute at one time and decides which is next while more want to. What was begun comes
// before what is new: else all turns go to first flights, and each of them to a handshake that is over before its
// second. What we ourselves began comes before what clients did: a flood of them shall not keep those that are in from
// their backends.
//
//	give ─► ours, begun ─► ours, new ─► clients', begun ─► clients', new ─► free
//	          oldest        either          oldest             either
//
// New ones come in the order of asking while all are served soon. When the first of them has waited for newestAfter,
// more ask than can be served, and whatever the order is, some will wait in vain. In that order everybody would wait
// for as long as is allowed; the newest first, those that are served are served at once.
// Safe for any goroutine.
//
//	free >= 0; free > 0 => nobody waits
//	a handshake waits in one line at most: that of lineOf
type turns struct {
	newestAfter int64

	mu    sync.Mutex
	free  int                         // guarded by mu, as all below
	now   int64                       // the latest time that somebody asked at
	lines [lines]list.List[handshake] // in the order of giving
}

// The lines of turns.
const (
	oursBegun = iota
	oursNew
	clientsBegun
	clientsNew
	lines
)

func lineOf(h *handshake, begun bool) int {
	switch {
	case h.server == nil && begun:
		return oursBegun
	case h.server == nil:
		return oursNew
	case begun:
		return clientsBegun
	}
	return clientsNew
}

// ask reports whether h has a turn now. If not it waits for one, until give returns it or cancel ends that.
func (t *turns) ask(h *handshake, begun bool, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if invariant.On {
		defer t.check()
	}
	t.now = max(t.now, now)
	if t.free > 0 {
		t.free--
		return true
	}
	h.asked = now
	t.lines[lineOf(h, begun)].PushBack(&h.turn, h)
	return false
}

// cancel ends the waiting of h and reports whether it waited.
func (t *turns) cancel(h *handshake) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if invariant.On {
		defer t.check()
	}
	return h.turn.Remove()
}

// give passes a turn on to next; nil: nobody wants it. begun is what next has said.
func (t *turns) give() (next *handshake, begun bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if invariant.On {
		defer t.check()
	}
	for i := range t.lines {
		if next = t.lines[i].First(); next == nil {
			continue
		}
		begun = i == oursBegun || i == clientsBegun
		if !begun && t.now-next.asked > t.newestAfter {
			next = t.lines[i].Last()
		}
		next.turn.Remove()
		return next, begun
	}
	t.free++
	return nil, false
}

// waiting returns how many wait for a turn.
func (t *turns) waiting() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.lines {
		n += t.lines[i].Len()
	}
	return n
}
