package quic

// onAck takes ACK.
func (c *Conn) onAck(f *frame) *Error {
	s := c.spaces[c.level]
	if int64(f.value) >= s.next {
		return errAckUnsent
	}
	s.acked = max(s.acked, int64(f.value))
	var newest *sentPacket
	any := false
	if f.count >= ackRangesMax {
		c.arena.Stats.Unread++
	}
	for r := f.ranges(); ; {
		first, last, ok := r.next()
		if !ok {
			break
		}
		if c.level == OneRTT && first <= c.sent.skipped && c.sent.skipped <= last {
			return errAckUnsent // CVE-2025-4820: a packet that was never sent
		}
		for i := s.find(first); i < s.sent.n && s.sent.at(i).number <= last; i++ {
			if p := s.sent.at(i); p.state == sentFlying {
				if p.number == int64(f.value) {
					newest = p
				}
				any = true
				c.ackedPacket(s, p)
			}
		}
	}
	if !any {
		return nil
	}
	if newest != nil && (c.level != OneRTT || newest.number >= c.sent.since) {
		c.sample(c.now-newest.at, f.delay)
		if c.level == OneRTT {
			c.sent.window.sampled(newest.number, s.next, c.sent.rtt.latest)
		}
	}
	c.detectLost(s)
	s.trim(c.arena)
	if c.role == Server || c.flag&confirmed != 0 || c.level == Handshake {
		c.sent.ptoCount = 0 // RFC 9002 §6.2.1: a client keeps it until the server has validated its address
	}
	s.probes = 0
	c.flag |= roomMade
	return nil
}

// sample takes a sample of the round trip.
func (c *Conn) sample(latest int64, delay uint64) {
	if c.sent.sampledAt == 0 {
		c.sent.sampledAt = c.now
	}
	var late int64
	if c.level == OneRTT {
		most := int64(c.peer.ackDelay) * 1e6
		late = min(int64(min(delay<<c.peer.delayExponent, 1<<40))*1e3, most)
	}
	c.sent.rtt.sample(max(latest, 1), late)
}

// ackedPacket notes that p has arrived.
func (c *Conn) ackedPacket(s *space, p *sentPacket) {
	p.state = sentAcked
	s.flying--
	if c.level != OneRTT || p.number >= c.sent.since {
		c.sent.window.acked(int(p.size), p.at, c.now, c.sent.rtt.estimate())
		if p.size > DatagramSize && c.length.acked(p) {
			c.sent.window.setDatagram(c.length.full)
		}
	}
	for i := range int(p.count) {
		f := s.frame(p, i)
		c.ackedFrame(s, f)
	}
}

func (c *Conn) ackedFrame(s *space, f *sentFrame) {
	switch f.kind {
	case frameAck:
		s.recv.forget(c.arena, f.from)
	case frameCrypto:
		s.cryptoOut.acknowledge(c.arena, f.from, int(f.n), false)
	case frameRetireID:
		c.theirs.flying--
	}
	t := f.stream
	if t == nil {
		return
	}
	f.stream = nil
	t.refs--
	switch f.kind {
	case frameStream:
		if t.flag&(sendOver|sendReset) == 0 {
			before := t.out.held()
			t.out.acknowledge(c.arena, f.from, int(f.n), f.end)
			c.flow.held -= int64(before - t.out.held())
			if t.out.done() {
				t.flag |= sendOver
			}
		}
	case frameResetStream:
		t.flag |= sendOver
	}
	c.free(t)
}

// detectLost finds packets that are lost: by packets after them that arrived, or by time (RFC 9002 §6.1).
func (c *Conn) detectLost(s *space) {
	s.lossAt = 0
	late := c.sent.rtt.lostAfter()
	for i := 0; i < s.sent.n; i++ {
		p := s.sent.at(i)
		switch {
		case p.number > s.acked:
			return
		case p.state == sentAcked:
			s.outage.acked(p.number)
		case p.state == sentLost:
		case p.number <= s.acked-packetLost, p.at <= c.now-late:
			c.lostPacket(s, p)
		default:
			if s.lossAt == 0 {
				s.lossAt = p.at + late
			}
		}
	}
}

