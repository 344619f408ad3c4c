package session

import (
	"time"

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
		d = min(d, s.bodyPace.run(s.conn.Reactor().Now()))
	}
	s.conn.SetTimeout(d)
}

// paid notes that n bytes of the body have come.
func (s *h1Server) paid(n int) {
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
	s.conn.SetTimeout(s.patience())
}

// patience returns how long the client may still take to take more of its answer.
func (s *h1Server) patience() time.Duration {
	return s.answerPace.patience(s.server.opts.SendTimeout, s.conn.Reactor().Now())
}

// took notes that n bytes of the answer were queued or sent.
func (s *h1Server) took(n int) {
	if s.answerPace.started && n > 0 {
		s.answerPace.took(n, s.server.perByte, s.server.opts.SendTimeout, s.conn.Reactor().Now())
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
		s.await()
	}
}
