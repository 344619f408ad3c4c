package tlsconn

import (
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/list"
)

// patience is how long a client may take for its answer before it can be closed for another's sake: a round trip to
// the other side of the world. What was computed for it is lost then, so it is closed only if it may well be silent on
// purpose.
const patience = int64(250 * time.Millisecond)

// helloDue is how long a client may take for its ClientHello before it can be closed for another's sake. It is sent
// together with the last packet of the connect, and has not been read yet when a connection is accepted.
const helloDue = int64(10 * time.Millisecond)

// crowd is the handshakes that clients began on one reactor, and decides which gives way when they are too many: the
// client that has owed us bytes for longest. A client that has sent its ClientHello never gives way to another: in a
// flood of these, clients that were given up would come again at once, and the flood would never be slowed. When none
// can give way, the listener accepts no more: clients wait in the backlog of the kernel, first come first served.
//
//	          ┌─ silent ─┐                                         ┌── awaited ──┐
//	OnOpen ──►│ owes us  ├──► waits for its turn ──► computes ────►│ owes us its │──► computes ──► done
//	          │ a hello  │             in neither                  │   answer    │    in neither
//	          └──────────┘                                         └─────────────┘
//	     may give way after helloDue                         may give way after patience
//
// Owned by its reactor.
//
//	both lists are in the order of stood
//	n counts those that are in neither as well
type crowd struct {
	coming  int             // accepted, and not in n yet
	silent  list.List[seat] // nothing was computed for them
	awaited list.List[seat]
	n       int
	_       [64]byte // reactors count at the same time: keep them off each other's cache line
}

// enter adds h, which is silent yet. It returns the handshake that has to give way to it, nil if none must. When that
// is h itself there is no room, and it was not added.
func (c *crowd) enter(h *seat, most int, now int64) (victim *seat) {
	if c.n >= most {
		if victim = c.victim(now); victim == nil {
			return h
		}
	}
	c.n++
	c.stand(&c.silent, h, now)
	return victim
}

// stand says that h stands still from now on: in l.
func (c *crowd) stand(l *list.List[seat], h *seat, now int64) {
	h.crowd.Remove()
	h.stood = now
	l.PushBack(&h.crowd, h)
}

// leave takes h out.
func (c *crowd) leave(h *seat) {
	h.crowd.Remove()
	c.n--
	invariant.That(c.n >= c.silent.Len()+c.awaited.Len(), "%d handshakes are fewer than those that stand", c.n)
}

func (c *crowd) victim(now int64) *seat {
	s, a := c.silent.First(), c.awaited.First()
	switch {
	case a != nil && now-a.stood > patience && (s == nil || a.stood < s.stood):
		return a
	case s != nil && now-s.stood > helloDue:
		return s
	}
	return nil
}

// full reports whether there is no room for one more beside those that are coming, and too few that may give way.
func (c *crowd) full(most int, now int64) bool {
	above := c.n + c.coming + 1 - most
	for h := c.silent.First(); above > 0 && h != nil && now-h.stood > helloDue; h = h.crowd.Next() {
		above--
	}
	for h := c.awaited.First(); above > 0 && h != nil && now-h.stood > patience; h = h.crowd.Next() {
		above--
	}
	return above > 0
}