// lostPacket queues what p carried to be sent again.
func (c *Conn) lostPacket(s *space, p *sentPacket) {
	p.state = sentLost
	s.flying--
	c.arena.Stats.Lost++
	present := s != c.spaces[OneRTT] || p.number >= c.sent.since
	switch {
	case !present:
	case p.size > DatagramSize && c.length.lost(p):
		c.sent.window.dropped(int(p.size)) // RFC 9000 §14.4: it was too long, perhaps
	default:
		c.sent.window.lost(int(p.size), p.at, c.now)
	}
	if c.sent.window.datagram > c.length.full {
		c.sent.window.setDatagram(c.length.full)
	}
	if present && c.sent.sampledAt != 0 && p.at > c.sent.sampledAt {
		if s.outage.lost(p.number, p.at) > c.sent.rtt.outageAfter(int64(c.peer.ackDelay)*1e6) {
			c.sent.window.collapse()
			c.sent.rtt.forgetLeast()
			s.outage = outage{}
		}
	}
	for i := range int(p.count) {
		f := s.frame(p, i)
		t := f.stream
		f.stream = nil
		c.sendAgain(s, f, t)
		if t != nil {
			t.refs--
			c.free(t)
		}
	}
}

// sendAgain queues what a frame said to be sent again, with the values of now. t is its stream.
func (c *Conn) sendAgain(s *space, f *sentFrame, t *Stream) {
	switch f.kind {
	case frameCrypto:
		s.cryptoOut.lose(f.from, int(f.n), false)
	case frameStream:
		if t.flag&(sendOver|sendReset) == 0 {
			t.out.lose(f.from, int(f.n), f.end)
			c.sending.push(t)
		}
	case frameResetStream:
		if t.flag&sendOver == 0 {
			t.flag |= resetDue
			c.control.push(t)
		}
	case frameStopSending:
		if t.flag&recvOver == 0 {
			t.flag |= stopDue
			c.control.push(t)
		}
	case frameMaxStreamData:
		if t.flag&(recvOver|discarding) == 0 {
			t.flag |= windowDue
			c.control.push(t)
		}
	case frameMaxData:
		c.flow.due = true
	case frameMaxStreams:
		c.flag |= streamsDue
	case frameMaxStreams | 1:
		c.flag |= oneWaysDue
	case frameHandshakeDone:
		c.flag |= doneDue
	case frameNewID:
		if id := c.own.bySequence(uint64(f.from)); id != nil {
			id.due = true
		}
	case frameRetireID:
		c.theirs.flying--
		c.theirs.retired = append(c.theirs.retired, uint64(f.from))
	}
}

// probeAt returns when a packet has to be sent to find out whether those before it were lost, in which space; 0: never
// (RFC 9002 §6.2.1).
func (c *Conn) probeAt() (at int64, l Level) {
	if c.blocked() {
		return 0, 0 // nothing could be sent
	}
	for i, s := range c.spaces {
		if s == nil || s.flying == 0 || Level(i) == OneRTT && (c.flag&confirmed == 0 || !c.mayRun()) { // §6.2.1
			continue
		}
		after := c.sent.rtt.probeAfter(0)
		if Level(i) == OneRTT {
			after = c.sent.rtt.probeAfter(int64(c.peer.ackDelay) * 1e6)
		}
		if t := s.lastAt + after<<min(c.sent.ptoCount, ptoBackoff); at == 0 || t < at {
			at, l = t, Level(i)
		}
	}
	if at == 0 && c.role == Client && c.flag&confirmed == 0 && c.flag&complete == 0 {
		// RFC 9002 §6.2.2.1: the server may be blocked until it hears from us.
		l = Initial
		if s := c.spaces[Handshake]; s != nil && s.write.have() {
			l = Handshake
		}
		return c.life.heardAt + c.sent.rtt.probeAfter(0)<<min(c.sent.ptoCount, ptoBackoff), l
	}
	return at, l
}

// onProbeTimeout lets packets leave whatever the window says, with what was sent before.
func (c *Conn) onProbeTimeout(l Level) {
	s := c.spaces[l]
	if s == nil {
		return
	}
	c.sent.ptoCount++
	s.probes = probesOfPTO
	s.lastAt = c.now
	if s.flying == 0 {
		c.life.heardAt = c.now // of a client that has nothing on its way: the next probe counts from now
	}
	// The oldest packets are sent again; they may arrive all the same.
	for i, again := 0, 0; i < s.sent.n && again < probesOfPTO; i++ {
		p := s.sent.at(i)
		if p.state != sentFlying {
			continue
		}
		again++
		for k := range int(p.count) {
			if f := s.frame(p, k); f.kind == frameStream || f.kind == frameCrypto {
				c.sendAgain(s, f, f.stream)
			}
		}
	}
}
