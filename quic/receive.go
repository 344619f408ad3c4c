package quic

import "slices"

// Receive takes a datagram that came by p. It is opened in place and borrowed until Next returns None: no other Conn of
// the Arena takes one before.
func (c *Conn) Receive(d []byte, p Path, now int64) {
	c.now = now
	switch {
	case c.state > closing:
		return
	case p == c.paths.used:
		c.paths.in += int64(len(d))
	case c.role == Client && p.Peer != c.paths.used.Peer || c.flag&confirmed == 0:
		c.arena.Stats.Strays++ // RFC 9000 §9: a server has one address, and a client keeps its own during the handshake
		return
	case c.state == closing:
		// RFC 9000 §10.2.1: a client that has not heard of the end is answered where it is now, within its share.
		c.theirs.change(c.paths.used, p)
		c.paths.used, c.paths.in, c.paths.out = p, int64(len(d)), 0
		c.flag &^= validated
	}
	if c.state == closing {
		if c.life.answers() {
			c.flag |= closeDue
		}
		return
	}
	*c.in = arriving{conn: c, from: p, size: len(d), rest: d}
}

// Opens opens the first packet of the datagram that Receive has taken, and reports whether the peer has sealed it: a
// server forgets a Conn that begins with noise.
func (c *Conn) Opens() bool { return c.nextPacket() && c.flag&heardPeer != 0 }

// Next returns the next event, None when there is none.
func (c *Conn) Next() (ev Event) {
	if c.in.conn != c { // a panic may have left a datagram of another Conn
		*c.in = arriving{conn: c}
	}
	for {
		if c.flag&(tellClosed|tellDone|tellRoom|tellMoved) != 0 || len(c.own.retire) > 0 {
			c.tell(&ev)
			return ev
		}
		if c.state != open {
			return ev
		}
		if c.nextInOrder(&ev) {
			if ev.Kind == None {
				continue // data that is not wanted
			}
			return ev
		}
		if s := c.nextSendable(); s != nil {
			ev.Kind, ev.Stream = Sendable, s
			return ev
		}
		switch {
		case c.in.working && len(c.in.frames) > 0:
			if c.nextFrame(&ev); ev.Kind != None {
				return ev
			}
		case c.in.working:
			c.endPacket()
		case !c.nextPacket():
			c.check()
			return ev
		}
	}
}

// tell makes ev, which is empty, the event that something before has made due. Whatever Next calls fills its Event
// where it is: an Event has more parts than there are registers for results, and a result that is copied from function
// to function waits for its stores each time (10 ns).
func (c *Conn) tell(ev *Event) {
	switch {
	case c.flag&tellClosed != 0:
		c.flag &^= tellClosed | tellDone | tellRoom | tellMoved
		ev.Kind = Closed
		return
	case c.flag&tellDone != 0:
		c.flag &^= tellDone
		ev.Kind = Established
		return
	case c.flag&tellRoom != 0:
		c.flag &^= tellRoom
		ev.Kind = Room
		return
	case c.flag&tellMoved != 0:
		c.flag &^= tellMoved
		ev.Kind = Moved
		return
	}
	last := len(c.own.retire) - 1
	ev.Kind, ev.ID = IDRetired, c.own.retire[last]
	c.own.retire = c.own.retire[:last]
}

// nextInOrder finds data that was kept and has come in order by the last frame.
func (c *Conn) nextInOrder(ev *Event) bool {
	if s := c.in.ordered; s != nil {
		if b := s.in.more(c.memory()); b != nil {
			return c.deliver(s, b, ev)
		}
		c.in.ordered = nil
		c.free(s)
	}
	if !c.in.working {
		return false
	}
	if s := c.spaces[c.level]; s != nil {
		if b := s.cryptoIn.more(c.memory()); b != nil {
			ev.Kind, ev.Level, ev.Body = Crypto, c.level, b
			return true
		}
	}
	return false
}

// nextPacket opens the next packet, and reports false when there is none.
func (c *Conn) nextPacket() bool {
	if len(c.in.rest) == 0 && !c.takeEarly() {
		return false
	}
	h, ok := Parse(c.in.rest)
	packet := c.in.rest[:h.size]
	c.in.rest = c.in.rest[h.size:]
	if !ok {
		c.in.rest = nil
		return true
	}
	id, _ := MakeID(h.Dest)
	if c.in.lead == (ID{}) {
		c.in.lead = id
	} else if id != c.in.lead {
		c.arena.Stats.Foreign++
		return true // RFC 9000 §12.2: packets of other ids are not of this datagram; CVE-2025-54939
	}
	if c.dropped(&h) {
		return true
	}
	switch h.Kind {
	case InitialPacket:
		c.level = Initial
	case HandshakePacket:
		c.level = Handshake
	case OneRTTPacket:
		c.level = OneRTT
	case VersionsPacket, RetryPacket:
		c.onUnsealed(packet, &h)
		return true
	default:
		return true
	}
	c.open(packet, &h)
	return true
}

