package quic

// owe accounts for n bytes that are delivered and owed until Release. They make room for others at once, while less
// than half of the budget is owed: a stream that is not read does not stop the others.
func (f *flow) owe(n int) {
	f.owed += int64(n)
	if 2*f.owed <= f.budget {
		f.credit(n)
	} else {
		f.withheld += int64(n)
	}
}

// credit lets the peer send n more bytes on the connection, as MAX_DATA will say.
func (f *flow) credit(n int) {
	f.credited += int64(n)
	f.due = f.due || f.takeMax-f.credited < f.budget/2
}

// Release says that n bytes of s that were delivered are done with.
func (c *Conn) Release(s *Stream, n int) {
	if n <= 0 || s.flag&discarding != 0 {
		return
	}
	s.released += int64(n)
	c.flow.owed -= int64(n)
	if c.flow.withheld > 0 && 2*c.flow.owed <= c.flow.budget {
		c.flow.credit(int(c.flow.withheld))
		c.flow.withheld = 0
	}
	if s.flag&(recvOver|windowDue) == 0 && !s.in.sized && s.recvMax-s.released <= s.window/2 {
		s.flag |= windowDue
		c.control.push(s)
	}
}

// onMaxData takes MAX_DATA.
func (c *Conn) onMaxData(n int64) *Error {
	if n <= c.flow.dataMax {
		return c.useless()
	}
	c.flow.dataMax = n
	c.flag |= roomMade
	return nil
}

// onMaxStreamData takes MAX_STREAM_DATA.
func (c *Conn) onMaxStreamData(f *frame) *Error {
	s, err := c.streamOf(f.stream, false)
	if s == nil || err != nil {
		return err
	}
	if int64(f.value) <= s.sendMax {
		return c.useless()
	}
	s.sendMax = int64(f.value)
	c.flag |= roomMade
	return nil
}

// onMaxStreams takes MAX_STREAMS.
func (c *Conn) onMaxStreams(f *frame) *Error {
	k := TwoWay
	if f.oneWay {
		k = OneWay
	}
	if t := c.ourType(k); f.value > c.limit[t] {
		c.limit[t] = f.value
		c.flag |= tellRoom
		return nil
	}
	return c.useless()
}
