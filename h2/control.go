package h2

import (
	"encoding/binary"
)

// onPriority takes a PRIORITY frame. It has no effect any more (RFC 9113 §5.3.2) but is still validated.
func (c *Conn) onPriority(f frame, p []byte, ev *Event) *Error {
	if f.id == 0 {
		return errStreamZero
	}
	if err := c.spend(priorityFlood); err != nil {
		return err
	}
	var e *Error
	switch {
	case len(p) != 5:
		e = errPrioritySize // §6.3: a stream error
	case binary.BigEndian.Uint32(p)&idMax == f.id:
		e = errSelfDependency
	default:
		return nil
	}
	if s := c.streams.get(f.id); s != nil {
		return c.streamFault(s, f.id, e, e.Code, ev)
	}
	if c.idle(f.id) {
		return e // there is no RST_STREAM for an idle stream
	}
	c.appendStrayReset(f.id, e.Code)
	return c.spend(strayFlood)
}

// onPriorityUpdate takes a PRIORITY_UPDATE (RFC 9218 §7.1): a stream number and a Priority field.
func (c *Conn) onPriorityUpdate(f frame, p []byte) *Error {
	if f.id != 0 {
		return errNotStreamZero
	}
	if len(p) < 4 {
		return errPayloadSize
	}
	if err := c.spend(priorityFlood); err != nil {
		return err
	}
	id := binary.BigEndian.Uint32(p) & idMax
	if c.role == Client || id == 0 {
		return errStreamZero // servers MUST NOT send it
	}
	// For a stream that is yet to come the update is not kept: the request can say it itself.
	if s := c.streams.get(id); s != nil {
		ordered := s.queued == queueFull || s.queued == waitConn
		if ordered {
			c.order.remove(s)
		}
		s.prioritise(p[4:])
		if ordered {
			c.order.push(s)
		}
	}
	return nil
}

// onRST takes RST_STREAM.
func (c *Conn) onRST(f frame, p []byte, ev *Event) *Error {
	if f.id == 0 {
		return errStreamZero
	}
	if len(p) != 4 {
		return errPayloadSize
	}
	c.arena.Stats.ResetsIn++
	s := c.streams.get(f.id)
	if s == nil {
		if c.idle(f.id) {
			return errIdleStream
		}
		return c.spend(strayFlood)
	}
	c.finish(s, peerReset)
	// A stream whose answer has begun spends nothing: gRPC ends calls so, browsers stop downloads. And a stream that
	// has lasted for a while counted against the limit of streams, which rapid resets get round: a client that waits in
	// vain gives up some time. drainedAt is when it was opened, or a window of it.
	if c.role == Server && s.flag&(sentHead|sentEnd) == 0 && c.now-s.drainedAt < rapidWithin {
		if err := c.spend(rapidReset); err != nil {
			return err
		}
	}
	code := Code(binary.BigEndian.Uint32(p))
	ev.Kind, ev.Code, ev.Stream, ev.Err = Reset, code, s, ErrPeerReset
	return nil
}

