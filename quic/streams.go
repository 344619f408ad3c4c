package quic

// streamOf returns the stream of a frame; nil when it is over and forgotten. sends says that the frame is about data
// that the peer sends. Streams that the peer may open come into being, with all before them (RFC 9000 §3.2).
func (c *Conn) streamOf(id uint64, sends bool) (*Stream, *Error) {
	t, n := int(id&(streamTypes-1)), id/streamTypes
	ours := id&byServerBit == uint64(c.ourType(TwoWay))
	if id&oneWayBit != 0 && ours == sends {
		return nil, errStreamState
	}
	switch {
	case n < c.opened[t]:
		return c.streams.get(id), nil
	case ours:
		return nil, errStreamState
	case n >= c.limit[t]:
		return nil, errStreamLimit
	}
	var s *Stream
	for ; c.opened[t] <= n; c.opened[t]++ {
		s = c.newStream(c.opened[t]*streamTypes | uint64(t))
	}
	return s, nil
}

// Open opens a stream. ErrNoRoom: the peer allows no more now, and Room will say when.
func (c *Conn) Open(k StreamKind) (*Stream, error) {
	t := c.ourType(k)
	switch {
	case c.state != open:
		return nil, ErrOver
	case c.opened[t] >= c.limit[t]:
		return nil, ErrNoRoom
	}
	s := c.newStream(c.opened[t]*streamTypes | uint64(t))
	c.opened[t]++
	return s, nil
}

// Allows reports whether the limits of this side and of the peer let a stream have the number id.
func (c *Conn) Allows(id uint64) bool { return id/streamTypes < c.limit[id%streamTypes] }

// RoomFor returns how many more streams of a kind may be opened now.
func (c *Conn) RoomFor(k StreamKind) int {
	t := c.ourType(k)
	return int(min(c.limit[t]-c.opened[t], 1<<30))
}

func (c *Conn) newStream(id uint64) *Stream {
	s := c.arena.streams.Take()
	c.arena.lent += streamSize
	s.ID = id
	ours := id&byServerBit == uint64(c.ourType(TwoWay))
	switch {
	case id&oneWayBit == 0 && ours:
		s.sendMax, s.recvMax = int64(c.peer.streamRemote), int64(c.o.streamWindow())
	case id&oneWayBit == 0:
		s.sendMax, s.recvMax = int64(c.peer.streamLocal), int64(c.o.streamWindow())
	case ours:
		s.sendMax, s.flag = int64(c.peer.streamOneWay), recvOver
	default:
		s.recvMax, s.flag = int64(c.o.streamWindow()), sendOver
	}
	s.window, s.openedAt = s.recvMax, c.now
	c.streams.put(s)
	return s
}

// Done says that the caller is done with s, whose events end. A direction that is not over is reset, and data that
// still comes is thrown away. A stream that the peer has opened makes room for another one.
func (c *Conn) Done(s *Stream) {
	if s.flag&streamDone != 0 {
		return
	}
	s.flag |= streamDone
	c.Release(s, int(s.delivered-s.released))
	if s.flag&(sendOver|sendReset) == 0 && !s.out.ended {
		c.Reset(s, 0)
	}
	if s.flag&recvOver == 0 {
		c.Stop(s, 0)
	}
	c.waiting.remove(s)
	if t := int(s.ID & (streamTypes - 1)); t == c.theirType(TwoWay) || t == c.theirType(OneWay) {
		// A peer that acknowledges nothing gets no more than twice its streams: it would make us keep all of them.
		if c.ending++; c.ending > c.o.streams()+c.o.oneWayStreams() {
			s.flag |= roomLater
		} else {
			c.limit[t]++
			c.flag |= dueFor(t)
		}
	}
	c.free(s)
}

// dueFor returns the flag of MAX_STREAMS for streams of a type.
func dueFor(t int) connFlags {
	if t&oneWayBit == 0 {
		return streamsDue
	}
	return oneWaysDue
}

// free gives s back once nothing refers to it: the body of an event neither.
func (c *Conn) free(s *Stream) {
	if s.flag&(streamDone|recvOver|sendOver) != streamDone|recvOver|sendOver || s.refs > 0 || c.in.ordered == s {
		return
	}
	c.sending.remove(s)
	c.waiting.remove(s)
	c.control.remove(s)
	c.flow.held -= int64(s.out.held())
	s.in.drop(c.memory())
	s.out.drop(c.arena)
	if t := int(s.ID & (streamTypes - 1)); t == c.theirType(TwoWay) || t == c.theirType(OneWay) {
		if c.ending--; s.flag&roomLater != 0 {
			c.limit[t]++
			c.flag |= dueFor(t)
		}
	}
	c.streams.remove(s.ID)
	if c.state == open { // else forgetAll has
		c.arena.lent -= streamSize
	}
	c.arena.putStream(s)
}

// onStream takes data of a stream.
func (c *Conn) onStream(f *frame, ev *Event) *Error {
	s, err := c.streamOf(f.stream, true)
	if err != nil {
		return err
	}
	if len(f.body) == 0 && (s == nil || !f.end || s.in.sized) {
		err = c.useless()
	}
	if s == nil || err != nil {
		return err
	}
	if err := c.count(s, int64(f.offset)+int64(len(f.body))); err != nil {
		return err
	}
	b, err := s.in.take(c.memory(), f.offset, f.body, f.end, streamGaps)
	if err != nil || len(b) == 0 && !(s.in.ended() && s.flag&recvOver == 0) {
		return err
	}
	c.deliver(s, b, ev)
	return nil
}