// dropped reports whether a packet of the handshake is not to be opened.
func (c *Conn) dropped(h *Header) bool {
	short := c.in.size < payloadLeast
	if h.Kind == InitialPacket && (c.role == Server && short || c.role == Client && len(h.Token) > 0) {
		return true // RFC 9000 §14.1, and §17.2.2: a server sends no token
	}
	if h.Kind != InitialPacket && h.Kind != HandshakePacket || c.flag&heardPeer == 0 {
		return false
	}
	return string(h.Source) != string(c.theirs.first.Bytes()) // §7.2: the first packet has named the id
}

// onUnsealed takes an answer of a server without keys to a client's first packets: Version Negotiation, which ends the
// connection when the server speaks other versions (RFC 9000 §6.2), or a Retry. Either is dropped after any packet that
// the client has taken, another Retry too (§17.2.5.2).
func (c *Conn) onUnsealed(packet []byte, h *Header) {
	if c.role != Client || c.flag&heardPeer != 0 || c.retry != nil || c.in.lead != c.local.initialSource {
		return
	}
	if h.Kind == RetryPacket {
		if c.retry = takeRetry(packet, h, &c.local.original); c.retry == nil {
			return
		}
		c.theirs.take(h.Source)
		s := c.spaces[Initial]
		s.forgetSent(c.arena) // RFC 9002 §6.3: recovery begins anew
		s.cryptoOut.lose(0, int(s.cryptoOut.next), false)
		c.sent.window.dropped(c.sent.window.flight)
		c.sent.window.reset(DatagramSize)
		c.sent.ptoCount, c.life.heardAt = 0, c.now
		if err := c.spaces[Initial].initialKeys(c.role, h.Source); err != nil {
			c.finish(err)
		}
		return
	}
	if string(h.Source) != string(c.local.original.Bytes()) {
		return // §17.2.1: its sender has not got our packet
	}
	for v := h.Versions; len(v) >= 4; v = v[4:] {
		if v[0]|v[1]|v[2] == 0 && v[3] == Version1 {
			return // it does speak ours: this is not from the peer
		}
	}
	c.finish(ErrVersion)
}

// open opens a packet and makes its frames the ones that are read.
func (c *Conn) open(packet []byte, h *Header) {
	s := c.spaces[c.level]
	switch {
	case s == nil:
		return
	case c.awaitsKeys(c.level):
		if len(c.early) == earlyMax || len(packet) > DatagramMax {
			c.arena.Stats.Early++
		} else {
			c.early = append(c.early, slices.Clone(packet))
			c.arena.lent += len(packet)
		}
		return
	}
	octets, ok := s.read.unprotect(packet, h.number)
	if !ok {
		c.cannotOpen(packet, s) // RFC 9000 §10.3: a reset may have fewer octets than a sample needs
		return
	}
	body := h.number + octets
	n := decodeNumber(s.recv.highest(), packet[h.number:body])
	k := &s.read
	if c.level == OneRTT {
		k = c.phase.readKeys(s, packet[0], n, c.now)
	}
	frames, ok := k.open(packet, body, n)
	if !ok {
		c.cannotOpen(packet, s)
		return
	}
	if s.recv.has(n) {
		return
	}
	if k == c.phase.next && c.phase.advance(s, n, c.now+c.sent.rtt.closingTime()) {
		err := c.spend(keyUpdates)
		if c.flag&complete == 0 {
			err = errKeyUpdate
		}
		if err != nil {
			c.fail(err, 0)
			return
		}
	}
	c.heard(h)
	if reservedSet(packet[0]) {
		c.fail(errReserved, 0)
		return
	}
	if len(frames) == 0 {
		c.fail(errNoFrames, 0)
		return
	}
	c.in.frames, c.in.number, c.in.elicits, c.in.probing, c.in.working = frames, n, false, true, true
}

// heard notes what follows from having opened a packet.
func (c *Conn) heard(h *Header) {
	c.life.heardAt = c.now
	c.flag &^= eliciting
	if c.level != OneRTT && c.flag&heardPeer == 0 {
		c.theirs.take(h.Source)
	}
	c.flag |= heardPeer
	if c.role == Server && c.level == Handshake {
		c.flag |= validated
		c.dropSpace(Initial)
	}
}

// cannotOpen counts a packet that could not be opened, and looks whether it is a stateless reset.
func (c *Conn) cannotOpen(packet []byte, s *space) {
	if packet[0]&0x80 == 0 && c.theirs.isReset(packet) {
		c.finish(ErrReset)
		return
	}
	c.arena.Stats.Unopened++
	if c.failed++; c.failed >= s.read.suite.failMax {
		c.fail(errSealLimit, 0)
	}
}

