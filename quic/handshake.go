package quic

// AppendParameters appends the transport parameters of this side, for the extension of TLS: before HandshakeDone.
func (c *Conn) AppendParameters(dst []byte) []byte { return c.local.append(dst, c.o.random()) }

// SetParameters takes the transport parameters of the peer, which TLS has authenticated.
func (c *Conn) SetParameters(p []byte) error {
	if c.state != open {
		return ErrOver
	}
	if err := c.setParameters(p); err != nil {
		c.fail(err, 0)
		return err
	}
	return nil
}

func (c *Conn) setParameters(b []byte) *Error {
	var p parameters
	if err := p.parse(b, c.role == Server); err != nil {
		return err
	}
	var original, source *ID
	if c.role == Client {
		original = &c.local.original
		if c.retry != nil {
			source = &c.retry.source
		}
	}
	if err := p.confirm(&c.theirs.first, original, source); err != nil {
		return err
	}
	c.peer = p.terms
	c.flag |= gotParameters
	c.flow.dataMax = int64(p.data)
	c.limit[c.ourType(TwoWay)], c.limit[c.ourType(OneWay)] = p.streams, p.streamsOneWay
	if p.has(paramResetToken) {
		c.theirs.ids[0].token, c.theirs.ids[0].hasToken = p.resetToken, true
	}
	c.flag |= tellRoom | roomMade
	return nil
}

// SetSecret takes a secret of TLS: for writing, or for reading what the peer sends at a level. suite is its number in
// TLS.
func (c *Conn) SetSecret(l Level, write bool, suite uint16, secret []byte) error {
	s := c.spaces[l]
	if s == nil {
		return ErrOver
	}
	k := &s.read
	if write {
		k = &s.write
	}
	if !k.init(suite, secret) {
		c.fail(errSuite, 0)
		return errSuite
	}
	return nil
}

// SendCrypto sends bytes of the handshake at a level. p is borrowed.
func (c *Conn) SendCrypto(l Level, p []byte) {
	if s := c.spaces[l]; s != nil && c.state == open {
		s.cryptoOut.write(c.arena, p)
	}
}

// HandshakeDone says that TLS has finished: the peer is who it says. A server's handshake is confirmed with it.
func (c *Conn) HandshakeDone() {
	if c.state != open || c.flag&complete != 0 {
		return
	}
	if c.flag&gotParameters == 0 {
		c.fail(errNoParameters, 0)
		return
	}
	c.flag |= complete
	if c.role == Server {
		c.flag |= doneDue
		c.confirm()
	}
	c.issueIDs()
}

// FailHandshake ends the connection with a code of the transport: CryptoError of an alert, or ConnectionRefused. It is
// no fault of the peer unless the handshake was done: this side may deny a name, or have no room.
func (c *Conn) FailHandshake(code Code) {
	err := &Error{Code: code, text: "the handshake failed"}
	switch {
	case c.flag&confirmed != 0:
		c.fail(err, 0)
	case c.state == open:
		c.end(Closure{Err: err, Code: uint64(code)}, 0)
	}
}

// confirm drops the keys of the handshake (RFC 9001 §4.9.2).
func (c *Conn) confirm() {
	if c.flag&confirmed == 0 {
		c.flag |= confirmed | tellDone | validated
		c.local = nil
		c.dropSpace(Initial)
		c.dropSpace(Handshake)
	}
}

// dropSpace drops the keys of a level. Packets on their way there count no more (RFC 9002 §6.4).
func (c *Conn) dropSpace(l Level) {
	s := c.spaces[l]
	if s == nil {
		return
	}
	for i := range s.sent.n {
		if p := s.sent.at(i); p.state == sentFlying {
			c.sent.window.dropped(int(p.size))
		}
	}
	s.drop(c.memory())
	c.spaces[l] = nil
	if l == c.level && c.in.conn == c { // the rest of the packet whose CRYPTO completed the handshake
		c.in.frames, c.in.working = nil, false
	}
	c.sent.ptoCount = 0
}

// onCrypto takes bytes of the handshake.
func (c *Conn) onCrypto(f *frame, ev *Event) *Error {
	s := c.spaces[c.level]
	if f.offset+uint64(len(f.body)) > uint64(s.cryptoIn.next)+helloMax {
		return errHello
	}
	if len(f.body) == 0 {
		return c.useless()
	}
	b, err := s.cryptoIn.take(c.memory(), f.offset, f.body, false, cryptoGaps)
	if len(b) == 0 {
		return err
	}
	ev.Kind, ev.Level, ev.Body = Crypto, c.level, b
	return err
}
