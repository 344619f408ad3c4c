package h2

// Ping asks the peer whether it lives, unless it is being asked already. Without an answer within PingTimeout the
// connection is over, by ErrNoPong.
func (c *Conn) Ping(now int64) {
	if c.fault != nil || c.pongBy != 0 {
		return
	}
	c.now = now
	c.control()
	c.ctl = appendPing(c.ctl, 0, []byte(pingAlive))
	c.pongBy = now + c.o.pingTimeout()
}

// Heard returns when bytes of the peer came last, or Init was called.
func (c *Conn) Heard() int64 { return c.heardAt }
