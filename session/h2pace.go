package session

// Unhurry lifts the least rate off a request body, and the time between two pieces off an answer.
func (s *h2Stream) Unhurry() {
	s.pace.unhurried = true
	if !s.calling && s.receiver != nil {
		s.link.end.await(s)
	}
}

// owesBody reports whether bytes of the body are to come, and nothing of it waits for us.
func (s *h2Stream) owesBody() bool { return !s.peerDone && !s.received && s.owed == 0 }

// paid notes that n bytes of a body have come.
func (h *h2Server) paid(s *h2Stream, n int) {
	if b := h.owner.perByte; b > 0 && !s.tunnel {
		s.pace.paid(n, b, int64(max(bodyGrace, h.owner.opts.BodyTimeout)), h.conn.Reactor().Now())
	}
}

// given notes that n bytes of an answer were sent that the client did not take at once.
func (h *h2Server) given(s *h2Stream, n int) {
	perByte := h.owner.perByte
	if s.pace.unhurried || s.tunnel { // messages, which are read when the one before was worked on
		perByte = 0
	}
	s.taking.took(n, perByte, h.owner.opts.SendTimeout, h.conn.Reactor().Now())
}

// unbounded reports whether the client may be silent for as long as the answer lasts.
func (s *h2Stream) unbounded() bool { return s.pace.unhurried && s.framing != noHead }

// answerMoves is that of a stream of HTTP/2.
func (s *h2Stream) answerMoves() {
	if !s.link.server || s.received || s.peerDone || s.tunnel {
		return
	}
	s.pace.renew(s.link.conn.Reactor().Now())
	if !s.calling {
		s.link.end.await(s)
	}
}
