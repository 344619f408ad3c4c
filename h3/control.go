package h3

import (
	"github.com/edge-proxy/edge/message/section"
	"github.com/edge-proxy/edge/quic"
)

// The types of one-way streams (RFC 9114 §6.2, RFC 9204 §4.2).
const (
	streamControl = 0x0
	streamPush    = 0x1
	streamEncoder = 0x2
	streamDecoder = 0x3
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
	c.own.flag |= recvHead | recvEnd
	var room [32]byte
	settings := quic.AppendInteger(append(room[:0], settingListMax), uint64(c.o.listMax()))
	if c.role == Server && !c.o.NoExtendedConnect {
		settings = append(settings, settingExtendedConnect, 1)
	}
	b := append(c.arena.out[:0], streamControl, frameSettings, byte(len(settings)))
	c.emit(c.own, append(b, settings...), false)
	c.arena.out = b
}

// sendGoAway says GOAWAY with id.
func (c *Conn) sendGoAway(id uint64) {
	if c.own == nil {
		c.openControl()
	}
	if c.own != nil { // else the peer has opened nothing either
		var room [16]byte
		b := quic.AppendInteger(room[:2], id)
		b[0], b[1] = frameGoAway, byte(len(b)-2)
		c.emit(c.own, b, false)
	}
}

// readOneWay takes one step on a one-way stream of the peer.
func (c *Conn) readOneWay(s *Stream, b []byte) (n int, ev Event, err *Error) {
	switch s.role {
	case untyped:
		return c.readType(s, b)
	case encoder:
		// RFC 9204 §3.2.3: an encoder MUST NOT send any instructions when the table has no room.
		return 0, ev, ErrEncoderStream
	case decoder:
		n, err = c.readDecoderStream(s, b)
		return n, ev, err
	}
	switch s.state {
	case inBlock:
		n, p, whole := c.gather(s, b)
		if whole {
			ev, err = c.onControl(s.kind, p)
			c.dropBlock(s)
		}
		return n, ev, err
	case inSkip:
		return s.skip(b), ev, nil
	}
	n, kind, length, ok := s.readFrameHead(b)
	if ok {
		err = c.beginControl(s, kind, length)
	}
	if err == nil && ok && length == 0 && kind == frameSettings {
		ev, err = c.onControl(kind, nil)
	}
	return n, ev, err
}

// readType reads the type of a one-way stream. RFC 9114 §6.2: each of these exists once.
func (c *Conn) readType(s *Stream, b []byte) (n int, ev Event, err *Error) {
	n = copy(s.part[s.partLen:8], b)
	kind, size := quic.ReadInteger(s.part[:int(s.partLen)+n])
	if size == 0 {
		s.partLen += uint8(n)
		return n, ev, nil
	}
	n, s.partLen = size-int(s.partLen), 0
	once := connFlags(0)
	switch kind {
	case streamControl:
		s.role, once = control, gotControl
	case streamEncoder:
		s.role, once = encoder, gotEncoder
	case streamDecoder:
		s.role, once = decoder, gotDecoder
	case streamPush:
		if c.role == Client {
			return n, ev, ErrPush // §4.6: we have sent no MAX_PUSH_ID
		}
		return n, ev, ErrStreamCreation
	default:
		c.giveUp(s, StreamCreationError)
		return n, ev, c.spend(unknownFlood)
	}
	if c.flag&once != 0 {
		return n, ev, ErrStreamCreation
	}
	c.flag |= once
	return n, ev, nil
}