// count accounts for data of s that reaches to to: what was skipped counts, as the peer has used up the windows for it.
func (c *Conn) count(s *Stream, to int64) *Error {
	if to <= s.in.high || s.flag&recvOver != 0 {
		return nil
	}
	taken := c.flow.taken + to - s.in.high
	if to > s.recvMax || taken > c.flow.takeMax {
		return errData
	}
	c.flow.taken = taken
	return nil
}

// deliver makes the event of data in order, unless it is not wanted.
func (c *Conn) deliver(s *Stream, b []byte, ev *Event) bool {
	c.in.ordered = s
	end := s.in.ended()
	if end {
		s.flag |= recvOver
	}
	if s.flag&discarding != 0 {
		c.flow.credit(len(b))
		if end {
			c.free(s)
		}
		return len(b) > 0 // the rest of it comes by the next call
	}
	s.delivered += int64(len(b))
	c.flow.owe(len(b))
	ev.Kind, ev.Stream, ev.Body, ev.End = Data, s, b, end
	return true
}

// onReset takes RESET_STREAM.
func (c *Conn) onReset(f *frame, ev *Event) *Error {
	s, err := c.streamOf(f.stream, true)
	if s == nil || err != nil {
		return err
	}
	before := s.in.next
	if err := c.count(s, int64(f.value)); err != nil {
		return err
	}
	if err := s.in.reach(int64(f.value), true); err != nil {
		return err
	}
	if s.flag&recvOver != 0 {
		return c.useless()
	}
	// RFC 9000 §4.5: the final size counts for the windows, or both ends would see other ones.
	c.flow.credit(int(s.in.size - before))
	s.in.drop(c.memory())
	s.in.next = s.in.size
	s.flag |= recvOver
	told := s.flag&discarding == 0
	if !told {
		c.free(s)
		return nil
	}
	ev.Kind, ev.Stream, ev.Code = Reset, s, f.code
	return nil
}

// onStop takes STOP_SENDING. RFC 9000 §3.5: it is answered by RESET_STREAM.
func (c *Conn) onStop(f *frame, ev *Event) *Error {
	s, err := c.streamOf(f.stream, false)
	if s == nil || err != nil {
		return err
	}
	if s.flag&(sendOver|sendReset) != 0 {
		return c.useless()
	}
	c.Reset(s, f.code)
	if s.flag&streamDone != 0 {
		return nil
	}
	ev.Kind, ev.Stream, ev.Code = Stopped, s, f.code
	return nil
}

// Send copies as much of p as windows and memory allow, and sends it with the next datagrams. With n < len(p) the rest
// stays with the caller, and so does the end: Sendable will come.
func (c *Conn) Send(s *Stream, p []byte, end bool) (n int) {
	if c.state != open || s.flag&(sendOver|sendReset) != 0 || s.out.ended {
		return len(p) // an event has said so, or is about to
	}
	n = min(len(p), c.SendRoom(s))
	s.out.write(c.arena, p[:n])
	c.flow.held += int64(n)
	c.flow.dataSent += int64(n)
	if n < len(p) {
		c.waiting.push(s)
	} else if end {
		s.out.finish()
	}
	if n > 0 || end {
		c.sending.push(s)
	}
	return n
}

// SendRoom returns how many bytes Send would take for s now.
func (c *Conn) SendRoom(s *Stream) int {
	kept := c.o.heldMax(c.sent.window.size) - c.flow.held
	return int(max(min(kept, c.flow.dataMax-c.flow.dataSent, s.sendMax-s.out.size), 0))
}

// Full reports whether Send would take nothing for any stream, until the peer acknowledges more.
func (c *Conn) Full() bool { return c.flow.held >= c.o.heldMax(c.sent.window.size) }

// nextSendable returns a stream that waits and may send again.
func (c *Conn) nextSendable() *Stream {
	if c.flag&roomMade == 0 {
		return nil
	}
	for s := c.waiting.first; s != nil; s = s.waiting.next {
		if s.sendMax > s.out.size {
			if c.SendRoom(s) == 0 {
				break // the connection has no room for any
			}
			c.waiting.remove(s)
			return s
		}
	}
	c.flag &^= roomMade
	return nil
}

// Await asks for the event Sendable of s once Send takes something.
func (c *Conn) Await(s *Stream) {
	c.waiting.push(s)
	c.flag |= roomMade
}

// Prioritise says when s has its turn among the streams that send (RFC 9218): 0 first. Of equal ones, a stream that is
// not incremental is sent before those opened later; the incremental ones take turns. A stream for which Prioritise was
// not called is incremental, and among the first.
func (c *Conn) Prioritise(s *Stream, urgency uint8, incremental bool) {
	s.urgency, s.serial = urgency, !incremental
	for _, l := range []*streamList{&c.sending, &c.waiting} {
		if l.remove(s) {
			l.push(s)
		}
	}
}

// Reset gives up what is sent on s: RESET_STREAM.
func (c *Conn) Reset(s *Stream, code uint64) {
	if s.flag&(sendOver|sendReset) != 0 || c.state != open {
		return
	}
	s.flag |= sendReset | resetDue
	c.flag |= roomMade
	s.resetTo = code
	c.flow.held -= int64(s.out.held())
	s.out.drop(c.arena)
	c.sending.remove(s)
	c.waiting.remove(s)
	c.control.push(s)
}

// Stop says that no more of s is wanted: STOP_SENDING. What still comes is thrown away, and no event of data follows.
func (c *Conn) Stop(s *Stream, code uint64) {
	if s.flag&(recvOver|discarding) != 0 || c.state != open {
		return
	}
	c.Release(s, int(s.delivered-s.released))
	s.flag |= discarding | stopDue
	s.stopCode = code
	c.control.push(s)
}
