package h2

// Open makes a stream for a request. Client only. It gets its number when its head is sent.
func (c *Conn) Open(now int64) (*Stream, error) {
	c.now = now
	switch {
	case c.fault != nil:
		return nil, errFaulted
	case c.role != Client || c.GoingAway():
		return nil, ErrGoingAway
	case c.Room() <= 0:
		return nil, ErrNoRoom
	}
	return c.newStream(), nil
}

func (c *Conn) newStream() *Stream {
	s := c.arena.streams.Take()
	*s = Stream{}
	s.conn, s.urgency, s.left, s.drainedAt = c, urgencyDefault, -1, c.now
	s.sendWindow, s.recvWindow, s.windowSize = c.peerStart, c.localStart, c.localStart
	c.open++
	c.arena.Stats.Streams++
	return s
}

// enter puts s, which has its number, into the table.
func (c *Conn) enter(s *Stream) {
	s.flag |= opened
	c.streams.put(s)
}

// peerEnded and ownEnded note that one side has sent END_STREAM.
func (c *Conn) peerEnded(s *Stream) {
	if s.flag |= recvEnd; s.flag&sentEnd != 0 {
		c.finish(s, ended)
	}
}

func (c *Conn) ownEnded(s *Stream) {
	c.dequeue(s) // nothing more is to be sent
	if s.flag |= sentEnd; s.flag&recvEnd != 0 {
		c.finish(s, ended)
	}
}

// finish closes s. It stays as it is, with its owner, until the next call of Next or Expire.
func (c *Conn) finish(s *Stream, how ending) {
	c.dequeue(s)
	c.forgive(s)
	if s.flag&lingers != 0 {
		c.lingered(s, how)
	}
	if c.data == s {
		c.data = nil
	}
	if s.flag&opened != 0 {
		c.streams.del(s)
		c.past.note(s.ID, how)
		if how == ended { // RST_STREAM may be on its way: a deadline is met at both ends at once
			c.buckets[strayFlood].Prepay(1)
		}
	}
	s.flag |= dead
	c.open--
	c.grown -= s.grown
	s.nextDying, c.dying = c.dying, s
}

// reap gives the streams that were closed since the last call back.
func (c *Conn) reap() {
	for s := c.dying; s != nil; s = c.dying {
		c.dying = s.nextDying
		*s = Stream{flag: dead}
		c.arena.streams.Put(s, spareStreams)
	}
}

// resetStream closes s and tells the peer. After a fault there is nothing to tell: GOAWAY has said what was wrong, and
// a code of its own would blame streams that were in order for it.
func (c *Conn) resetStream(s *Stream, code Code) {
	if s.flag&opened != 0 && (c.fault == nil || c.flag&closedByUs != 0) {
		c.control()
		c.ctl = appendRST(c.ctl, s.ID, code)
		c.arena.Stats.ResetsOut++
	}
	c.finish(s, ourReset)
}

// Reset ends s at once: RST_STREAM with code is pending. No event follows. s is dead.
func (c *Conn) Reset(s *Stream, code Code) {
	if s.flag&dead == 0 && s.conn == c {
		c.resetStream(s, code)
		// Frames on their way are not the peer's fault. The stream's window bounds how many they are.
		c.buckets[strayFlood].Prepay(strayPaid + int32(max(s.recvWindow, 0)/strayBytes))
	}
}

// Shutdown ends the connection gracefully: a server says GOAWAY twice, first with the highest number there is, after a
// round trip or a second with the last stream it has seen; a client takes no new streams. Open streams
// run to their end.
func (c *Conn) Shutdown(now int64) {
	c.now = now
	if c.flag&sentGoAway != 0 {
		return
	}
	c.flag |= sentGoAway
	c.control()
	if c.role == Client {
		c.flag |= sentLastCall
		c.ctl = appendGoAway(c.ctl, 0, NoError)
		return
	}
	// RFC 9113 §6.8: a server that is attempting to gracefully shut down SHOULD send an initial GOAWAY with the last
	// stream identifier set to 2^31-1 and NO_ERROR; after at least one round-trip time another one.
	c.ctl = appendGoAway(c.ctl, idMax, NoError)
	c.ctl = appendPing(c.ctl, 0, []byte(pingGoAway))
	c.goAwayBy = now + goAwayWait
}

// lastCall sends the second GOAWAY.
func (c *Conn) lastCall() {
	if c.flag&(sentGoAway|sentLastCall) != sentGoAway {
		return
	}
	c.flag |= sentLastCall
	c.goAwayBy, c.sentLast = 0, c.lastPeer
	c.control()
	c.ctl = appendGoAway(c.ctl, c.sentLast, NoError)
}

// Close ends the connection: GOAWAY with code is pending, nothing more is read. No event follows, for no stream.
func (c *Conn) Close(code Code) {
	if c.fault == nil {
		c.over(errClosed, code)
	}
	c.flag |= closedByUs
}

// Room returns how many more streams Open may make.
func (c *Conn) Room() int {
	if c.role != Client || c.GoingAway() || c.fault != nil {
		return 0
	}
	return max(min(c.Limit(), int(idMax-c.lastOwn)/2)-c.open, 0)
}

// Limit returns how many streams of ours may be open at once: what the peer allows, and Options.MaxStreams.
func (c *Conn) Limit() int { return min(c.peerMax, c.o.maxStreams()) }

// Streams returns how many streams are open.
func (c *Conn) Streams() int { return c.open }

// Owed returns the bytes of all streams that were delivered and not released.
func (c *Conn) Owed() int { return int(c.owed) }

// Done reports whether the connection may be closed once what is pending has left: after a Fault, or no stream is open
// and none will be.
func (c *Conn) Done() bool {
	return c.fault != nil || c.open == 0 && (c.flag&sentLastCall != 0 || c.role == Client && c.flag&gotGoAway != 0)
}

// GoingAway reports whether a GOAWAY was sent or came: a client opens no new streams.
func (c *Conn) GoingAway() bool { return c.flag&(sentGoAway|gotGoAway) != 0 }

// ExtendedConnect reports whether the peer takes extended CONNECT (RFC 8441).
func (c *Conn) ExtendedConnect() bool { return c.flag&peerExtended != 0 }

// Stats returns the counters of c's Arena.
func (c *Conn) Stats() *Stats { return &c.arena.Stats }
