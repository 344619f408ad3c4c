package h2

import "time"

// Deadline returns when Expire has to be called, 0 for never. It may change with every call.
func (c *Conn) Deadline() int64 {
	if c.fault != nil {
		if c.flag&(faultTold|closedByUs) != 0 {
			return 0
		}
		return c.now
	}
	at := earlier(earlier(c.ackBy, c.headBy), earlier(c.goAwayBy, c.pongBy))
	if i := int64(c.o.PingInterval); i > 0 && c.pongBy == 0 {
		at = earlier(at, c.heardAt+i)
	}
	for s := c.lingering.first; s != nil; s = s.links[byReading].next {
		at = earlier(at, s.lingerBy)
	}
	if s := c.starved.first; s != nil {
		at = earlier(at, s.blockedAt+c.o.stallTimeout())
	}
	if c.dry() {
		at = earlier(at, c.dryAt+c.o.stallTimeout())
	}
	if s := c.readers.first; s != nil && c.Tight() {
		at = earlier(at, s.readAt+c.o.readStall())
	}
	return at
}

// dry reports whether streams wait for the window of the connection.
func (c *Conn) dry() bool { return c.dryAt > 0 && c.sendWindow <= 0 && c.order.count > 0 }

// earlier returns the earlier of two times, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Expire does what is due at now. Call it until the event is NeedMore.
func (c *Conn) Expire(now int64) (ev Event) {
	c.now = now
	c.reap()
	if c.fault == nil {
		if e := c.late(); e != nil {
			c.fail(e)
		}
	}
	if c.fault != nil {
		return c.tellFault()
	}
	c.declineLate()
	if c.flag&(sweeping|woke) != 0 || c.Tight() {
		if c.overdue(&ev) {
			return ev
		}
	}
	if s := c.starved.first; s != nil && s.blockedAt+c.o.stallTimeout() <= now {
		// A peer asked for much and took nothing: resetting its stream frees what we hold for it.
		c.arena.Stats.StalledPeer++
		c.resetStream(s, Cancel)
		ev.Kind, ev.Code, ev.Stream, ev.Err = Reset, Cancel, s, ErrStalledPeer
	}
	return ev
}

// Relieve ends the connection where a head that came in part has waited for its rest for age: memory is short, which is
// no fault of the peer.
func (c *Conn) Relieve(now int64, age time.Duration) Event {
	c.now = now
	if c.fault != nil || c.blockID == 0 || c.headBy-c.o.headTimeout()+int64(age) > now {
		return Event{}
	}
	c.over(ErrHeadTimeout, NoError)
	return c.tellFault()
}

// Lent returns how many bytes of memory c holds for a head that has come in part. The caller accounts for it, since the
// peer decides how much it is.
func (c *Conn) Lent() int { return cap(c.block) }

// late returns the fault of a peer that did not answer in time.
func (c *Conn) late() *Error {
	st := &c.arena.Stats
	switch {
	case due(c.ackBy, c.now):
		// RFC 9113 §6.5.3: if the sender of SETTINGS does not receive an acknowledgment within a reasonable amount of
		// time, it MAY issue a connection error of type SETTINGS_TIMEOUT.
		st.SettingsTimeout++
		return errNoAck
	case due(c.headBy, c.now):
		st.HeadTimeout++
		return ErrHeadTimeout
	case due(c.pongBy, c.now):
		st.PingTimeout++
		return ErrNoPong
	case c.dry() && c.dryAt+c.o.stallTimeout() <= c.now:
		st.StalledPeer++
		return ErrStalledConn
	}
	if due(c.goAwayBy, c.now) {
		c.lastCall()
	}
	if i := int64(c.o.PingInterval); i > 0 && c.pongBy == 0 && c.heardAt+i <= c.now {
		c.control()
		c.ctl = appendPing(c.ctl, 0, []byte(pingAlive))
		c.pongBy = c.now + c.o.pingTimeout()
	}
	return nil
}

func due(at, now int64) bool { return at != 0 && at <= now }
