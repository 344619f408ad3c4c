package session

// Unhurry lifts the least rate of a request body, and the bound on the time between two pieces of an answer.
func (s *h2Stream) Unhurry() {
	s.bodyPace.unhurried = true
	if !s.inCallback && s.receiver != nil {
		s.link.end.await(s)
	}
}

// owesBody reports whether the exchange waits for the client's body.
func (s *h2Stream) owesBody() bool { return !s.endReceived && !s.endDelivered && s.owed == 0 }

// bodyCame notes that n bytes of a body have come.
func (h *h2Server) bodyCame(s *h2Stream, n int) {
	if b := h.owner.perByte; b > 0 && s.tunnel != tunnelOpen {
		s.bodyPace.earn(n, b, int64(max(bodyGrace, h.owner.opts.BodyTimeout)), h.conn.Reactor().Now())
	}
}

// bodySent notes that n bytes of an answer were sent that the client did not take at once.
func (h *h2Server) bodySent(s *h2Stream, n int) {
	perByte := h.owner.perByte
	if s.bodyPace.unhurried || s.tunnel == tunnelOpen { // a client may work on a message before it reads on
		perByte = 0
	}
	s.answerPace.took(n, perByte, h.owner.opts.SendTimeout, h.conn.Reactor().Now())
}

// mayBeSilent reports whether the client may be silent for as long as the answer lasts.
func (s *h2Stream) mayBeSilent() bool { return s.bodyPace.unhurried && s.framing != noHead }

// answerMoves notes that a part of the answer was sent, and renews the credit of the body: see
// h1Server.answerMoves.
func (s *h2Stream) answerMoves() {
	if !s.link.server || s.endDelivered || s.endReceived || s.tunnel == tunnelOpen {
		return
	}
	s.bodyPace.renew(s.link.conn.Reactor().Now())
	if !s.inCallback {
		s.link.end.await(s)
	}
}
