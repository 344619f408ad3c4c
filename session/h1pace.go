package session

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
)

// owesBody reports whether the exchange waits for the client's body.
func (s *h1Server) owesBody() bool {
	return s.tunnel != tunnelOpen && !s.requestDone && s.owed <= 0 && !s.conn.Congested()
}

// awaitBody sets the deadline of a client that has to send its body: for the next read, or by the least rate.
func (s *h1Server) awaitBody() {
	if s.awaits100 { // it sends nothing yet: it waits for 100
		s.conn.SetTimeout(0)
		return
	}
	d := s.server.opts.BodyTimeout
	if s.server.perByte > 0 {
		d = min(d, s.bodyPace.shrink(s.conn.Reactor().Now()))
	}
	s.conn.SetTimeout(d)
}

// noteBodyReceived notes that n bytes of the body have come.
func (s *h1Server) noteBodyReceived(n int) {
	if b := s.server.perByte; b > 0 {
		s.bodyPace.earn(n, b, int64(max(bodyGrace, s.server.opts.BodyTimeout)), s.conn.Reactor().Now())
	}
}

// slowBody ends an exchange whose body comes too slowly: with 408 while that is still possible.
func (s *h1Server) slowBody() {
	s.server.local[s.conn.Reactor().Index()].stats.SlowBodies++
	s.fail(Timeout, ErrSlowBody)
	if s.body.framing != noHead {
		s.cutOff(ErrSlowBody)
		return
	}
	s.answer(408, ErrSlowBody, s.verb == message.VerbHead)
}

// awaitTaken sets the deadline of a client that has to take its answer.
func (s *h1Server) awaitTaken() {
	s.conn.SetTimeout(s.timeToTake())
}

// timeToTake returns how long the client may still take to take more of its answer.
func (s *h1Server) timeToTake() time.Duration {
	return s.answerPace.timeToTake(s.server.opts.SendTimeout, s.conn.Reactor().Now())
}

// noteAnswerTaken notes that n bytes of the answer were queued or sent.
func (s *h1Server) noteAnswerTaken(n int) {
	if s.answerPace.started() && n > 0 {
		s.answerPace.addTaken(n, s.server.perByte, s.server.opts.SendTimeout, s.conn.Reactor().Now())
	}
}

// answerMoves notes that a part of the answer was sent, and renews the credit of the body. A client may be busy
// with the answer, or have seen that its body is not wanted (RFC 9112 §9.5): an early answer is delivered whole.
func (s *h1Server) answerMoves() {
	if s.requestDone || s.tunnel == tunnelOpen {
		return
	}
	s.bodyPace.renew(s.conn.Reactor().Now())
	if !s.inCallback {
		s.setDeadline()
	}
}

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
		return s.answerPace.waitedFor(o.SendTimeout, now), true
	case s.receiver != nil && s.owesBody() && !s.awaits100:
		return s.bodyPace.owedFor(o.BodyTimeout-s.timeLeft(), now), true
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