// onSettings takes SETTINGS, all of them before the acknowledgement (RFC 9113 §6.5.3).
func (c *Conn) onSettings(f frame, p []byte, ev *Event) *Error {
	if f.id != 0 {
		return errNotStreamZero
	}
	if f.has(flagAck) {
		if len(p) != 0 {
			return errSettingsLength
		}
		return c.onAck()
	}
	if len(p)%settingSize != 0 {
		return errSettingsLength
	}
	if err := c.spend(settingsFlood); err != nil {
		return err
	}
	if len(p) > maxSettings*settingSize {
		c.arena.Stats.SettingsFlood++
		return errSettingsFlood
	}
	if c.flag&gotSettings == 0 {
		c.peerMax = idMax // RFC 9113 §6.5.2: initially, there is no limit
	}
	for ; len(p) > 0; p = p[settingSize:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.flag |= gotSettings
	c.control()
	c.ctl = appendFrame(c.ctl, 0, frameSettings, flagAck, 0)
	ev.Kind = Settings
	return nil
}

// onAck takes the acknowledgement of our SETTINGS: from now on the peer keeps to them.
func (c *Conn) onAck() *Error {
	if c.acks == 0 {
		return errStrayAck
	}
	c.acks--
	c.ackBy = 0
	c.dec.SetMax(c.o.headerTable())
	if start := int64(c.o.streamWindow()); start < c.localStart {
		for _, s := range c.streams.slots {
			if s != nil {
				s.recvWindow += start - c.localStart
				s.windowSize = start
			}
		}
		c.localStart = start
	}
	return nil
}

// setting applies one setting of the peer.
func (c *Conn) setting(id uint16, v uint32) *Error {
	switch id {
	case settingHeaderTable:
		if v != c.peerTable {
			c.peerTable = v
			c.enc.SetMax(int(min(v, 1<<20)))
		}
	case settingPush:
		if v > 1 || v == 1 && c.role == Client { // §7.2.2: a client MUST treat receipt of 1 as PROTOCOL_ERROR
			return errSettingValue
		}
	case settingMaxStreams:
		c.peerMax = int(min(v, idMax))
	case settingWindow:
		if v > windowMax {
			return errWindowSetting
		}
		return c.shiftWindows(int64(v) - c.peerStart)
	case settingMaxFrame:
		if v < 16<<10 || v > 1<<24-1 {
			return errSettingValue
		}
		c.peerFrame = int(min(v, maxFrameSent))
	case settingListMax:
		if c.peerList = v; c.role == Server {
			c.peerList = max(v, listLeast) // advisory, §6.5.2: a client that takes nothing can be told nothing
		}
	case settingExtendedConnect:
		// RFC 8441 §3: 0 or 1, and a sender MUST NOT send 0 after it has sent 1.
		if v > 1 || v == 0 && c.flag&peerExtended != 0 {
			return errSettingValue
		}
		if v == 1 {
			c.flag |= peerExtended
		}
	}
	return nil
}

// shiftWindows changes what may be sent on every stream. RFC 9113 §6.9.2: that can make a window negative.
func (c *Conn) shiftWindows(by int64) *Error {
	c.peerStart += by
	for _, s := range c.streams.slots {
		if s == nil {
			continue
		}
		if s.sendWindow += by; s.sendWindow > windowMax {
			return errWindowOverflow
		}
		c.unblock(s)
	}
	return nil
}

// onPing answers PING, or takes the answer to ours.
func (c *Conn) onPing(f frame, p []byte) *Error {
	if f.id != 0 {
		return errNotStreamZero
	}
	if len(p) != 8 {
		return errPayloadSize
	}
	if f.has(flagAck) {
		switch string(p) {
		case pingAlive:
			c.pongBy = 0
		case pingGoAway:
			c.lastCall()
		}
		return nil
	}
	if err := c.spend(pingFlood); err != nil {
		return err
	}
	c.arena.Stats.Pings++
	c.control()
	c.ctl = appendPing(c.ctl, flagAck, p)
	return nil
}

// The payloads of our PING frames.
const (
	pingAlive  = "edgealiv"
	pingGoAway = "edgegoaw"
	pingEnded  = "edgeendd" // the answer to it means nothing
)

// onGoAway takes GOAWAY. Its debug data is ignored.
func (c *Conn) onGoAway(f frame, p []byte, ev *Event) *Error {
	if f.id != 0 {
		return errNotStreamZero
	}
	if len(p) < 8 {
		return errPayloadSize
	}
	last := binary.BigEndian.Uint32(p) & idMax
	// §6.8: endpoints MUST NOT increase the value they send in the last stream identifier.
	if last > c.peerLast {
		return errGoAwayGrew
	}
	if err := c.spend(settingsFlood); err != nil {
		return err
	}
	c.flag |= gotGoAway
	if c.role == Client {
		c.peerLast = last
		c.flag |= sweeping
	}
	ev.Kind, ev.Code = GoAway, Code(binary.BigEndian.Uint32(p[4:]))
	return nil
}

// onWindowUpdate takes WINDOW_UPDATE.
func (c *Conn) onWindowUpdate(f frame, p []byte, ev *Event) *Error {
	if len(p) != 4 {
		return errPayloadSize
	}
	if err := c.spend(windowFlood); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(p) & windowMax)
	if f.id == 0 {
		return c.openConn(n)
	}
	s := c.streams.get(f.id)
	if s == nil {
		if c.idle(f.id) {
			return errIdleStream
		}
		return nil // §5.1: may come for a short time after the end
	}
	if n == 0 {
		return c.streamFault(s, f.id, errStreamWindowZero, ProtocolError, ev)
	}
	s.untaken = max(s.untaken-n, 0)
	if s.sendWindow += n; s.sendWindow > windowMax {
		return c.streamFault(s, f.id, errStreamOverflow, FlowControlError, ev)
	}
	c.unblock(s)
	return nil
}

func (c *Conn) openConn(n int64) *Error {
	if n == 0 {
		return errWindowZero
	}
	if c.sendWindow += n; c.sendWindow > windowMax {
		return errWindowOverflow
	}
	c.sendMost = max(c.sendMost, c.sendWindow)
	c.dryAt = 0
	for s := c.starved.first; s != nil; {
		next := s.links[bySending].next
		if c.share(s) > 0 {
			c.unblock(s)
		}
		s = next
	}
	if c.order != nil && c.order.count > 0 {
		c.flag |= woke
	}
	return nil
}
