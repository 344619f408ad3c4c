package quic

// Pending reports whether AppendDatagram may have something to write now: it has not, after it wrote nothing.
func (c *Conn) Pending() bool {
	switch {
	case c.state == closing:
		return c.flag&closeDue != 0 && !c.blocked()
	case c.state != open:
		return false
	case c.paths.hasAside():
		return true
	case c.blocked():
		return false
	case c.triesLonger():
		return true
	}
	for l, s := range c.spaces {
		if s == nil || !s.write.have() {
			continue
		}
		if s.ackDue(c.now) || s.probes > 0 || c.sent.window.fits(c.now) && c.wants(Level(l), s) {
			return true
		}
	}
	return false
}

// wants reports whether a space has frames to send that ask for an acknowledgement.
func (c *Conn) wants(l Level, s *space) bool {
	if l == OneRTT && !c.mayRun() {
		return false
	}
	if _, _, _, ok := s.cryptoOut.pick(1, integerMax); ok {
		return true
	}
	return l == OneRTT && (c.flag&controlFlags != 0 || c.flow.due || c.control.first != nil || c.sending.first != nil ||
		c.own.idDue() != nil || len(c.theirs.retired) > 0)
}

// mayRun reports whether 1-RTT packets may carry more than acknowledgements: a server's may before the client's
// Finished, and not to an address that is challenged.
func (c *Conn) mayRun() bool {
	return c.flag&gotParameters != 0 && c.flag&(confirmed|validated) != confirmed
}

// blocked reports whether the address is not validated and a datagram would be more than its share (RFC 9000 §8.1).
// During the handshake a small one does not leave either: it may have no Initial that asks for an acknowledgement
// (§14.1).
func (c *Conn) blocked() bool {
	if c.flag&validated != 0 {
		return false
	}
	least := int64(DatagramSize)
	if c.flag&confirmed != 0 {
		least = leastRoom
	}
	return c.paths.room() < least
}

// leastRoom is enough for a packet and some frames.
const leastRoom = 2*idMax + 64 + tagLen

// AppendDatagram appends the next datagram to dst, which has room for DatagramMax bytes more, and tells its path. When
// nothing may leave out has the length of dst. It is called until then.
func (c *Conn) AppendDatagram(dst []byte, now int64) (out []byte, p Path) {
	c.check()
	c.now = now
	if c.state == open {
		if a := c.paths.takeAside(); a != nil {
			return c.appendAside(dst, a), a.to
		}
	}
	at := len(dst)
	limit := at + c.length.limit(c.sent.ptoCount)
	if c.flag&validated == 0 {
		limit = min(limit, at+int(c.paths.room()))
	}
	switch {
	case c.blocked():
	case c.state == closing && c.flag&closeDue != 0:
		dst = c.appendClosing(dst, limit)
	case c.state == open:
		if c.flag&confirmed != 0 {
			c.phase.tend(c.spaces[OneRTT], now)
		}
		if c.triesLonger() {
			dst = c.appendLonger(dst)
			break
		}
		dst = c.appendPackets(dst, limit)
		if c.flag&confirmed != 0 && len(dst) >= limit-leastRoom {
			c.length.wanted(c.paths.used, int(c.peer.payload))
		}
	}
	c.paths.out += int64(len(dst) - at)
	if len(dst) > at && c.blocked() {
		c.arena.Stats.Held++
	}
	return dst, c.paths.used
}

// packet is a packet before it is sealed: another one may follow it in the datagram, or padding.
type packet struct {
	conn                *Conn
	space               *space
	level               Level
	start, number, body int
	frames              int   // of sentFrames that it has
	acks                int64 // the highest number that its ACK has, or none
	elicits             bool
}

// appendPackets writes packets of all levels that have something to send.
func (c *Conn) appendPackets(dst []byte, limit int) []byte {
	var last packet
	pad, least := false, min(limit, len(dst)+DatagramSize)
	for l, s := range c.spaces {
		if s == nil || !s.write.have() {
			continue
		}
		gap := 0
		if last.space != nil {
			gap = tagLen // of the packet before
		}
		next, out := c.writePacket(dst, gap, Level(l), s, limit)
		if next.space == nil {
			continue
		}
		if last.space != nil {
			last.seal(out[:len(dst)])
		}
		// RFC 9000 §14.1: a datagram with an Initial is large, so that the path is known to take such.
		pad = pad || Level(l) == Initial && (c.role == Client || next.elicits)
		dst, last = out, next
	}
	if last.space == nil {
		return dst
	}
	if pad {
		for len(dst) < least-tagLen {
			dst = append(dst, 0)
		}
	}
	return last.seal(dst)
}

