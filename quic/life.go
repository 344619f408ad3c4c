package quic

// Close ends the connection with a code of the application. What was sent and not acknowledged is lost.
func (c *Conn) Close(code uint64) {
	if c.state == open {
		c.end(Closure{Code: code, App: true}, 0)
	}
}

// fail ends the connection for a fault of the peer, or a limit.
func (c *Conn) fail(err *Error, kind frameKind) {
	if c.state == open {
		c.arena.Stats.Faults++
		c.end(Closure{Err: err, Code: uint64(err.Code)}, kind)
	}
}

// end says CONNECTION_CLOSE, again and again for a time (RFC 9000 §10.2.1).
func (c *Conn) end(k Closure, kind frameKind) {
	c.life.closure, c.life.frame, c.state = k, kind, closing
	c.flag |= closeDue | tellClosed
	c.life.overAt = c.now + c.sent.rtt.closingTime()
	c.life.answerStep, c.life.answerIn = 1, 1
	c.forgetAll()
}

// finish ends the connection without a word to the peer.
func (c *Conn) finish(err error) {
	if c.state == open {
		c.life.closure, c.state = Closure{Err: err, ByPeer: err == ErrReset}, over
		c.flag |= tellClosed
		c.forgetAll()
	}
}

// onClose takes CONNECTION_CLOSE: nothing is sent any more (§10.2.2).
func (c *Conn) onClose(f *frame) {
	c.life.closure = Closure{Err: ErrPeer, Code: f.code, App: f.kind == frameCloseApp, ByPeer: true}
	c.state = draining
	c.flag |= tellClosed
	c.life.overAt = c.now + c.sent.rtt.closingTime()
	c.forgetAll()
}

// forgetAll gives back the memory of all streams, once. The streams stay until Done, and do nothing.
func (c *Conn) forgetAll() {
	if c.in.conn == c { // else another Conn reads, and c ends meanwhile
		*c.in = arriving{}
	}
	for _, d := range c.early {
		c.arena.lent -= len(d)
	}
	c.early = nil
	c.arena.lent -= c.streams.used * streamSize
	for _, s := range c.streams.slots {
		if s != nil {
			s.in.drop(c.memory())
			s.out.drop(c.arena)
		}
	}
	c.flow.held = 0
	for _, s := range c.spaces {
		if s != nil {
			for i := range s.frames.n {
				if f := s.frames.at(i); f.stream != nil {
					f.stream.refs--
				}
			}
			s.drop(c.memory())
		}
	}
	if c.state != closing { // nothing is sealed or opened any more
		c.spaces = [levels]*space{}
	}
}

// answers reports whether a datagram that comes while closing is answered: the first, one in two, in four and so on.
func (l *life) answers() bool {
	if l.answerIn--; l.answerIn > 0 {
		return false
	}
	l.answerStep *= 2
	l.answerIn = l.answerStep
	return true
}

// appendClosing writes CONNECTION_CLOSE at each level that the peer may be able to read (§10.2.3).
func (c *Conn) appendClosing(dst []byte, limit int) []byte {
	c.flag &^= closeDue
	if c.life.answerStep == 1 { // the first: Close has no time
		c.life.overAt = c.now + c.sent.rtt.closingTime()
	}
	text := ""
	if e, ok := c.life.closure.Err.(*Error); ok {
		text = e.text
	}
	for l, s := range c.spaces {
		if s == nil || !s.write.have() || l == int(OneRTT) && c.flag&(complete|gotParameters) == 0 {
			continue
		}
		if limit-len(dst) < 2*idMax+64+len(text)+tagLen {
			break
		}
		var p packet
		p, dst = c.beginPacket(dst, Level(l), s, c.theirs.current())
		if c.life.closure.App && Level(l) != OneRTT { // §10.2.3: its reason is not told before the handshake is over
			dst = appendClose(dst, false, uint64(ApplicationError), 0, "")
		} else {
			dst = appendClose(dst, c.life.closure.App, c.life.closure.Code, c.life.frame, text)
		}
		if next := c.spaces[Handshake]; Level(l) == Initial && c.role == Client && !next.write.have() {
			for len(dst) < limit-tagLen {
				dst = append(dst, 0)
			}
		}
		dst = p.seal(dst)
	}
	return dst
}

// Deadline returns when Expire has to be called at the latest; 0: never.
func (c *Conn) Deadline() (at int64) {
	first := func(t int64) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	switch c.state {
	case over:
		return 0
	case closing, draining:
		return c.life.overAt
	}
	if c.flag&confirmed == 0 {
		first(c.life.startedAt + c.o.handshake())
	}
	first(c.idleAt())
	if t := c.paths.trial; t != nil {
		first(t.at)
	}
	paceAt, paced := c.sent.window.opens()
	paced = paced && paceAt > c.now
	for l, s := range c.spaces {
		if s != nil {
			first(s.lossAt)
			if !c.blocked() {
				first(s.ackAt)
				if paced && s.write.have() && c.wants(Level(l), s) {
					first(paceAt)
				}
			}
		}
	}
	probe, _ := c.probeAt()
	first(probe)
	return at
}

// idleAt returns when the connection has been idle for too long; 0: never.
func (c *Conn) idleAt() int64 {
	after := c.o.idle()
	if theirs := int64(min(c.peer.idle, 1<<40)) * 1e6; theirs > 0 {
		after = min(after, theirs)
	}
	return c.life.heardAt + max(after, c.sent.rtt.idleLeast())
}

// Expire acts on the times that have come. Next and AppendDatagram follow.
func (c *Conn) Expire(now int64) {
	c.now = now
	switch c.state {
	case closing, draining:
		if now >= c.life.overAt {
			c.state = over
		}
		return
	case over:
		return
	}
	if c.flag&confirmed == 0 && now >= c.life.startedAt+c.o.handshake() {
		c.end(Closure{Err: ErrHandshakeTimeout}, 0)
		return
	}
	if now >= c.idleAt() {
		c.finish(ErrIdle)
		return
	}
	if t := c.paths.trial; t != nil && t.at <= now {
		c.tryPath()
	}
	for _, s := range c.spaces {
		if s != nil && s.lossAt != 0 && s.lossAt <= now {
			c.detectLost(s)
			s.trim(c.arena)
		}
	}
	if at, l := c.probeAt(); at != 0 && at <= now {
		c.onProbeTimeout(l)
	}
}
