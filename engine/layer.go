package engine

// Layer encrypts between a Conn and its socket: TLS is one. Handlers do not notice: OnData gets plaintext, and all
// ways to write take plaintext. Open and Seal mean what they do in crypto/cipher.
// Owned by its Conn's reactor.
type Layer interface {
	// Open decodes the whole records at the front of b in place: b[:n] is the plaintext then, and b[used:] the
	// rest, less than a record. reply has to be sent at once; it is borrowed until the next call. err is io.EOF
	// when the peer said that nothing follows b[:n]; any other error ends the connection after b[:n] was delivered.
	Open(b []byte) (n, used int, reply []byte, err error)
	// Seal appends p, at most SealMax bytes, to dst as one record. p is borrowed until return.
	Seal(dst, p []byte) ([]byte, error)
	// End appends to dst what tells the peer that nothing follows.
	End(dst []byte) []byte
}

// layered is the state of a Conn with a Layer. The Conn's send queue and its kept bytes are plaintext.
// Owned by its Conn's reactor.
//
//	write ─► Conn.out ── Seal, at the flush ──► out ─► socket      Conn.queued counts both
//	OnData ◄─ Conn.in ◄──────── Open ◄──────── wire ◄─ socket
//
//	sealed == bytes in out; wire == nil or it holds bytes
//	layer == nil => the Conn is carried, or a handshake is going on; its handler is the Conn's and reads the wire
//	                itself, so that wire == nil
//	layer != nil => next == nil: the handler that waited has the Conn. The layer of a carried Conn is never called
//	undecoded => wire != nil: it is what the handshake left; else it is a part of a record
type layered struct {
	layer     Layer
	carried   *Carried // nil: it has a socket
	next      Handler  // of the Conn, after the handshake
	wire      *Buf
	out       bufChain
	sealed    int   // bytes in out
	err       error // of Open: told after the last plaintext
	undecoded bool
	paused    bool // by PauseRead during the handshake
	ended     bool // the peer said that nothing follows
	endSent   bool // we said that nothing follows
}

// Layer returns the Layer of c; nil for a plain connection, and before Secure.
func (c *Conn) Layer() Layer {
	if c.layer == nil {
		return nil
	}
	return c.layer.layer
}

// Truncated reports, from OnEOF on, that the peer sent FIN without having said that nothing follows: a third party
// may have cut the connection. It is always false for a plain connection.
func (c *Conn) Truncated() bool {
	return c.layer != nil && c.layer.layer != nil && c.flags&eof != 0 && !c.layer.ended
}

// inHandshake reports whether c is between Hold and Secure.
func (c *Conn) inHandshake() bool {
	return c.layer != nil && c.layer.layer == nil && c.layer.carried == nil
}

// allDelivered reports whether nothing has come that was not delivered.
func (ly *layered) allDelivered() bool {
	return ly.wire == nil && !ly.ended && ly.err == nil && (ly.layer != nil || ly.carried != nil)
}

// deliverable reports whether something can be delivered without reading.
func (ly *layered) deliverable() bool { return ly.undecoded || ly.ended || ly.err != nil }

// releaseWire gives back the bytes that Open has not decoded.
func (c *Conn) releaseWire() {
	if b := c.layer.wire; b != nil {
		c.layer.wire, c.layer.undecoded = nil, false
		c.reactor.bufs.put(b)
	}
}
