package session

import (
	"time"

	"github.com/edge-proxy/edge/engine"
)

// Unhurry lifts the least rate of a request body, and the bound on the time between two pieces of an answer.
func (s *h2Stream) Unhurry() {
	s.unhurried = true
	if !s.inCallback && s.receiver != nil {
		s.link.end.setDeadline(s)
	}
}

// owesBody reports whether the exchange waits for the client's body.
func (s *h2Stream) owesBody() bool { return !s.endReceived && !s.endDelivered && s.owed == 0 }

// onBodyReceived notes that n bytes of a body have come.
func (h *h2Server) onBodyReceived(s *h2Stream, n int) {
	if b := h.owner.perByte; b > 0 && s.tunnel != tunnelOpen {
		s.bodyPace.earn(n, b, int64(max(bodyGrace, h.owner.opts.BodyTimeout)), h.conn.Reactor().Now())
	}
}

// onBodySent notes that n bytes of an answer were sent that the client did not take at once.
func (h *h2Server) onBodySent(s *h2Stream, n int) {
	perByte := h.owner.perByte
	if s.unhurried || s.tunnel == tunnelOpen { // a client may work on a message before it reads on
		perByte = 0
	}
	s.answerPace.addTaken(n, perByte, h.owner.opts.SendTimeout, h.conn.Reactor().Now())
}

// mayBeSilent reports whether the client may be silent for as long as the answer lasts.
func (s *h2Stream) mayBeSilent() bool { return s.unhurried && s.framing != noHead }

// answerMoves notes that a part of the answer was sent, and renews the credit of the body: see
// h1Server.answerMoves.
func (s *h2Stream) answerMoves() {
	if !s.link.server || s.endDelivered || s.endReceived || s.tunnel == tunnelOpen {
		return
	}
	s.bodyPace.renew(s.link.conn.Reactor().Now())
	if !s.inCallback {
		s.link.end.setDeadline(s)
	}
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
		if h.onDeadline(s); s.receiver != nil {
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
		return s.answerPace.waitedFor(o.SendTimeout, now), true
	case s.deadline == 0 || !s.owesBody() || s.awaits100:
		return 0, false
	case s.tunnel == tunnelOpen || s.mayBeSilent() || s.unhurried:
		return 0, false
	}
	return s.bodyPace.owedFor(o.BodyTimeout-time.Duration(s.deadline-now), now), true
}
