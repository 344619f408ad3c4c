package h3

import (
	"time"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

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
	c.unsent++
	return c.newStream(request), nil
}

func (c *Conn) newStream(role streamRole) *Stream {
	s := c.arena.streams.Take()
	*s = Stream{conn: c, role: role, left: message.LengthUnknown, openedAt: c.now}
	if role == request {
		c.open++
		c.arena.Stats.Streams++
	}
	return s
}

// bind makes qs the stream of QUIC that s is.
func (c *Conn) bind(s *Stream, qs *quic.Stream) {
	s.qs, s.ID, qs.Owner = qs, qs.ID, s
	if s.role == request {
		c.streams.PushBack(&s.opening, s)
	}
}

// peerEnded and ownEnded note that one side has sent its last.
func (c *Conn) peerEnded(s *Stream) {
	if s.flag |= recvEnd; s.flag&sentEnd != 0 {
		c.finish(s)
	}
}

func (c *Conn) ownEnded(s *Stream) {
	if s.flag |= sentEnd; s.flag&recvEnd != 0 {
		c.finish(s)
	}
}

// giveUp ends s in both directions, as far as they have not ended.
func (c *Conn) giveUp(s *Stream, code Code) {
	if s.flag&dead != 0 {
		return
	}
	if s.qs != nil {
		c.arena.Stats.ResetsOut++
		if s.flag&sentEnd == 0 {
			c.q.Reset(s.qs, uint64(code))
		}
		c.q.Stop(s.qs, uint64(code))
	}
	c.finish(s)
}

// finish closes s. It stays as it is, with its owner, until the next call of Next or Expire.
func (c *Conn) finish(s *Stream) {
	if s.flag&dead != 0 {
		return
	}
	c.dropBlock(s)
	c.dropQueue(s)
	if s.role == request {
		s.heading.Remove()
		s.opening.Remove()
		c.open--
	}
	if s.qs != nil {
		c.q.Stop(s.qs, uint64(NoError)) // nothing, where all has come
	}
	switch {
	case s.qs == nil:
		c.unsent--
	case s.qs == c.current: // QUIC must not use it again before the event about it is used up
		c.flag |= spent | doneDue
	default:
		c.q.Done(s.qs)
	}
	s.flag |= dead
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

// Release says that the caller needs n more of the bytes that Data delivered on s no longer.
func (c *Conn) Release(s *Stream, n int) {
	if s.flag&dead == 0 && s.conn == c {
		c.q.Release(s.qs, n)
	}
}

// Reset ends s at once, with code for the peer. No event follows. s is dead.
func (c *Conn) Reset(s *Stream, code Code) {
	if s.conn == c {
		c.giveUp(s, code)
	}
}

// StopRequest throws away what the peer still sends on s, which we have ended: RFC 9114 §4.1, STOP_SENDING with
// H3_NO_ERROR. No event follows: s is not the caller's any more.
func (c *Conn) StopRequest(s *Stream) {
	switch {
	case s.flag&dead != 0 || s.conn != c:
	case s.flag&(sentEnd|endDue) == 0 || c.fault != nil:
		c.giveUp(s, NoError)
	default:
		s.Owner = nil
		s.flag |= muted
		c.q.Stop(s.qs, uint64(NoError))
		if s.qs == c.current {
			c.flag |= spent
		}
		c.peerEnded(s)
	}
}

// Shutdown ends the connection gracefully: a server says GOAWAY twice, first with the highest number there is, after a
// second, or when Shutdown is called again, with the first request that it has not seen; a client takes no new streams.
// Open streams run to their end.
func (c *Conn) Shutdown(now int64) {
	c.now = now
	if c.flag&sentGoAway != 0 || c.fault != nil {
		c.lastCall()
		return
	}
	c.flag |= sentGoAway
	if c.role == Client {
		c.sentLast = 0 // of pushes: there are none
	} else {
		// RFC 9114 §5.2: a server SHOULD send an initial GOAWAY with 2^62-4, and one with the actual limit afterwards.
		c.goAwayBy = now + goAwayWait
	}
	c.sendGoAway()
}

// lastCall sends the last GOAWAY, if that is yet to come.
func (c *Conn) lastCall() {
	if c.goAwayBy != 0 && c.fault == nil {
		c.goAwayBy, c.sentLast = 0, c.nextPeer
		c.sendGoAway()
	}
}

// Close ends the connection with code: nothing more is read. No event follows, for no stream.
func (c *Conn) Close(code Code) {
	if c.fault == nil {
		c.fault = errClosed
		c.q.Close(uint64(code))
	}
	c.flag |= faultTold
}

// Room returns how many more streams Open may make.
func (c *Conn) Room() int {
	if c.role != Client || c.GoingAway() || c.fault != nil {
		return 0
	}
	return max(min(c.q.RoomFor(quic.TwoWay)-c.unsent, c.o.maxStreams()-c.open), 0)
}

// Streams returns how many streams are open.
func (c *Conn) Streams() int { return c.open }

// Done reports whether the connection may be closed: after a Fault, or no stream is open, none will be, and the peer
// has acknowledged all that was sent.
func (c *Conn) Done() bool {
	return c.fault != nil || c.open == 0 && c.q.Held() == 0 &&
		(c.sentLast != idMax || c.role == Client && c.peerLast != noGoAway)
}

// GoingAway reports whether a GOAWAY was sent or came: a client opens no new streams.
func (c *Conn) GoingAway() bool { return c.flag&sentGoAway != 0 || c.peerLast != noGoAway }

// ExtendedConnect reports whether the peer takes extended CONNECT (RFC 9220).
func (c *Conn) ExtendedConnect() bool { return c.flag&peerExtended != 0 }

// Stats returns the counters of c's Arena.
func (c *Conn) Stats() *Stats { return &c.arena.Stats }

// Deadline returns when Expire has to be called, 0 for never. It may change with every call.
func (c *Conn) Deadline() int64 {
	if c.fault != nil {
		if c.flag&faultTold != 0 {
			return 0
		}
		return c.now
	}
	at := c.goAwayBy
	if s := c.heads.First(); s != nil {
		if t := s.openedAt + c.o.headTimeout(); at == 0 || t < at {
			at = t
		}
	}
	return at
}

// Expire acts on the times that have come. Call it until the event is NeedMore.
func (c *Conn) Expire(now int64) (ev Event) {
	c.now = now
	c.reap()
	if c.fault != nil {
		return c.tellFault()
	}
	if c.goAwayBy <= now {
		c.lastCall()
	}
	s := c.heads.First()
	if s == nil || s.openedAt+c.o.headTimeout() > now {
		return Event{}
	}
	c.arena.Stats.HeadTimeout++
	if err := c.malformed(s, ErrHeadTimeout, &ev); err != nil {
		c.fail(err)
		return c.tellFault()
	}
	return ev
}

// Relieve gives up the oldest exchange whose head did not come to its end in age: memory is short. That is no fault of
// the peer, which may ask again (RFC 9114 §4.1.1). Call it until the event is NeedMore.
func (c *Conn) Relieve(now int64, age time.Duration) Event {
	c.now = now
	c.reap()
	if c.fault != nil {
		return c.tellFault()
	}
	s := c.heads.First()
	if s == nil || s.openedAt+int64(age) > now {
		return Event{}
	}
	c.giveUp(s, RequestRejected)
	return Event{Kind: Reset, Code: RequestRejected, Err: ErrHeadTimeout}
}
