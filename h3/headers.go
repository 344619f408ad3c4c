package h3

import (
	"github.com/edge-proxy/edge/h3/qpack"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// decode renders a field section into h. err ends the connection, a fault of the section only the stream.
func (c *Conn) decode(block []byte, h *message.Head, kind section.Kind) (s section.Section, err *Error) {
	h.Reset()
	h.Base = c.arena.render[:0]
	h.Proto = message.HTTP30
	s.Begin(kind)
	d := &c.arena.dec
	d.Init(qpack.DecoderOptions{ListMax: listMax(&c.limits)})
	n, e := d.Begin(block)
	if e != nil {
		return s, errDecompression
	}
	for count := 1; n < len(block); count++ {
		k, f, e := d.Next(block[n:])
		n += k
		if count > headerBomb*c.limits.FieldCount {
			// Many tiny references: each takes a byte and makes a field.
			c.arena.Stats.HeaderBomb++
			return s, errHeaderBomb
		}
		switch e {
		case nil:
			s.Add(h, &f, &c.limits)
		case qpack.ErrListSize:
			s.Refuse(section.FaultHeadTooLarge)
		default:
			return s, errDecompression
		}
	}
	c.arena.render = h.Base[:0]
	return s, nil
}

// onHeaders takes a field section. end says that nothing follows it.
func (c *Conn) onHeaders(s *Stream, block []byte, end bool, h *message.Head, ev *Event) *Error {
	kind := section.Trailers
	if s.flag&recvHead == 0 {
		kind = section.Request
		if c.role == Client {
			kind = section.Response
		}
	}
	m, err := c.decode(block, h, kind)
	if err != nil {
		return err
	}
	switch kind {
	case section.Request:
		if e := faults[m.Request(h, end, &c.limits)]; e != nil {
			return c.malformed(s, e, ev)
		}
		s.heading.Remove()
		s.asked = section.AskedBy(h)
		var priority []byte
		if i := m.Priority(); i >= 0 {
			priority = h.Value(i)
		}
		c.prioritise(s, priority)
	case section.Response:
		e := faults[m.Response(h, s.asked, s.protocol, end)]
		if interim := h.Status < 200 && !h.Tunnel; e == nil && interim {
			if s.interim++; s.interim <= maxInterim {
				ev.Kind, ev.Stream = HeadDone, s
				return nil
			}
			e = errManyInterim
		}
		if e != nil {
			return c.malformed(s, e, ev)
		}
	default:
		e := faults[m.Fault()]
		if e == nil && s.left > 0 {
			e = errLengthMismatch
		}
		if e != nil {
			return c.malformed(s, e, ev)
		}
		h.Length = 0
		c.peerEnded(s) // FIN may still come: nothing else may
		ev.Kind, ev.Stream, ev.End = Trailers, s, true
		return nil
	}
	s.flag |= recvHead
	s.left = h.Length
	if h.Tunnel {
		s.flag |= tunnelled
	}
	if h.Tunnel || c.role == Server && s.asked.Tunnel() {
		s.left = message.LengthUnknown
	}
	if end {
		c.peerEnded(s)
	}
	ev.Kind, ev.Stream, ev.End = HeadDone, s, end
	return nil
}

// malformed ends a stream for a fault of the peer. A head that is merely too large (RFC 6585 §5), or expects what we do
// not do (RFC 9110 §10.1.1), is answered where that can be done. CVE-2025-8671: what makes us reset costs the peer as
// much as if it did.
func (c *Conn) malformed(s *Stream, e *Error, ev *Event) *Error {
	ev.Kind, ev.Code, ev.Stream, ev.Err = Reset, e.Code, s, e
	status, count := 0, &c.arena.Stats.Malformed
	switch e {
	case ErrHeadTooLarge, ErrTooManyFields:
		status, count = 431, &c.arena.Stats.HeadTooLarge
	case ErrTargetTooLong: // RFC 9110 §15.5.15
		status, count = 414, &c.arena.Stats.HeadTooLarge
	case errHeadsInParts:
		count = &c.arena.Stats.HeadTooLarge
	case ErrExpectation:
		status = 417
	}
	*count++
	if c.role == Server && s.flag&recvHead == 0 {
		ev.Stream = nil // the caller has not heard of it
		if status != 0 {
			ev.Code = NoError // §4.1: so a server that has answered asks for the rest not to be sent
			b := c.enc.AppendStatus(c.beginSection(), status)
			c.endSection(s, b, true)
		}
	}
	c.giveUp(s, ev.Code)
	return c.spend(madeYouReset)
}