// readDecoderStream reads instructions of the peer's decoder, of which one makes sense: Stream Cancellation (RFC 9204
// §4.4.2), an integer with a prefix of six bits.
func (c *Conn) readDecoderStream(s *Stream, b []byte) (n int, err *Error) {
	for _, octet := range b {
		if s.rest > 0 { // within an integer
			if s.rest--; octet&0x80 == 0 {
				s.rest = 0
			} else if s.rest == 0 {
				return 0, ErrDecoderStream
			}
			continue
		}
		if octet&0xc0 != 0x40 {
			return 0, ErrDecoderStream
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
func (c *Conn) beginControl(s *Stream, kind, length uint64) *Error {
	settings := kind == frameSettings
	if c.flag&gotSettings == 0 && !settings {
		return ErrMissingSettings // §6.2.1
	}
	switch kind {
	case frameSettings, frameGoAway, frameCancelPush:
	case frameMaxPushID, framePriorityUpdate, framePriorityPush:
		if c.role == Client {
			return ErrFrameUnexpected
		}
	default:
		return c.beginOther(s, kind, length)
	}
	switch {
	case settings && c.flag&gotSettings != 0:
		return ErrFrameUnexpected // §7.2.4
	case length > controlMax:
		return ErrControlSize
	case length == 0 && !settings:
		return ErrPayload
	}
	s.begin(inBlock, kind, length)
	return nil
}

// onControl takes a frame of the control stream.
func (c *Conn) onControl(kind uint64, p []byte) (ev Event, err *Error) {
	if kind == frameSettings {
		c.flag |= gotSettings
		return Event{Kind: Settings}, c.onSettings(p)
	}
	id, n := quic.ReadInteger(p)
	if kind == framePriorityUpdate || kind == framePriorityPush {
		return ev, c.onPriorityUpdate(kind, id, n, p)
	}
	switch {
	case n != len(p):
		return ev, ErrPayload
	case kind == frameGoAway:
		return c.onGoAway(id)
	case kind == frameCancelPush, id < c.pushMax:
		return ev, ErrPush // §7.2.3: of a push that was never promised; §7.2.7: the maximum cannot be reduced
	}
	c.pushMax = id
	return ev, c.spend(unknownFlood)
}

// onSettings takes the settings of the peer.
func (c *Conn) onSettings(p []byte) *Error {
	seen := uint64(0)
	for len(p) > 0 {
		id, v, n := parseHead(p)
		if n == 0 {
			return ErrPayload
		}
		p = p[n:]
		if id >= 64 {
			continue // §7.2.4: unknown ones are ignored
		}
		if (seen|settingsReserved)>>id&1 != 0 {
			return ErrSetting
		}
		seen |= 1 << id
		switch id {
		case settingListMax:
			if c.peerList = v; c.role == Server {
				c.peerList = max(v, listLeast) // advisory: a client that takes nothing can be told nothing
			}
		case settingExtendedConnect:
			if v > 1 {
				return ErrSetting
			}
			if v == 1 {
				c.flag |= peerExtended
			}
		}
	}
	return nil
}

// onGoAway takes GOAWAY (§5.2): of a server with the lowest request that it does not process, of a client with a push.
func (c *Conn) onGoAway(id uint64) (ev Event, err *Error) {
	if id > c.peerLast && c.flag&gotGoAway != 0 || c.role == Client && id&3 != 0 {
		return ev, ErrGoAwayID
	}
	if err := c.spend(unknownFlood); err != nil {
		return ev, err
	}
	c.peerLast = id
	if c.flag |= gotGoAway; c.role == Client {
		c.flag |= sweeping
	}
	return Event{Kind: GoAway}, nil
}

// onPriorityUpdate takes PRIORITY_UPDATE (RFC 9218 §7.2): a stream and a Priority field. n is the length of id in p.
func (c *Conn) onPriorityUpdate(kind, id uint64, n int, p []byte) *Error {
	switch {
	case n == 0:
		return ErrPayload
	case kind == framePriorityPush || id&3 != 0:
		return ErrPriorityID
	}
	// For a stream that is yet to come the update is not kept: the request can say it itself.
	for s := c.streams.First(); s != nil; s = s.opening.Next() {
		if s.ID == id {
			waits := c.unblock(s)
			if s.urgency, s.serial = section.ReadPriority(p[n:]); waits {
				c.Block(s)
			}
		}
	}
	return c.spend(priorityFlood)
}
