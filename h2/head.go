package h2

import (
	"github.com/edge-proxy/edge/h2/hpack"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// decode renders a header block into h. err ends the connection, a fault of the section only the stream.
func (c *Conn) decode(block []byte, h *message.Head, kind section.Kind) (s section.Section, err *Error) {
	c.arena.borrow(h)
	h.Proto = message.HTTP20
	s.Begin(kind)
	c.dec.Begin()
	for count := 1; len(block) > 0; count++ {
		n, f, e := c.dec.Next(block)
		block = block[n:]
		if count > headerBomb*c.limits.FieldCount {
			// Many tiny references: each takes a byte and makes a field.
			c.arena.Stats.HeaderBomb++
			return s, errHeaderBomb
		}
		switch {
		case e == hpack.ErrListSize:
			s.Refuse(section.FaultHeadTooLarge)
		case e != nil:
			return s, errCompression
		case f.Line != nil:
			s.Add(h, &f, &c.limits)
		}
	}
	c.arena.render = h.Base[:0]
	return s, nil
}

// headerBomb times FieldCount is how many fields a block may have before the connection ends.
const headerBomb = 10
