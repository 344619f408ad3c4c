package h3

import (
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

// The types of frames (RFC 9114 §7.2, RFC 9218 §7.2).
const (
	frameData           = 0x0
	frameHeaders        = 0x1
	frameCancelPush     = 0x3
	frameSettings       = 0x4
	framePushPromise    = 0x5
	frameGoAway         = 0x7
	frameMaxPushID      = 0xd
	framePriorityUpdate = 0xf0700
	framePriorityPush   = 0xf0701

	// RFC 9114 §7.2.8: the types that HTTP/2 alone has MUST NOT be sent.
	framesOfHTTP2 = 1<<0x2 | 1<<0x6 | 1<<0x8 | 1<<0x9
)

// headMax is the longest head of a frame: two integers.
const headMax = 16

// onData reads what came on a stream, up to the first event.
func (c *Conn) onData(in *quic.Event, h *message.Head, ev *Event) (n int, err *Error) {
	s, err := c.streamOf(in.Stream)
	if err != nil {
		return 0, err
	}
	for n < len(in.Body) && c.flag&spent == 0 {
		used := 0
		used, err = c.read(s, in.Body[n:], in.End, h, ev)
		if n += used; err != nil || ev.Kind != NeedMore {
			return n, err
		}
	}
	if c.flag&spent != 0 {
		return len(in.Body), nil
	}
	if c.flag |= spent; in.End {
		err = c.onEnd(s, ev)
	}
	return n, err
}

// streamOf returns the stream of qs, which comes into being with its first bytes. It is nil when the stream is not
// wanted.
func (c *Conn) streamOf(qs *quic.Stream) (*Stream, *Error) {
	if s, ok := qs.Owner.(*Stream); ok {
		return s, nil
	}
	if qs.ID&2 != 0 { // RFC 9000 §2.1: one way
		s := c.newStream(untyped)
		c.bind(s, qs)
		return s, nil
	}
	if c.role == Client {
		return nil, errStreamCreation // RFC 9114 §6.1
	}
	c.nextPeer = max(c.nextPeer, qs.ID+4)
	s := c.newStream(request)
	c.bind(s, qs)
	if qs.ID >= c.sentLast {
		c.arena.Stats.Refused++
		c.giveUp(s, RequestRejected) // §5.2: the client may ask elsewhere
		return s, c.spend(unknownFlood)
	}
	c.heads.PushBack(&s.heading, s)
	return s, nil
}

// readHead reads what is next on s: the type of a one-way stream, or type and length of a frame. They may come in
// pieces: ok says that they are whole.
func (s *Stream) readHead(b []byte) (n int, kind, length uint64, ok bool) {
	at := int(s.partLen)
	if at > 0 {
		b = s.part[:at+copy(s.part[at:], b)]
	}
	if s.role == untyped {
		kind, n = quic.ReadInteger(b)
	} else {
		kind, length, n = parseHead(b)
	}
	if ok = n > 0; ok {
		s.partLen = 0
	} else {
		n = copy(s.part[:], b)
		s.partLen = uint8(n)
	}
	return n - at, kind, length, ok
}

// parseHead reads two integers; n is 0 when they are cut off.
func parseHead(b []byte) (kind, length uint64, n int) {
	kind, n = quic.ReadInteger(b)
	if n == 0 {
		return 0, 0, 0
	}
	length, m := quic.ReadInteger(b[n:])
	if m == 0 {
		return 0, 0, 0
	}
	return kind, length, n + m
}

// read takes one step on a stream. end says that b has the last bytes of it.
func (c *Conn) read(s *Stream, b []byte, end bool, h *message.Head, ev *Event) (n int, err *Error) {
	switch {
	case s.role == encoder:
		// RFC 9204 §3.2.3: an encoder MUST NOT send any instructions when the table has no room.
		return 0, errEncoderStream
	case s.role == decoder:
		n, err = c.readDecoderStream(s, b)
		return n, err
	case s.state == inData:
		return c.readData(s, b, end, ev)
	case s.state == inSkip:
		return s.skip(b), nil
	case s.state == inBlock:
		n, block, whole := c.gather(s, b)
		switch {
		case whole && s.role == control:
			err = c.onControl(s.kind, block, ev)
		case whole:
			err = c.onHeaders(s, block, end && n == len(b), h, ev)
		case s.role == request && c.joined > joinedMax*c.limits.HeadBytes:
			err = c.malformed(s, errHeadsInParts, ev)
		}
		if whole {
			c.dropBlock(s)
		}
		return n, err
	}
	n, kind, length, ok := s.readHead(b)
	switch {
	case !ok:
	case s.role == untyped:
		err = c.onType(s, kind)
	case s.role == control:
		err = c.beginControl(s, kind, length, ev)
	default:
		err = c.beginRequest(s, kind, length, ev)
	}
	return n, err
}

// beginRequest takes the head of a frame on the stream of an exchange.
func (c *Conn) beginRequest(s *Stream, kind, length uint64, ev *Event) *Error {
	switch kind {
	case frameData:
		return c.beginData(s, length, ev)
	case frameHeaders:
		switch {
		case s.flag&(recvEnd|tunnelled) != 0, c.role == Server && s.flag&recvHead != 0 && s.asked.Tunnel():
			return errFrameUnexpected // §4.1: after the trailers; §4.4: on the stream of a tunnel
		case length > uint64(c.limits.HeadBytes):
			return c.malformed(s, ErrHeadTooLarge, ev)
		case length == 0:
			return errDecompression // a field section has a prefix
		}
		s.begin(inBlock, kind, length)
		return nil
	}
	return c.beginOther(s, kind, length)
}

func (s *Stream) begin(state frameState, kind, length uint64) {
	if s.kind, s.rest = kind, length; length > 0 {
		s.state = state
	}
}

// beginOther takes the head of a frame that is not for the stream of an exchange, or of an unknown type.
func (c *Conn) beginOther(s *Stream, kind, length uint64) *Error {
	switch kind {
	case framePushPromise:
		if c.role == Client && s.role == request {
			return errPush // §7.2.5: we have sent no MAX_PUSH_ID
		}
		return errFrameUnexpected
	case frameData, frameHeaders, frameCancelPush, frameSettings, frameGoAway, frameMaxPushID, framePriorityUpdate,
		framePriorityPush:
		return errFrameUnexpected
	}
	if kind < 64 && framesOfHTTP2>>kind&1 != 0 {
		return errFrameUnexpected
	}
	s.begin(inSkip, kind, length) // §9: implementations MUST discard data on unknown types
	return c.spend(unknownFlood)
}

// skip throws away the bytes of a payload that have come.
func (s *Stream) skip(b []byte) int {
	n := min(uint64(len(b)), s.rest)
	if s.rest -= n; s.rest == 0 {
		s.state = atHead
	}
	return int(n)
}

// gather takes the bytes that have come of a payload that is read as a whole. A payload that comes at once is read
// where it lies; another one is joined, and dropBlock has to follow.
func (c *Conn) gather(s *Stream, b []byte) (n int, block []byte, whole bool) {
	b = b[:min(uint64(len(b)), s.rest)]
	if s.rest -= uint64(len(b)); s.rest == 0 {
		s.state = atHead
		if s.block == nil {
			return len(b), b, true
		}
	}
	s.block = c.keep(s.block, b)
	c.joined += len(b)
	return len(b), s.block, s.rest == 0
}

func (c *Conn) dropBlock(s *Stream) {
	c.joined -= len(s.block)
	c.drop(s.block)
	s.block = nil
}

// keep appends b to buf, a buffer of the Arena, which is nil at first. It counts what the buffer costs.
func (c *Conn) keep(buf, b []byte) []byte {
	c.kept -= cap(buf)
	if buf == nil {
		buf = c.arena.bufs.Take(bufLeast)
	}
	buf = append(buf, b...)
	c.kept += cap(buf)
	return buf
}

// drop gives a buffer back that keep has returned, or nil.
func (c *Conn) drop(buf []byte) {
	c.kept -= cap(buf)
	c.arena.bufs.Put(buf, spareBufs, spareBytes)
}

// beginData takes the head of a DATA frame.
func (c *Conn) beginData(s *Stream, length uint64, ev *Event) *Error {
	if s.flag&(recvHead|recvEnd) != recvHead {
		return errFrameUnexpected // §4.1: before the head, or after the trailers
	}
	if length == 0 {
		return c.spend(emptyFlood)
	}
	c.buckets[emptyFlood].Earn(1)
	if s.left >= 0 {
		// §4.1.2: malformed if the value of Content-Length does not equal the sum of the DATA frame lengths. Tolerated,
		// it would be a request smuggled into HTTP/1.
		if length > uint64(s.left) {
			return c.malformed(s, errLengthMismatch, ev)
		}
		s.left -= int64(length)
	}
	s.begin(inData, frameData, length)
	return nil
}

// readData passes on the bytes of a DATA frame that have come.
func (c *Conn) readData(s *Stream, b []byte, end bool, ev *Event) (n int, err *Error) {
	n = s.skip(b)
	if end = end && n == len(b) && s.rest == 0; end {
		if s.left > 0 {
			return n, c.malformed(s, errLengthMismatch, ev)
		}
		c.peerEnded(s)
	}
	ev.Kind, ev.Stream, ev.Body, ev.End = Data, s, b[:n:n], end
	return n, nil
}

// onEnd is told that the peer has ended a stream, all bytes of which were read.
func (c *Conn) onEnd(s *Stream, ev *Event) *Error {
	switch {
	case s.role == untyped:
		c.finish(s)
		return c.spend(unknownFlood)
	case s.role != request:
		return errClosedCritical
	case s.state != atHead || s.partLen > 0:
		return errFrameCut // §7.1
	case s.flag&recvEnd != 0: // told with the last bytes
	case s.flag&recvHead == 0 && c.role == Server:
		return c.malformed(s, errIncomplete, ev) // §4.1
	case s.flag&recvHead == 0:
		return c.malformed(s, errNoHead, ev)
	case s.left > 0:
		return c.malformed(s, errLengthMismatch, ev)
	default:
		c.peerEnded(s)
		ev.Kind, ev.Stream, ev.End = Data, s, true
	}
	return nil
}

// onReset takes RESET_STREAM of the peer.
func (c *Conn) onReset(in *quic.Event, ev *Event) *Error {
	s, err := c.streamOf(in.Stream)
	if err != nil || c.flag&spent != 0 {
		return err
	}
	switch {
	case s.role == untyped:
		c.finish(s)
		err = c.spend(unknownFlood)
	case s.role != request:
		err = errClosedCritical
	case s.flag&recvEnd == 0: // else its end had come without FIN
		return c.peerReset(s, Code(in.Code), ev)
	}
	return err
}

// peerReset ends an exchange that the peer has given up.
func (c *Conn) peerReset(s *Stream, code Code, ev *Event) *Error {
	c.arena.Stats.ResetsIn++
	// Else the caller has not heard of it, or is done with it.
	if c.role == Client || s.flag&recvHead != 0 && s.flag&muted == 0 && (s.flag&recvEnd == 0 || !s.Ended()) {
		ev.Kind, ev.Code, ev.Stream, ev.Err = Reset, code, s, ErrPeerReset
	}
	c.giveUp(s, RequestCancelled)
	// A stream whose answer has begun spends nothing: browsers stop downloads so. A stream that has lasted for a
	// while counted against the limit of streams.
	if c.role == Server && s.flag&(sentHead|sentEnd) == 0 && c.now-s.openedAt < rapidWithin {
		return c.spend(rapidReset)
	}
	return nil
}

// onStopped takes STOP_SENDING: QUIC has dropped what we were sending.
func (c *Conn) onStopped(in *quic.Event, ev *Event) *Error {
	s, err := c.streamOf(in.Stream)
	if err != nil || c.flag&spent != 0 {
		return err
	}
	if s.role != request {
		return errClosedCritical
	}
	if c.role == Server || Code(in.Code) != NoError {
		return c.peerReset(s, Code(in.Code), ev)
	}
	// RFC 9114 §4.1: the server needs no more of the request, and its answer is not to be thrown away for that.
	s.flag |= muted
	if s.flag&blocked != 0 {
		s.flag &^= blocked
		ev.Kind, ev.Stream = Sendable, s
	}
	c.dropQueue(s)
	c.ownEnded(s)
	return nil
}
