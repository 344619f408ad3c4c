package quic

// owe accounts for n bytes that are delivered and owed until Release; below 0: that are released. Bytes that are owed
// make room for others at once while less than half of the budget is owed. Above, no more is withheld than is owed:
// streams that are not read do not stop the others.
func (f *flow) owe(n int) {
	f.owed += int64(n)
	f.withheld += int64(max(n, 0))
	most := f.owed
	if 2*f.owed <= f.budget {
		most = 0
	}
	room := max(f.withheld-most, 0)
	f.withheld -= room
	f.credit(int(room))
}

// credit lets the peer send n more bytes on the connection. MAX_DATA says so once the peer has used up half of its
// share of the budget.
func (f *flow) credit(n int) {
	f.credited += int64(n)
	f.due = f.due || 2*(f.takeMax-f.credited-f.withheld) < f.budget-f.withheld
}

// Release says that n bytes of s that were delivered are done with.
func (c *Conn) Release(s *Stream, n int) {
	if n <= 0 || s.flag&discarding != 0 {
		return
	}
	s.released += int64(n)
	c.flow.owe(-n)
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
