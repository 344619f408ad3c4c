package quic

// phases are the keys of 1-RTT packets over time (RFC 9001 §6): the bit of a packet says whether its phase is odd.
//
//	old ──► space.read ──► next      a packet of the next phase that can be opened makes next the present keys, and
//	                                 the keys for writing follow
type phases struct {
	read, write bool  // the bits of the present phases
	old, next   *keys // for reading; nil: none, not made yet
	oldUntil    int64
	readFirst   int64 // the lowest number that came in the present phase
	writeFirst  int64 // the first number that was sent in it
}

// updateEvery is how many packets are sealed with one key: half of the limit of AES-GCM (RFC 9001 §6.6).
const updateEvery = 1 << 22

// readKeys returns the keys of packet n of s, whose header has no protection any more.
func (p *phases) readKeys(s *space, first byte, n, now int64) *keys {
	switch {
	case first&phaseBit != 0 == p.read:
		return &s.read
	case p.old != nil && n < p.readFirst && now < p.oldUntil:
		return p.old
	case p.next == nil: // made once: forged packets cost us one derivation
		next := s.read.updated()
		p.next = &next
	}
	return p.next
}

// advance notes that packet n of s was opened with the next keys. It reports whether the peer began that update.
func (p *phases) advance(s *space, n, oldUntil int64) (byPeer bool) {
	old := s.read
	p.old, p.oldUntil = &old, oldUntil
	s.read, p.next = *p.next, nil
	p.read, p.readFirst = !p.read, n
	if byPeer = p.write != p.read; byPeer {
		p.update(s)
	}
	return byPeer
}

// update begins the next phase of the packets that s sends.
func (p *phases) update(s *space) {
	s.write = s.write.updated()
	p.write = !p.write
	p.writeFirst = s.next
}

// tend begins an update when it is time, and drops keys of a phase that is over. RFC 9001 §6.1: no update comes before
// a packet of the present phase has arrived.
func (p *phases) tend(s *space, now int64) {
	if p.old != nil && now >= p.oldUntil {
		p.old = nil
	}
	if s.next-p.writeFirst >= updateEvery && s.acked >= p.writeFirst && p.read == p.write {
		p.update(s)
	}
}
