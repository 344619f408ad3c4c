package h3

import (
	"strconv"

	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

// emit gives b to QUIC, and keeps what windows do not allow. With end nothing follows it.
func (c *Conn) emit(s *Stream, b []byte, end bool) {
	if len(s.queue) == 0 {
		if n := c.q.Send(s.qs, b, end); n < len(b) {
			b = b[n:]
		} else {
			if end {
				c.ownEnded(s)
			}
			return
		}
	}
	s.queue = c.keep(s.queue, b)
	if end {
		s.flag |= endDue
	}
}

// onSendable goes on with a stream for which there was no room.
func (c *Conn) onSendable(s *Stream, ev *Event) {
	if len(s.queue) > 0 {
		n := c.q.Send(s.qs, s.queue, s.flag&endDue != 0)
		if s.queue = s.queue[:copy(s.queue, s.queue[n:])]; len(s.queue) > 0 {
			return
		}
		c.dropQueue(s)
		if s.flag&endDue != 0 {
			c.ownEnded(s)
			return
		}
	}
	if s.flag&blocked != 0 {
		s.flag &^= blocked
		ev.Kind, ev.Stream = Sendable, s
	}
}

func (c *Conn) dropQueue(s *Stream) {
	c.drop(s.queue)
	s.queue = nil
}

// frameRoom is the space before a section for the head of its frame: a type of one octet and a length of four.
const frameRoom = 5

// beginSection begins a HEADERS frame in the buffer of the Arena.
func (c *Conn) beginSection() []byte {
	if c.arena.out == nil {
		c.arena.out = make([]byte, 0, bufLeast)
	}
	return c.enc.Begin(c.arena.out[:frameRoom])
}

// endSection sends the HEADERS frame that beginSection began.
func (c *Conn) endSection(s *Stream, b []byte, end bool) {
	var room [headMax]byte
	head := quic.AppendInteger(append(room[:0], frameHeaders), uint64(len(b)-frameRoom))
	at := frameRoom - len(head)
	copy(b[at:], head)
	c.emit(s, b[at:], end)
	if c.arena.out = b[:0]; cap(b) > spareBytes {
		c.arena.out = nil
	}
}

// SendHead sends a head: a request of a client, an interim or final answer of a server. end says that nothing follows.
// Hop-by-hop fields are not written; content-length is written from h.Length. A head with Tunnel goes out as 2xx, a
// request with Upgrade as an extended CONNECT. h is borrowed.
func (c *Conn) SendHead(s *Stream, h *message.Head, end bool) error {
	switch {
	case s.flag&dead != 0 || s.conn != c:
		return ErrDead
	case c.fault != nil:
		return errFaulted
	case s.flag&(sentHead|sentEnd) != 0:
		return errOrder
	case c.role == Client:
		return c.sendRequest(s, h, end)
	}
	if err := c.fits(s, h, section.Response); err != nil {
		return err
	}
	return c.sendResponse(s, h, end)
}

func (c *Conn) sendRequest(s *Stream, h *message.Head, end bool) error {
	if h.Upgrade && c.flag&peerExtended == 0 {
		return errNoExtendedConnect
	}
	if c.peerLast != noGoAway {
		return ErrGoingAway
	}
	if err := c.fits(s, h, section.Request); err != nil {
		return err
	}
	qs, err := c.q.Open(quic.TwoWay)
	if err != nil {
		return ErrNoRoom
	}
	c.unsent--
	c.bind(s, qs)
	s.flag |= sentHead
	s.asked = section.AskedBy(h)
	connect := s.asked == section.ForTunnel
	b := c.beginSection()
	if s.asked == section.ForUpgrade {
		b = c.enc.AppendMethod(b, methodConnect)
		s.protocol = string(h.Bytes(h.Protocol))
	} else {
		b = c.enc.AppendMethod(b, h.MethodBytes())
	}
	if !connect {
		b = c.enc.AppendScheme(b, c.scheme(h))
	}
	b = c.enc.AppendAuthority(b, h.Bytes(h.Authority))
	if !connect {
		b = c.enc.AppendPath(b, h.Bytes(h.Target))
	}
	if s.asked == section.ForUpgrade {
		b = c.enc.AppendProtocol(b, h.Bytes(h.Protocol))
	}
	b = c.appendFields(b, h)
	if h.Trailers {
		b = c.enc.AppendField(b, message.TE, nil, teTrailers, false)
	}
	c.endSection(s, c.appendLength(b, section.RequestLength(h)), end)
	return nil
}

// scheme returns what a request says: one of the two, whatever the client wrote.
func (c *Conn) scheme(h *message.Head) []byte {
	if c.o.Scheme == "https" || c.o.Scheme == "" && h.HTTPS {
		return schemeHTTPS
	}
	return schemeHTTP
}

var (
	schemeHTTP, schemeHTTPS   = []byte("http"), []byte("https")
	methodConnect, teTrailers = []byte("CONNECT"), []byte("trailers")
)

func (c *Conn) sendResponse(s *Stream, h *message.Head, end bool) error {
	status := int(h.Status)
	interim := status < 200 && !h.Tunnel
	switch {
	case s.flag&recvHead == 0, interim && end:
		return errOrder
	case status == 101 && s.asked != section.ForUpgrade, interim && status == 101:
		return errNotSwitched
	case h.Tunnel:
		if s.asked == section.ForUpgrade {
			status = 200
		}
		s.flag |= tunnelled
	case s.asked.Tunnel() && status >= 200 && status < 300:
		// RFC 9220 §3: 2xx means that the tunnel stands. An origin that answers so without switching has no tunnel.
		return errNotSwitched
	}
	if !interim {
		s.flag |= sentHead
		c.buckets[rapidReset].Earn(1)
	}
	b := c.appendFields(c.enc.AppendStatus(c.beginSection(), status), h)
	n, v := section.AnswerLength(h, s.asked)
	if v != nil {
		b = c.enc.AppendField(b, message.ContentLength, nil, v, false)
	}
	c.endSection(s, c.appendLength(b, n), end)
	return nil
}

// SendTrailers ends the message with trailer fields.
func (c *Conn) SendTrailers(s *Stream, h *message.Head) error {
	if muted, err := c.sendable(s); err != nil || muted {
		return err
	}
	if err := c.fits(s, h, section.Trailers); err != nil {
		return err
	}
	b := c.beginSection()
	empty := len(b)
	if b = c.appendFields(b, h); len(b) == empty {
		c.emit(s, nil, true)
	} else {
		c.endSection(s, b, true)
	}
	return nil
}

// sendable reports why nothing can be sent on s after its head; mute: the bytes are thrown away.
func (c *Conn) sendable(s *Stream) (mute bool, err error) {
	switch {
	case s.conn == c && s.flag&muted != 0: // the end of a request that is not needed may come when all else is over
		return true, nil
	case s.flag&dead != 0 || s.conn != c:
		return false, ErrDead
	case c.fault != nil:
		return false, errFaulted
	case s.flag&(sentHead|sentEnd|endDue) != sentHead:
		return false, errOrder
	}
	return false, nil
}

// SendData copies p, as far as windows and memory allow, and reports how much that was. With n < len(p) the stream is
// blocked: the event Sendable tells when it goes on. end goes out with the last byte of p only.
func (c *Conn) SendData(s *Stream, p []byte, end bool) (n int, err error) {
	if muted, err := c.sendable(s); err != nil || muted {
		return len(p), err
	}
	for n < len(p) {
		room := c.q.SendRoom(s.qs)
		if len(s.queue) > 0 || room == 0 {
			s.flag |= blocked
			c.q.Await(s.qs)
			return n, nil
		}
		// The frame fills the room. Where there is hardly room for its head it has one byte, and the rest is queued.
		var head [headMax]byte
		k := min(len(p)-n, max(room-len(quic.AppendInteger(head[:1], uint64(room))), 1))
		c.emit(s, quic.AppendInteger(append(head[:0], frameData), uint64(k)), false)
		n += k
		c.emit(s, p[n-k:n], end && n == len(p))
	}
	if end && len(p) == 0 {
		c.emit(s, nil, true)
	}
	return n, nil
}

// Await asks for the event Sendable of s once SendData takes something.
func (c *Conn) Await(s *Stream) {
	if s.flag&dead == 0 && s.conn == c {
		s.flag |= blocked
		c.q.Await(s.qs)
	}
}

// appendFields appends the fields that are neither deleted, nor of framing, nor of a WebSocket's handshake in HTTP/1.
func (c *Conn) appendFields(b []byte, h *message.Head) []byte {
	for i := range h.Fields {
		if f := &h.Fields[i]; section.Carried(f) {
			// RFC 9204 §4.5.4: an intermediary MUST NOT index it again. Which field it was is not kept: all are.
			b = c.enc.AppendField(b, f.ID, h.Name(i), h.Value(i), h.Private)
		}
	}
	return b
}

// appendLength appends content-length, unless n is below 0.
func (c *Conn) appendLength(b []byte, n int64) []byte {
	if n < 0 {
		return b
	}
	var room [20]byte
	return c.enc.AppendField(b, message.ContentLength, nil, strconv.AppendInt(room[:0], n, 10), false)
}

// fits returns ErrListSize when h is larger than the peer accepts (RFC 9114 §4.2.2). Before the settings of a server
// have come there is no limit: errUnsettled is for a head that many servers would refuse, which should wait for them.
func (c *Conn) fits(s *Stream, h *message.Head, kind section.Kind) error {
	most, err := c.peerList, ErrListSize
	if c.flag&gotSettings == 0 && c.role == Client {
		most, err = listUnsettled, errUnsettled
	}
	if section.Fits(h, kind, s.asked, c.scheme(h), most) {
		return nil
	}
	if err == ErrListSize {
		c.arena.Stats.PeerListSize++
	}
	return err
}
