package session

// Unhurry lifts the least rate off a request body, and the time between two pieces off an answer.
func (s *h2Stream) Unhurry() {
	s.bodyPace.unhurried = true
	if !s.inCallback && s.receiver != nil {
		s.link.end.await(s)
	}
}

// owesBody reports whether bytes of the body are to come, and nothing of it waits for us.
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
	if s.bodyPace.unhurried || s.tunnel == tunnelOpen { // messages, which are read when the one before was worked on
		perByte = 0
	}
	s.answerPace.took(n, perByte, h.owner.opts.SendTimeout, h.conn.Reactor().Now())
}

// mayBeSilent reports whether the client may be silent for as long as the answer lasts.
func (s *h2Stream) mayBeSilent() bool { return s.bodyPace.unhurried && s.framing != noHead }

// answerMoves is that of a stream of HTTP/2.
func (s *h2Stream) answerMoves() {
	if !s.link.server || s.endDelivered || s.endReceived || s.tunnel == tunnelOpen {
		return
	}
	s.bodyPace.renew(s.link.conn.Reactor().Now())
	if !s.inCallback {
		s.link.end.await(s)
	}
}