// writePacket writes a packet after a gap, or nothing.
func (c *Conn) writePacket(dst []byte, gap int, l Level, s *space, limit int) (p packet, out []byte) {
	begin := len(dst)
	if limit-begin-gap < 2*idMax+64 {
		return p, dst
	}
	p, dst = c.beginPacket(dst[:begin+gap], l, s, c.theirs.current())
	dst = p.writeFrames(dst, limit-tagLen)
	if len(dst) == p.body {
		return packet{}, dst[:begin]
	}
	for len(dst) < p.number+sampleAt { // the sample of header protection
		dst = append(dst, 0)
	}
	return p, dst
}

// beginPacket writes the header of a packet to an id of the peer.
func (c *Conn) beginPacket(dst []byte, l Level, s *space, to *ID) (p packet, out []byte) {
	p = packet{conn: c, space: s, level: l, start: len(dst), acks: none}
	if l == OneRTT && s.next == c.sent.skipAt {
		c.sent.skipped = s.next
		s.next++
		c.sent.chooseSkip(s.next, c.o.random())
	}
	if l == OneRTT {
		dst = appendShort(dst, to, c.phase.write)
	} else {
		var token []byte // which appendLong writes into an Initial only
		if c.retry != nil {
			token = c.retry.token
		}
		dst = appendLong(dst, levelPackets[l], to, &c.local.initialSource, token)
	}
	p.number = len(dst)
	dst = appendNumber(dst, s.next, numberLen(s.next, s.acked))
	p.body = len(dst)
	return p, dst
}

// seal seals the last packet of d, and notes that it was sent.
func (p *packet) seal(d []byte) []byte {
	c, s, n := p.conn, p.space, p.space.next
	if p.level != OneRTT {
		setLength(d, p.number, len(d)-p.number+tagLen)
	}
	d = s.write.seal(d, p.start, p.number, p.body, n)
	s.next++
	size := len(d) - p.start
	if p.elicits {
		if p.acks != none {
			p.note(frameAck, nil).from = p.acks
		}
		f := s.sent.push(&c.arena.sent)
		f.number, f.at, f.size, f.count = n, c.now, uint16(size), uint8(p.frames)
		f.frames = s.frames.place + uint32(s.frames.n-p.frames)
		s.flying++
		s.lastAt = c.now
		c.sent.window.sent(size, c.now, c.sent.rtt.estimate())
		if c.flag&eliciting == 0 {
			c.flag |= eliciting
			c.life.heardAt = c.now // RFC 9000 §10.1: the idle time begins anew
		}
	} else {
		c.sent.window.sentAck(size, c.now, c.sent.rtt.estimate())
	}
	if p.level == Handshake && c.role == Client {
		c.dropSpace(Initial) // RFC 9001 §4.9.1
	}
	if n-c.phase.writeFirst >= s.write.suite.sealMax {
		c.fail(errSealLimit, 0)
	}
	return d
}

// framesMax is how many frames of a packet are noted.
const framesMax = 64

// note records a frame of p, of a stream or nil, for when p is acknowledged or lost. The caller adds the rest.
func (p *packet) note(kind frameKind, of *Stream) *sentFrame {
	p.elicits = true
	p.frames++
	f := p.space.frames.push(&p.conn.arena.frames)
	if f.kind, f.stream = kind, of; of != nil {
		of.refs++
	}
	return f
}

// writeFrames writes frames up to the length limit.
func (p *packet) writeFrames(dst []byte, limit int) []byte {
	c, s := p.conn, p.space
	probe := s.probes > 0
	wants := (probe || c.sent.window.fits(c.now)) && c.wants(p.level, s)
	if s.ackAt != 0 && (s.ackAt <= c.now || wants || probe) {
		dst = p.writeAck(dst, c.now, limit)
	}
	if wants {
		dst = p.writeCrypto(dst, limit)
		if p.level == OneRTT {
			dst = p.writeControl(dst, limit)
			dst = p.writeStreams(dst, limit)
		}
	}
	if probe {
		if s.probes--; !p.elicits {
			dst = append(dst, byte(framePing))
			p.note(framePing, nil)
		}
	}
	return dst
}

// writeAck writes ACK.
func (p *packet) writeAck(dst []byte, now int64, limit int) []byte {
	s := p.space
	delay := uint64(0)
	if p.level == OneRTT {
		delay = uint64(max(now-s.highAt, 0)) / 1e3 >> exponentDefault
	}
	before := len(dst)
	dst = s.recv.appendAck(dst, delay, limit-len(dst))
	if len(dst) > before {
		p.acks = s.recv.highest()
	}
	if len(dst) > before || s.recv.count == 0 { // none: all of them were forgotten
		s.ackAt, s.unacked = 0, 0
	}
	return dst
}

