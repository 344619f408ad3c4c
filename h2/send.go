package h2

import (
	"strconv"

	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// AppendHead appends a head to dst: a request of a client, an interim or final answer of a server. end says that
// nothing follows. Hop-by-hop fields are not written; content-length is written from h.Length. A head with Tunnel goes
// out as 2xx, a request with Upgrade as an extended CONNECT. h is borrowed.
func (c *Conn) AppendHead(dst []byte, s *Stream, h *message.Head, end bool) ([]byte, error) {
	if err := c.sendable(s); err != nil {
		return dst, err
	}
	if s.flag&(sentHead|sentEnd) != 0 {
		return dst, errOrder
	}
	if c.role == Client {
		return c.appendRequest(dst, s, h, end)
	}
	if err := c.fits(s, h, section.Response); err != nil {
		return dst, err
	}
	return c.appendResponse(dst, s, h, end)
}

// sendable reports why nothing can be sent on s.
func (c *Conn) sendable(s *Stream) error {
	switch {
	case s.flag&dead != 0 || s.conn != c:
		return errDead
	case c.fault != nil:
		return errFaulted
	}
	return nil
}

func (c *Conn) appendRequest(dst []byte, s *Stream, h *message.Head, end bool) ([]byte, error) {
	if h.Upgrade && c.flag&peerExtended == 0 {
		return dst, ErrNoExtendedConnect
	}
	if c.flag&gotGoAway != 0 {
		return dst, ErrGoingAway
	}
	if c.lastOwn >= idMax-1 {
		return dst, ErrNoRoom
	}
	if err := c.fits(s, h, section.Request); err != nil {
		return dst, err
	}
	// RFC 9113 §5.1.1: numbers grow in the order in which the heads are sent, not in the order of Open.
	if c.lastOwn == 0 {
		s.ID = 1
	} else {
		s.ID = c.lastOwn + 2
	}
	c.lastOwn = s.ID
	s.flag |= sentHead
	s.asked = section.AskedBy(h)
	c.streams.put(s)
	s.flag |= opened
	dst = c.AppendControl(dst)
	at := len(dst)
	dst = c.enc.Begin(appendFrame(dst, 0, frameHeaders, 0, s.ID))
	connect := s.asked == section.ForTunnel
	if s.asked == section.ForUpgrade {
		dst = c.enc.AppendMethod(dst, methodConnect)
		s.protocol = protocolName(h.Bytes(h.Protocol))
	} else {
		dst = c.enc.AppendMethod(dst, h.MethodBytes())
	}
	if !connect {
		dst = c.enc.AppendScheme(dst, c.scheme(h))
	}
	dst = c.enc.AppendAuthority(dst, h.Bytes(h.Authority))
	if !connect {
		dst = c.enc.AppendPath(dst, h.Bytes(h.Target))
	}
	if s.asked == section.ForUpgrade {
		dst = c.enc.AppendProtocol(dst, h.Bytes(h.Protocol))
	}
	dst = c.appendFields(dst, h)
	if h.Trailers {
		dst = c.enc.AppendField(dst, message.TE, nil, []byte(teTrailers), false)
	}
	return c.endBlock(c.appendLength(dst, section.RequestLength(h)), at, s, end), nil
}

const teTrailers = "trailers"

// protocolName returns the name of a protocol as a string of its own.
func protocolName(b []byte) string {
	if string(b) == "websocket" {
		return "websocket" // no allocation for the only one there is
	}
	return string(b)
}

// scheme returns what a request says: one of the two, whatever the client wrote.
func (c *Conn) scheme(h *message.Head) []byte {
	if c.o.Scheme == "https" || c.o.Scheme == "" && h.HTTPS {
		return schemeHTTPS
	}
	return schemeHTTP
}

var schemeHTTP, schemeHTTPS, methodConnect = []byte("http"), []byte("https"), []byte("CONNECT")

func (c *Conn) appendResponse(dst []byte, s *Stream, h *message.Head, end bool) ([]byte, error) {
	status := int(h.Status)
	interim := status < 200 && !h.Tunnel
	switch {
	case s.flag&recvHead == 0, interim && end:
		return dst, errOrder
	case status == 101 && s.asked != section.ForUpgrade, interim && status == 101:
		return dst, errNotSwitched
	case h.Tunnel:
		if s.asked == section.ForUpgrade {
			status = 200
		}
		s.flag |= tunnelled
	case s.asked.Tunnel() && status >= 200 && status < 300:
		// RFC 8441 §5: 2xx means that the tunnel stands. An origin that answers so without switching has no tunnel.
		return dst, errNotSwitched
	}
	if !interim {
		s.flag |= sentHead
		c.buckets[rapidReset].Earn(1)
	}
	dst = c.AppendControl(dst)
	at := len(dst)
	dst = c.enc.Begin(appendFrame(dst, 0, frameHeaders, 0, s.ID))
	dst = c.enc.AppendStatus(dst, status)
	dst = c.appendFields(dst, h)
	n, v := section.AnswerLength(h, s.asked)
	if v != nil {
		dst = c.enc.AppendField(dst, message.ContentLength, nil, v, false)
	}
	return c.endBlock(c.appendLength(dst, n), at, s, end), nil
}

// appendStatusOnly appends a whole answer without fields on a stream that does not exist here.
func (c *Conn) appendStatusOnly(dst []byte, id uint32, status int) []byte {
	at := len(dst)
	dst = c.enc.Begin(appendFrame(dst, 0, frameHeaders, 0, id))
	dst = c.enc.AppendStatus(dst, status)
	setLength(dst[at:], flagEndHeaders|flagEndStream)
	return dst
}

// AppendTrailers ends the message with trailer fields.
func (c *Conn) AppendTrailers(dst []byte, s *Stream, h *message.Head) ([]byte, error) {
	if err := c.sendable(s); err != nil {
		return dst, err
	}
	if s.flag&sentHead == 0 || s.flag&sentEnd != 0 {
		return dst, errOrder
	}
	if err := c.fits(s, h, section.Trailers); err != nil {
		return dst, err
	}
	dst = c.AppendControl(dst)
	at := len(dst)
	dst = c.enc.Begin(appendFrame(dst, 0, frameHeaders, 0, s.ID))
	empty := len(dst)
	dst = c.appendFields(dst, h)
	if len(dst) == empty && empty == at+frameHead {
		return c.appendEnd(dst[:at], s), nil
	}
	return c.endBlock(dst, at, s, true), nil
}

// appendEnd appends an empty DATA frame that ends the stream.
func (c *Conn) appendEnd(dst []byte, s *Stream) []byte {
	dst = appendFrame(dst, 0, frameData, flagEndStream, s.ID)
	c.ownEnded(s)
	return dst
}

// appendFields appends the fields that are neither deleted, nor of framing, nor of a WebSocket's handshake in HTTP/1.
func (c *Conn) appendFields(dst []byte, h *message.Head) []byte {
	for i := range h.Fields {
		f := &h.Fields[i]
		if !section.Carried(f) {
			continue
		}
		// RFC 7541 §6.2.3: an intermediary MUST use the same representation. Which field it was is not kept: all are.
		dst = c.enc.AppendField(dst, f.ID, h.Name(i), h.Value(i), h.Private)
	}
	return dst
}

// appendLength appends content-length, unless n is below 0.
func (c *Conn) appendLength(dst []byte, n int64) []byte {
	if n < 0 {
		return dst
	}
	var b [20]byte
	return c.enc.AppendField(dst, message.ContentLength, nil, strconv.AppendInt(b[:0], n, 10), false)
}

// fits returns ErrListSize when h is larger than the peer accepts. RFC 9113 §6.5.2 calls the limit advisory, but some
// servers end the connection, with all its streams, for a head above theirs. Before the settings of a server have come
// there is no limit: ErrUnsettled is for a head that many servers would refuse, and that should wait for them.
func (c *Conn) fits(s *Stream, h *message.Head, kind section.Kind) error {
	most, err := uint64(c.peerList), ErrListSize
	if c.flag&gotSettings == 0 && c.role == Client {
		most, err = listUnsettled, ErrUnsettled
	}
	if section.Fits(h, kind, s.asked, c.scheme(h), most) {
		return nil
	}
	if err == ErrListSize {
		c.arena.Stats.PeerListSize++
	}
	return err
}

// endBlock ends the header block that begins with its frame at dst[at:].
func (c *Conn) endBlock(dst []byte, at int, s *Stream, end bool) []byte {
	flags := uint8(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	c.buckets[windowFlood].Earn(updatesPaid)
	c.buckets[priorityFlood].Earn(priorityPaid)
	if len(dst)-at-frameHead <= c.peerFrame {
		setLength(dst[at:], flags)
	} else {
		dst = c.splitBlock(dst, at, s.ID, flags)
	}
	if end {
		c.ownEnded(s)
	}
	return dst
}

// splitBlock makes HEADERS and CONTINUATION of a block that is too large for a frame.
func (c *Conn) splitBlock(dst []byte, at int, id uint32, flags uint8) []byte {
	block := append(c.arena.blocks.Take(maxFrame), dst[at+frameHead:]...)
	rest, kind, first := block, frameHeaders, flags&^flagEndHeaders
	for dst = dst[:at]; len(rest) > 0; {
		n := min(len(rest), c.peerFrame)
		if n == len(rest) {
			first |= flagEndHeaders
		}
		dst = append(appendFrame(dst, n, kind, first, id), rest[:n]...)
		rest, kind, first = rest[n:], frameContinuation, 0
	}
	c.arena.blocks.Put(block, spareBlocks, 64<<10)
	return dst
}

// AppendData appends p, as far as the windows allow, in DATA frames and reports how much that was. With n < len(p) the
// stream is blocked: it comes again from NextSendable. end goes out with the last byte of p only. p is borrowed.
func (c *Conn) AppendData(dst []byte, s *Stream, p []byte, end bool) (out []byte, n int, err error) {
	if err := c.sendable(s); err != nil {
		return dst, 0, err
	}
	if s.flag&sentHead == 0 || s.flag&sentEnd != 0 {
		return dst, 0, errOrder
	}
	dst = c.AppendControl(dst)
	if len(p) == 0 {
		if end {
			dst = c.appendEnd(dst, s)
		}
		return dst, 0, nil
	}
	for n < len(p) {
		rest := p[n:]
		size := min(int64(len(rest)), int64(c.peerFrame), s.sendWindow, c.share(s))
		if size <= 0 {
			c.starve(s)
			return dst, n, nil
		}
		if size >= tinyFrame {
			c.buckets[tinyWindow].Earn(1)
		} else if int(size) < len(rest) {
			if err := c.spend(tinyWindow); err != nil {
				c.fail(err)
				return dst, n, errFaulted
			}
		}
		flags := uint8(0)
		if end && int(size) == len(rest) {
			flags = flagEndStream
		}
		dst = append(appendFrame(dst, int(size), frameData, flags, s.ID), rest[:size]...)
		s.sendWindow -= size
		s.untaken += size
		c.sendWindow -= size
		n += int(size)
		c.buckets[windowFlood].Prepay(updatesPaid + int32(size/updateBytes))
		c.buckets[pingFlood].Earn(1)
	}
	if s.queued != unqueued {
		c.dequeue(s)
	}
	if end {
		c.ownEnded(s)
	}
	return dst, n, nil
}

// starve makes s wait for the window that is used up.
func (c *Conn) starve(s *Stream) {
	c.dequeue(s)
	if s.sendWindow <= 0 || c.sendWindow > 0 {
		c.enqueue(s, waitStream)
	} else {
		c.enqueue(s, waitConn)
	}
}

// reserveMax bounds the part of the connection's window that share keeps back.
const reserveMax = 128 << 10

// share is how much of the connection's window s may take. Many origins open it only as a body is read, and one upload
// that is not read could use it up for all. So a client keeps an eighth back for streams that hold little: below that,
// each gets no more than it leaves. Not less than an eighth is safe: nginx opens the window again from a quarter on,
// nearly all others from a half.
func (c *Conn) share(s *Stream) int64 {
	if c.role == Server {
		return c.sendWindow
	}
	if free := c.sendWindow - min(c.sendMost/8, reserveMax); free >= tinyFrame {
		return free
	}
	if rest := (c.sendWindow - s.untaken) / 2; rest >= tinyFrame {
		return rest
	}
	return 0
}
