package session

import (
	"time"

	"github.com/edge-proxy/edge/engine"
)

// An exchange that waits for its client holds memory: the head came in part, the body does not come, the answer is
// not taken, or pipelined requests wait for that. When memory becomes short, those that have waited longest end
// early, as if a timeout had passed.

var (
	_ engine.Reliever = (*h1Server)(nil)
	_ engine.Reliever = (*h2Server)(nil)
)

// Relieve ends the exchange that the client has kept waiting for age.
func (s *h1Server) Relieve(c *engine.Conn, age time.Duration) {
	if waited, keeps := s.waited(); !keeps || waited < age {
		return
	}
	s.server.local[c.Reactor().Index()].stats.GivenUp++
	if s.tunnel == tunnelOpen { // it has no deadline
		s.fail(Timeout, engine.ErrTimeout)
		s.cutOff(engine.ErrTimeout)
		return
	}
	s.OnTimeout(c)
}

// waited returns for how long the client keeps us waiting, and whether it does.
func (s *h1Server) waited() (time.Duration, bool) {
	o := &s.server.opts
	now := s.conn.Reactor().Now()
	switch {
	case s.receiver != nil && s.conn.Congested():
		return s.answerPace.waited(o.SendTimeout, now), true
	case s.receiver != nil && s.owesBody() && !s.awaits100:
		return s.bodyPace.owing(o.BodyTimeout-s.timeLeft(), now), true
	case s.backlog:
		return o.SendTimeout - s.timeLeft(), true
	case s.receiver == nil && s.headBegun && !s.dec.Idle():
		return o.HeaderTimeout - s.timeLeft(), true
	}
	return 0, false
}

// timeLeft is how long it is until OnTimeout.
func (s *h1Server) timeLeft() time.Duration {
	return time.Duration(s.conn.Deadline() - s.conn.Reactor().Now())
}

// Relieve resets the exchanges that the client has kept waiting for age.
func (h *h2Server) Relieve(c *engine.Conn, age time.Duration) {
	for i := 0; i < len(h.live); {
		s := h.live[i]
		if waited, keeps := h.waited(s); !keeps || waited < age {
			i++
			continue
		}
		h.stats().GivenUp++
		if h.expired(s); s.receiver != nil {
			i++
		} else {
			i = 0 // callbacks change the list
		}
		if !c.Open() || c.Reactor().Pressure() < engine.PressureAccept {
			return
		}
	}
}

// waited returns for how long the client keeps s waiting, and whether it does.
func (h *h2Server) waited(s *h2Stream) (time.Duration, bool) {
	o := &h.owner.opts
	now := h.conn.Reactor().Now()
	switch {
	case s.blocked != unblocked:
		return s.answerPace.waited(o.SendTimeout, now), true
	case s.deadline == 0 || !s.owesBody() || s.awaits100:
		return 0, false
	case s.tunnel == tunnelOpen || s.mayBeSilent() || s.bodyPace.unhurried:
		return 0, false
	}
	return s.bodyPace.owing(o.BodyTimeout-time.Duration(s.deadline-now), now), true
}
