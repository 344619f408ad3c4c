package h2

// beginData takes the head of a DATA frame, and its pad length. The payload is passed on as it comes.
func (c *Conn) beginData(in []byte, f frame, ev *Event) (n int, err *Error) {
	n = frameHead
	c.pad = 0
	if f.has(flagPadded) {
		// RFC 9113 §6.1: if the length of the padding is the length of the frame payload or greater, PROTOCOL_ERROR.
		if f.length == 0 {
			return 0, errPayloadSize
		}
		if len(in) == frameHead {
			return 0, nil
		}
		n, c.pad = frameHead+1, int(in[frameHead])
		if c.pad >= f.length {
			return 0, errPadding
		}
	}
	if f.id == 0 {
		return 0, errStreamZero
	}
	c.headBy = 0
	c.rest = f.length - (n - frameHead)
	// §6.9.1: a receiver that receives more than the window allows… The entire frame payload is flow controlled, the
	// padding too, also when the stream is closed.
	if c.recvWindow -= int64(f.length); c.recvWindow < 0 {
		return 0, errWindow
	}
	c.end, c.state = f.has(flagEndStream), inData
	s, stray, err := c.receiver(f.id, errIdleStream)
	if err != nil {
		return 0, err
	}
	if s == nil {
		c.skipData(stray, f)
		return n, c.spend(strayFlood)
	}
	if e := s.accepts(f, c.rest-c.pad); e != nil {
		c.pass()
		c.creditConn()
		return n, c.streamFault(s, f.id, e, e.Code, ev)
	}
	c.data = s
	s.recvWindow -= int64(f.length)
	s.credit += int64(f.length - c.rest + c.pad) // padding is released at once
	if c.rest > c.pad {
		c.buckets[emptyFlood].Earn(1)
		c.buckets[pingFlood].Earn(1)
	} else if !c.end {
		if err := c.spend(emptyFlood); err != nil {
			return 0, err
		}
	}
	used, err := c.readData(in[n:], ev)
	return n + used, err
}

// accepts checks whether n bytes of data may come on s.
func (s *Stream) accepts(f frame, n int) *Error {
	switch {
	case s.flag&recvEnd != 0:
		return errHalfClosed
	case s.flag&recvHead == 0:
		return errDataFirst
	case int64(f.length) > s.recvWindow:
		return errStreamWindow
	case s.left < 0:
		return nil
	}
	// §8.1.1: a request or response is malformed if the value of a Content-Length does not equal the sum of the DATA
	// payload lengths. Tolerated, it would be a request smuggled into HTTP/1.
	if s.left -= int64(n); s.left < 0 || s.left > 0 && f.has(flagEndStream) {
		return errLengthMismatch
	}
	return nil
}

// pass makes the rest of the DATA frame be passed over.
func (c *Conn) pass() {
	c.data = nil
	if c.state = inSkip; c.rest == 0 {
		c.state = atFrame
	}
}

// skip passes over what is there of it.
func (c *Conn) skip(in []byte) int {
	n := min(c.rest, len(in))
	if c.rest -= n; c.rest == 0 {
		c.state = atFrame
	}
	return n
}

// skipData passes over DATA of a stream that is closed.
func (c *Conn) skipData(stray *Error, f frame) {
	c.pass()
	c.creditConn()
	if stray != nil {
		c.appendStrayReset(f.id, stray.Code)
	}
}

// readData passes on what is there of a DATA frame.
func (c *Conn) readData(in []byte, ev *Event) (n int, err *Error) {
	size := c.rest - c.pad
	n = min(size, len(in))
	s := c.data
	if s == nil { // the stream was closed meanwhile
		c.pass()
		return c.skip(in), nil
	}
	last := n == size
	if n == 0 && !last {
		return 0, nil
	}
	end := last && c.end
	if s.flag&lingers == 0 && (n > 0 || c.end) {
		ev.Kind, ev.Stream, ev.Body, ev.End = Data, s, in[:n:n], end
		c.owe(s, int64(n))
	}
	c.rest -= n
	if last {
		c.pass() // the padding, if any
		if end {
			c.peerEnded(s)
		} else {
			c.creditStream(s)
		}
	}
	if s.flag&lingers != 0 {
		c.discard(s, int64(n))
	}
	c.creditConn()
	return n, nil
}

// receiver finds the stream that a frame came on. nil without an error: it is closed, and the frame is ignored;
// stray is what the peer is to be told, nil when the frame may have been on its way when we closed it.
func (c *Conn) receiver(id uint32, idle *Error) (s *Stream, stray, err *Error) {
	if s = c.streams.get(id); s != nil {
		return s, nil, nil
	}
	if c.idle(id) {
		// RFC 9113 §5.1: receiving any frame other than HEADERS or PRIORITY on a stream in this state MUST be treated
		// as a connection error of type PROTOCOL_ERROR.
		return nil, nil, idle
	}
	switch c.past.find(id) {
	case ourReset:
		// §5.1: an endpoint that sends a RST_STREAM frame MUST be prepared to receive frames that were sent or
		// enqueued before the peer saw it. The history bounds how long.
		return nil, nil, nil
	case ended:
		return nil, nil, errAfterEnd
	}
	return nil, errStreamClosed, nil
}

// idle reports whether no stream of that number was ever open.
func (c *Conn) idle(id uint32) bool {
	if c.role == Server {
		return id&1 == 0 || id > c.lastPeer
	}
	return id&1 == 0 || id > c.lastOwn
}

// appendStrayReset answers a frame on a closed stream.
func (c *Conn) appendStrayReset(id uint32, code Code) {
	c.control()
	c.ctl = appendRST(c.ctl, id, code)
	c.arena.Stats.ResetsOut++
	c.past.note(id, ourReset) // once is enough
}
