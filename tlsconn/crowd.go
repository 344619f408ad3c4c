package tlsconn

import (
	"time"

	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/internal/list"
)

// patience is how long a client may take for its answer before it can be closed for another's sake: a round trip to
// the other side of the world. What was computed for it is lost then, so it is closed only if it may well be silent on
// purpose.
const patience = int64(250 * time.Millisecond)

// crowd is the handshakes that clients began on one reactor, and decides which gives way when they are too many: the
// one that has stood still for longest. That is never one that computes or whose answer has come, for it has been paid
// for and is nearly done; and one that we wait for counts only after patience. When none can give way the newcomer is
// refused.
//
//	          ┌─────────── unheard ───────────┐                    ┌── awaited ──┐
//	OnOpen ──►│ silent ──► waits for its turn ├──► computes ──────►│ owes us its │──► computes ──► done
//	          └───────────────────────────────┘    in neither      │   answer    │    in neither
//	               may give way at once                            └─────────────┘
//	                                                            may give way after patience
//
// Owned by its reactor.
//
//	both lists are in the order of stood
//	n counts those that are in neither as well
type crowd struct {
	unheard list.List[handshake] // nothing was computed for them
	awaited list.List[handshake]
	n       int
	_       [64]byte // reactors count at the same time: keep them off each other's cache line
}

// enter adds h, which is silent yet. It returns the one that has to give way to it, nil if none must. When that is h
// itself there is no room, and it was not added.
func (c *crowd) enter(h *handshake, most int, now int64) (victim *handshake) {
	if c.n >= most {
		if victim = c.victim(now); victim == nil {
			return h
		}
	}
	c.n++
	c.stand(&c.unheard, h, now)
	return victim
}

// stand says that h stands still from now on: in l.
func (c *crowd) stand(l *list.List[handshake], h *handshake, now int64) {
	h.crowd.Remove()
	h.stood = now
	l.PushBack(&h.crowd, h)
}

// leave takes h out.
func (c *crowd) leave(h *handshake) {
	h.crowd.Remove()
	c.n--
	invariant.That(c.n >= c.unheard.Len()+c.awaited.Len(), "%d handshakes are fewer than those that stand", c.n)
}

func (c *crowd) victim(now int64) *handshake {
	u, a := c.unheard.First(), c.awaited.First()
	if a != nil && now-a.stood > patience && (u == nil || a.stood < u.stood) {
		return a
	}
	return u
}
