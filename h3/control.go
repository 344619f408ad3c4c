package h3

import (
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/quic"
)

// The settings (RFC 9114 §7.2.4.1, RFC 9220 §5).
const (
	settingListMax         = 0x6
	settingExtendedConnect = 0x8

	settingsReserved = 1<<0x0 | 1<<0x2 | 1<<0x3 | 1<<0x4 | 1<<0x5 // by HTTP/2
)

// openControl opens our control stream and sends SETTINGS, as soon as the peer allows it. Streams of QPACK are not
// opened: RFC 9204 §4.2, an endpoint may avoid those that it will not use.
func (c *Conn) openControl() {
	qs, err := c.q.Open(quic.OneWay)
	if err != nil {
		return
	}
	c.own = c.newStream(ownControl)
	c.bind(c.own, qs)
	var room [32]byte
	b := append(room[:0], byte(control), frameSettings, 0)
	b = quic.AppendInteger(append(b, settingListMax), uint64(listMax(&c.limits)))
	if c.role == Server && !c.o.NoExtendedConnect {
		b = append(b, settingExtendedConnect, 1)
	}
	b[2] = byte(len(b) - 3)
	c.emit(c.own, b, false)
	if c.flag&sentGoAway != 0 {
		c.sendGoAway()
	}
}

// sendGoAway sends GOAWAY with sentLast, or leaves that to openControl.
func (c *Conn) sendGoAway() {
	if c.own == nil {
		c.openControl()
		return
	}
	var room [16]byte
	b := quic.AppendInteger(room[:2], c.sentLast)
	b[0], b[1] = frameGoAway, byte(len(b)-2)
	c.emit(c.own, b, false)
}

// onType takes the type of a one-way stream. RFC 9114 §6.2: each that must stay open exists once.
func (c *Conn) onType(s *Stream, kind uint64) *Error {
	switch role := streamRole(kind); role {
	case control, encoder, decoder:
		if c.got>>kind&1 != 0 {
			return errStreamCreation
		}
		c.got |= 1 << kind
		s.role = role
		return nil
	case push:
		if c.role == Client {
			return errPush // §4.6: we have sent no MAX_PUSH_ID
		}
		return errStreamCreation
	}
	c.giveUp(s, StreamCreationError)
	return c.spend(unknownFlood)
}

// readDecoderStream reads instructions of the peer's decoder, of which one makes sense: Stream Cancellation (RFC 9204
// §4.4.2), an integer with a prefix of six bits.
func (c *Conn) readDecoderStream(s *Stream, b []byte) (n int, err *Error) {
	for _, octet := range b {
		if s.rest > 0 { // within an integer
			if s.rest--; octet&0x80 == 0 {
				s.rest = 0
			} else if s.rest == 0 {
				return 0, errDecoderStream
			}
			continue
		}
		if octet&0xc0 != 0x40 {
			return 0, errDecoderStream
		}
		if octet&0x3f == 0x3f {
			s.rest = 9
		}
		if err := c.spend(unknownFlood); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// beginControl takes the head of a frame of the control stream.
func (c *Conn) beginControl(s *Stream, kind, length uint64, ev *Event) *Error {
	settings := kind == frameSettings
	if settings == (c.flag&gotSettings != 0) {
		if settings {
			return errFrameUnexpected // §7.2.4
		}
		return errMissingSettings // §6.2.1
	}
	switch kind {
	case frameSettings, frameGoAway, frameCancelPush:
	case frameMaxPushID, framePriorityUpdate, framePriorityPush:
		if c.role == Client {
			return errFrameUnexpected
		}
	default:
		return c.beginOther(s, kind, length)
	}
	switch {
	case length > controlMax:
		return errControlSize
	case length == 0:
		return c.onControl(kind, nil, ev)
	}
	s.begin(inBlock, kind, length)
	return nil
}

// onControl takes a frame of the control stream.
func (c *Conn) onControl(kind uint64, p []byte, ev *Event) *Error {
	if kind == frameSettings {
		c.flag |= gotSettings
		ev.Kind = Settings
		return c.onSettings(p)
	}
	id, n := quic.ReadInteger(p)
	if n == 0 {
		return errPayload
	}
	if kind == framePriorityUpdate || kind == framePriorityPush {
		return c.onPriorityUpdate(kind, id, n, p)
	}
	switch {
	case n != len(p):
		return errPayload
	case kind == frameGoAway:
		return c.onGoAway(id, ev)
	case kind == frameCancelPush, id < c.pushMax:
		return errPush // §7.2.3: of a push that was never promised; §7.2.7: the maximum cannot be reduced
	}
	c.pushMax = id
	return c.spend(unknownFlood)
}

// onSettings takes the settings of the peer.
func (c *Conn) onSettings(p []byte) *Error {
	seen := uint64(0)
	for len(p) > 0 {
		id, v, n := parseHead(p)
		if n == 0 {
			return errPayload
		}
		p = p[n:]
		if id >= 64 {
			continue // §7.2.4: unknown ones are ignored
		}
		if (seen|settingsReserved)>>id&1 != 0 {
			return errSetting
		}
		seen |= 1 << id
		switch id {
		case settingListMax:
			if c.peerList = v; c.role == Server {
				c.peerList = max(v, listLeast) // advisory: a client that takes nothing can be told nothing
			}
		case settingExtendedConnect:
			if v > 1 {
				return errSetting
			}
			if v == 1 {
				c.flag |= peerExtended
			}
		}
	}
	return nil
}

// onGoAway takes GOAWAY (§5.2): of a server with the lowest request that it does not process, of a client with a push.
func (c *Conn) onGoAway(id uint64, ev *Event) *Error {
	if id > c.peerLast || c.role == Client && id&3 != 0 {
		return errGoAwayID
	}
	if err := c.spend(unknownFlood); err != nil {
		return err
	}
	c.peerLast = id
	ev.Kind = GoAway
	return nil
}

// onPriorityUpdate takes PRIORITY_UPDATE (RFC 9218 §7.2): a stream and a Priority field. n is the length of id in p.
func (c *Conn) onPriorityUpdate(kind, id uint64, n int, p []byte) *Error {
	if kind == framePriorityPush || id&3 != 0 || !c.q.Allows(id) { // RFC 9218 §7.2: also above the limit of streams
		return errPriorityID
	}
	// For a stream that is yet to come the update is not kept: the request can say it itself.
	for s := c.streams.First(); s != nil; s = s.opening.Next() {
		if s.ID == id {
			c.prioritise(s, p[n:])
		}
	}
	return c.spend(priorityFlood)
}

// prioritise gives s the priority that the field value v says.
func (c *Conn) prioritise(s *Stream, v []byte) {
	urgency, serial := section.ReadPriority(v)
	c.q.Prioritise(s.qs, urgency, !serial)
}