// writeCrypto writes CRYPTO.
func (p *packet) writeCrypto(dst []byte, limit int) []byte {
	o := &p.space.cryptoOut
	for p.frames < framesMax {
		from, _, _, ok := o.pick(1, integerMax)
		room := cryptoRoom(limit-len(dst), uint64(from))
		if !ok || room <= 0 {
			break
		}
		_, n, _, _ := o.pick(room, integerMax)
		dst = appendCrypto(dst, uint64(from), n)
		dst = o.appendTo(dst, from, n)
		o.sent(from, n, false)
		f := p.note(frameCrypto, nil)
		f.from, f.n = from, int32(n)
	}
	return dst
}

// controlRoom is more than any frame of control takes.
const controlRoom = 64

// writeControl writes the frames that are neither of the handshake nor data.
func (p *packet) writeControl(dst []byte, limit int) []byte {
	c := p.conn
	room := func() bool { return limit-len(dst) >= controlRoom && p.frames < framesMax }
	if !room() {
		return dst
	}
	if c.flag&doneDue != 0 {
		c.flag &^= doneDue
		dst = appendFrame(dst, frameHandshakeDone)
		p.note(frameHandshakeDone, nil)
	}
	if c.flow.due && room() {
		c.flow.due = false
		c.flow.takeMax = max(c.flow.takeMax, c.flow.credited+c.flow.budget)
		dst = appendFrame(dst, frameMaxData, uint64(c.flow.takeMax))
		p.note(frameMaxData, nil)
	}
	if c.flag&streamsDue != 0 && room() {
		c.flag &^= streamsDue
		dst = appendFrame(dst, frameMaxStreams, c.limit[c.theirType(TwoWay)])
		p.note(frameMaxStreams, nil)
	}
	if c.flag&oneWaysDue != 0 && room() {
		c.flag &^= oneWaysDue
		dst = appendFrame(dst, frameMaxStreams|1, c.limit[c.theirType(OneWay)])
		p.note(frameMaxStreams|1, nil)
	}
	for id := c.own.idDue(); id != nil && room(); id = c.own.idDue() {
		id.due, c.own.told = false, max(c.own.told, id.sequence+1)
		dst = appendNewID(dst, id.sequence, 0, &id.id, &id.token)
		p.note(frameNewID, nil).from = int64(id.sequence)
	}
	for len(c.theirs.retired) > 0 && room() {
		last := len(c.theirs.retired) - 1
		n := c.theirs.retired[last]
		c.theirs.retired = c.theirs.retired[:last]
		c.theirs.flying++
		dst = appendFrame(dst, frameRetireID, n)
		p.note(frameRetireID, nil).from = int64(n)
	}
	for t := c.control.first; t != nil && room(); t = c.control.first {
		dst = p.writeStreamControl(dst, t)
		c.control.remove(t)
	}
	return dst
}

// writeStreamControl writes what is due for a stream beside its data.
func (p *packet) writeStreamControl(dst []byte, t *Stream) []byte {
	if t.flag&resetDue != 0 {
		dst = appendFrame(dst, frameResetStream, t.ID, t.resetTo, uint64(t.out.size))
		p.note(frameResetStream, t)
	}
	if t.flag&stopDue != 0 {
		dst = appendFrame(dst, frameStopSending, t.ID, t.stopCode)
		p.note(frameStopSending, t)
	}
	if t.flag&windowDue != 0 {
		t.openWindow(p.conn.now, int64(p.conn.o.streamWindowMax()))
		dst = appendFrame(dst, frameMaxStreamData, t.ID, uint64(t.recvMax))
		p.note(frameMaxStreamData, t)
	}
	t.flag &^= controlDue
	return dst
}

// writeStreams writes data of the streams in turns: each has a packet's rest, then the next one's turn comes.
func (p *packet) writeStreams(dst []byte, limit int) []byte {
	c := p.conn
	for t := c.sending.first; t != nil && p.frames < framesMax; t = c.sending.first {
		from, _, _, ok := t.out.pick(1, integerMax)
		if !ok {
			c.sending.remove(t)
			continue
		}
		room := streamRoom(limit-len(dst), t.ID, uint64(from))
		if room <= 0 {
			break
		}
		_, n, end, ok := t.out.pick(room, integerMax)
		dst = appendStream(dst, t.ID, uint64(from), n, end)
		dst = t.out.appendTo(dst, from, n)
		t.out.sent(from, n, end)
		f := p.note(frameStream, t)
		f.from, f.n, f.end = from, int32(n), end
		c.sending.remove(t)
		if _, _, _, more := t.out.pick(1, integerMax); ok && more {
			c.sending.push(t)
		}
	}
	return dst
}
