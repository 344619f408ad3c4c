package h2

import (
	"encoding/binary"

	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// onHeaders takes a HEADERS frame. A block that is whole is decoded where it lies.
func (c *Conn) onHeaders(f frame, p []byte, h *message.Head, ev *Event) *Error {
	if f.id == 0 {
		return errStreamZero
	}
	if f.has(flagPadded) {
		if len(p) == 0 {
			return errPayloadSize
		}
		pad := int(p[0])
		if p = p[1:]; pad > len(p) {
			return errPadding
		}
		p = p[:len(p)-pad]
	}
	selfDep := false
	if f.has(flagPriority) {
		if len(p) < 5 {
			return errPayloadSize
		}
		// RFC 7540 §5.3.1: a stream cannot depend on itself. RFC 9113 does away with the rest of it.
		selfDep = binary.BigEndian.Uint32(p)&idMax == f.id
		p = p[5:]
	}
	if f.has(flagEndHeaders) {
		return c.onBlock(f.id, f.has(flagEndStream), selfDep, p, h, ev)
	}
	if c.idle(f.id) && (c.role == Client || f.id&1 == 0) {
		return errStreamID
	}
	c.blockID, c.headEnd, c.selfDep, c.blockNum = f.id, f.has(flagEndStream), selfDep, 0
	c.headBy = c.now + c.o.headTimeout()
	c.block = append(c.arena.blocks.Take(maxFrame), p...)
	return nil
}

// onContinuation takes a part of a header block that did not fit into one frame.
func (c *Conn) onContinuation(f frame, p []byte, h *message.Head, ev *Event) *Error {
	c.blockNum++
	// CVE-2024-24549 and kin: endless frames without END_HEADERS, empty ones among them.
	if int(c.blockNum) > c.o.partsMax() || len(c.block)+len(p) > c.o.headBytes()+maxFrame {
		c.arena.Stats.ContinuationFlood++
		return errContinuationFlood
	}
	c.block = append(c.block, p...)
	if !f.has(flagEndHeaders) {
		return nil
	}
	block := c.block
	c.block, c.blockID, c.headBy = nil, 0, 0
	err := c.onBlock(f.id, c.headEnd, c.selfDep, block, h, ev)
	c.arena.blocks.Put(block, spareBlocks, 64<<10)
	return err
}

// onBlock takes a whole header block. Whatever becomes of the stream, the block is decoded: RFC 9113 §4.3, a receiver
// MUST decode it or end the connection, since both sides keep the same table.
func (c *Conn) onBlock(id uint32, end, selfDep bool, block []byte, h *message.Head, ev *Event) *Error {
	s := c.streams.get(id)
	if s == nil {
		if c.role == Server && id&1 == 1 && id > c.lastPeer {
			return c.onRequest(id, end, selfDep, block, h, ev)
		}
		return c.onStrayBlock(id, block, h, ev)
	}
	if s.flag&recvHead != 0 || s.flag&recvEnd != 0 {
		return c.onTrailers(s, end, block, h, ev)
	}
	m, err := c.decode(block, h, section.Response)
	if err != nil {
		return err
	}
	if e := faults[m.Response(h, s.asked, s.protocol, end)]; e != nil {
		return c.malformed(s, id, e, end, ev)
	}
	if h.Status < 200 && !h.Tunnel {
		if s.interim >= maxInterim {
			return c.malformed(s, id, errManyInterim, end, ev)
		}
		s.interim++
		ev.Kind, ev.Stream = HeadDone, s
		return nil
	}
	if s.flag |= recvHead; h.Tunnel {
		s.flag |= tunnelled
	}
	c.headDone(s, h, end, ev)
	return nil
}

// onRequest opens the stream of a request.
func (c *Conn) onRequest(id uint32, end, selfDep bool, block []byte, h *message.Head, ev *Event) *Error {
	// §5.1.1: the first use of a new stream identifier implicitly closes all idle streams with a lower one.
	c.lastPeer = id
	m, err := c.decode(block, h, section.Request)
	if err != nil {
		return err
	}
	if id > c.sentLast {
		c.past.note(id, ourReset) // §6.8: ignored, the peer knows from the GOAWAY that it was not processed
		c.arena.Stats.Refused++
		return c.spend(strayFlood)
	}
	var e *Error
	switch {
	case c.open >= c.o.maxStreams():
		e = errTooManyStreams // §5.1.2
		c.arena.Stats.Refused++
	case selfDep:
		e = errSelfDependency
	default:
		e = faults[m.Request(h, end, &c.limits)]
	}
	if e != nil {
		return c.malformed(nil, id, e, end, ev)
	}
	s := c.newStream()
	s.ID = id
	c.enter(s)
	s.flag |= recvHead
	s.asked = section.AskedBy(h)
	if i := m.Priority(); i >= 0 {
		s.prioritise(h.Value(i))
	}
	c.headDone(s, h, end, ev)
	return nil
}

// headDone is the event of a head that begins a message.
func (c *Conn) headDone(s *Stream, h *message.Head, end bool, ev *Event) {
	s.left = h.Length
	if h.Tunnel || s.asked.Tunnel() && c.role == Server {
		s.left = message.LengthUnknown
	}
	if end {
		c.peerEnded(s)
	}
	ev.Kind, ev.Stream, ev.End = HeadDone, s, end
}

// onTrailers takes a header block after the head of a message.
func (c *Conn) onTrailers(s *Stream, end bool, block []byte, h *message.Head, ev *Event) *Error {
	m, err := c.decode(block, h, section.Trailers)
	if err != nil {
		return err
	}
	e := faults[m.Fault()]
	switch {
	case s.flag&recvEnd != 0:
		e = errHalfClosed
	case s.flag&tunnelled != 0, c.role == Server && s.asked.Tunnel():
		// §8.5: frame types other than DATA or stream management frames MUST NOT be sent on a connected stream.
		e = errTunnelHeaders
	case !end:
		// §8.1: a HEADERS frame without the END_STREAM flag set after the opening HEADERS frame is malformed.
		e = errTrailersNoEnd
	case e == nil && s.left > 0:
		e = errLengthMismatch
	}
	if e != nil {
		return c.malformed(s, s.ID, e, end, ev)
	}
	h.Length = 0
	c.peerEnded(s)
	ev.Kind, ev.Stream, ev.End = Trailers, s, true
	return nil
}

// onStrayBlock takes a header block on a stream that is not open.
func (c *Conn) onStrayBlock(id uint32, block []byte, h *message.Head, ev *Event) *Error {
	// §5.1.1: an endpoint that receives an unexpected stream identifier MUST respond with a connection error of type
	// PROTOCOL_ERROR: of the wrong side, or an identifier that was passed over. A client passes over none: what it does
	// not know any more it has opened, and reset long ago. Were that a fault of the connection, a proxy that resets
	// many requests at once would take the requests of others with it.
	if c.idle(id) || c.role == Server && c.past.find(id) == unknown {
		return errStreamID
	}
	_, stray, err := c.receiver(id, errStreamID)
	if err != nil {
		return err
	}
	if _, err := c.decode(block, h, section.Trailers); err != nil {
		return err
	}
	if stray != nil {
		c.appendStrayReset(id, stray.Code)
	}
	return c.spend(strayFlood)
}

// malformed refuses a head. A head that is merely too large (RFC 6585 §5), or expects what we do not do (RFC 9110
// §10.1.1), is answered where that can be done.
func (c *Conn) malformed(s *Stream, id uint32, e *Error, end bool, ev *Event) *Error {
	code := e.Code
	switch e {
	case ErrHeadTooLarge, ErrTooManyFields:
		c.arena.Stats.HeadTooLarge++
		code = c.answerFault(s, id, 431, code)
	case ErrTargetTooLong: // RFC 9110 §15.5.15
		c.arena.Stats.HeadTooLarge++
		code = c.answerFault(s, id, 414, code)
	case ErrExpectation:
		c.arena.Stats.Malformed++
		code = c.answerFault(s, id, 417, code)
	case errTooManyStreams:
	default:
		c.arena.Stats.Malformed++
	}
	if code != NoError {
		return c.streamFault(s, id, e, code, ev)
	}
	if end { // answered: §5.1, nothing MUST be sent on a stream that is closed
		c.past.note(id, ended)
	} else {
		s = c.newStream()
		s.ID, s.left = id, message.LengthUnknown
		c.enter(s)
		s.flag |= recvHead | sentEnd
		c.Linger(s)
	}
	return c.blame(nil, e, code, ev)
}

// answerFault answers a request that its owner does not hear of, and returns the code to reset it with: code itself
// when no answer can be sent.
func (c *Conn) answerFault(s *Stream, id uint32, status int, code Code) Code {
	if s != nil || c.role != Server {
		return code
	}
	c.control()
	c.ctl = c.appendStatusOnly(c.ctl, id, status)
	return NoError // §8.1: a server that has answered asks so for the rest not to be sent: see Linger
}

// streamFault resets a stream for a fault of the peer. s is nil when the caller has not heard of it.
func (c *Conn) streamFault(s *Stream, id uint32, e *Error, code Code, ev *Event) *Error {
	if s != nil {
		c.resetStream(s, code)
	} else {
		c.control()
		c.ctl = appendRST(c.ctl, id, code)
		c.arena.Stats.ResetsOut++
		c.past.note(id, ourReset)
	}
	return c.blame(s, e, code, ev)
}

// blame counts a fault of the peer that has ended a stream. CVE-2025-8671: what makes us reset costs the peer as much
// as if it did.
func (c *Conn) blame(s *Stream, e *Error, code Code, ev *Event) *Error {
	if err := c.spend(madeYouReset); err != nil {
		return err
	}
	ev.Kind, ev.Code, ev.Stream, ev.Err = Reset, code, s, e
	return nil
}