// awaitsKeys reports whether packets of l wait for their keys. 1-RTT packets of a client wait for its Finished as well
// (RFC 9001 §5.7). None waits for keys that were dropped.
func (c *Conn) awaitsKeys(l Level) bool {
	s := c.spaces[l]
	return s != nil && (!s.read.have() || l == OneRTT && c.role == Server && c.flag&complete == 0)
}

// takeEarly begins to read a packet that waited for keys, if it can be opened now.
func (c *Conn) takeEarly() bool {
	for i, d := range c.early {
		l := OneRTT
		if d[0]&0x80 != 0 {
			l = Handshake
		}
		if c.awaitsKeys(l) {
			continue
		}
		c.arena.lent -= len(d)
		if c.early = slices.Delete(c.early, i, i+1); len(c.early) == 0 {
			c.early = nil // an idle connection keeps nothing of its handshake
		}
		*c.in = arriving{conn: c, from: c.paths.used, size: len(d), rest: d}
		return true
	}
	return false
}

// endPacket notes a packet whose frames were all taken: only now it may be acknowledged.
func (c *Conn) endPacket() {
	c.in.working = false
	s := c.spaces[c.level]
	if s == nil {
		return
	}
	high := s.recv.highest()
	s.recv.add(c.arena, c.in.number)
	if c.in.number > high {
		s.highAt = c.now
		if c.in.from == c.paths.used {
			c.paths.lead = c.in.lead
		} else if !c.in.probing && c.role == Server {
			c.move(c.in.from)
		}
	}
	if !c.in.elicits {
		return
	}
	s.unacked++
	switch {
	case high >= 0 && c.in.number != high+1,
		c.level == OneRTT && s.unacked >= ackEvery, c.level != OneRTT && c.role == Client:
		s.ackAt = c.now // RFC 9000 §13.2.1: a gap is told at once
	case s.ackAt != 0:
	case c.level == OneRTT:
		s.ackAt = c.now + ackDelay
	default: // §13.2.1 says at once: a server that computes its flight before it acknowledges is no earlier
		s.ackAt = c.now + answerWait
	}
}

// nextFrame takes the next frame of the packet.
func (c *Conn) nextFrame(ev *Event) {
	var f frame
	n, err := f.parse(c.in.frames)
	if err == nil && !f.kind.allowed(levelPackets[c.level], c.role == Server) {
		err = errFrameForbidden
	}
	if err == nil {
		c.in.frames = c.in.frames[n:]
		c.in.elicits = c.in.elicits || f.kind.eliciting()
		c.in.probing = c.in.probing && f.kind.probing()
		err = c.take(&f, ev)
	}
	switch err {
	case nil:
	case errGaps: // not a fault, but more than we keep: the packet counts as lost
		c.arena.Stats.Gaps++
		c.in.frames, c.in.working = nil, false
	default:
		c.fail(err, f.kind)
	}
}

// take acts on one frame.
func (c *Conn) take(f *frame, ev *Event) *Error {
	switch f.kind {
	case framePadding, framePing, frameDataBlocked, frameStreamsBlocked, frameNewToken:
		return c.useless()
	case frameAck:
		return c.onAck(f)
	case frameCrypto:
		return c.onCrypto(f, ev)
	case frameStream:
		return c.onStream(f, ev)
	case frameResetStream:
		return c.onReset(f, ev)
	case frameStopSending:
		return c.onStop(f, ev)
	case frameMaxData:
		return c.onMaxData(int64(f.value))
	case frameMaxStreamData:
		return c.onMaxStreamData(f)
	case frameMaxStreams:
		return c.onMaxStreams(f)
	case frameStreamDataBlocked:
		if _, err := c.streamOf(f.stream, true); err != nil {
			return err
		}
		return c.useless()
	case frameNewID:
		if fresh, err := c.theirs.onNewID(f); fresh || err != nil {
			return err
		}
		return c.useless()
	case frameRetireID:
		return c.onRetireID(f.value)
	case framePathChallenge:
		c.onChallenge(f)
		return c.useless()
	case framePathResponse:
		return c.onPathResponse(f)
	case frameHandshakeDone:
		if c.flag&complete == 0 { // the server has not seen our Finished
			return errEarlyDone
		}
		c.confirm()
	case frameClose, frameCloseApp:
		c.onClose(f)
	}
	return nil
}

// useless spends the budget for frames without effect.
func (c *Conn) useless() *Error { return c.spend(idleFrames) }

// spend takes one of the budget of k, and returns the fault when that is not allowed.
func (c *Conn) spend(k abuse) *Error { return budgets[k].Charge(&c.buckets[k], &c.arena.Stats, c.now) }
