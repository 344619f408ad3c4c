package session

import (
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session/stream"
)

// Sizes of what is queued in one piece.
const (
	quantum   = 16<<10 - frameHead // bytes of data in a turn: with its frame head it fills a quarter of a large Buf
	frameRoom = 64                 // more than the heads of two frames
)

// SendHead sends a head: of the request or of an answer.
func (s *h2Stream) SendHead(h *message.Head, end bool) error {
	s.mustOwn()
	switch {
	case s.receiver == nil:
		return ErrDead
	case s.framing != stream.NoHead:
		return ErrOrder
	case s.link.server:
		return s.answer(h, end)
	}
	return s.request(h, end)
}

// queueHead encodes h into the connection's queue.
func (s *h2Stream) queueHead(h *message.Head, end bool) error {
	l := s.link
	if s.codec == nil {
		return ErrDead
	}
	b, err := l.codec.AppendHead(l.conn.Reserve(len(h.Base)+headRoom), s.codec, h, end)
	l.conn.Commit(b)
	switch {
	case err == h2.ErrListSize:
		return ErrHeadSize
	case err == nil && end:
		s.endSent = true
		s.forgetCodec()
	}
	return err
}

// answer sends the head of an answer, or an interim one. RFC 9110 §6.4.1 says which have no content.
func (s *h2Stream) answer(h *message.Head, end bool) error {
	h.Chunked = false
	switch {
	case h.Tunnel:
		return s.openTunnel(h)
	case h.Status < 200:
		s.awaits100 = s.awaits100 && h.Status != 100
		if err := s.queueHead(h, false); err != nil && err != ErrHeadSize {
			return err
		}
		if !s.inCallback {
			s.link.end.setDeadline(s)
		}
		return nil
	}
	bare := end
	switch {
	case s.verb == message.VerbHead || h.Status == 204 || h.Status == 304:
		s.framing, bare = stream.NoBody, true
	case end:
		h.Length, s.framing = 0, stream.NoBody
	case h.Length >= 0:
		s.framing, s.left = stream.Counted, h.Length
	default:
		s.framing = stream.UntilClose
	}
	if err := s.queueHead(h, bare); err != nil {
		s.framing = stream.NoHead
		return err
	}
	if end {
		s.sent(true, 0)
		return nil
	}
	s.answerMoves()
	return nil
}

// A tunnel over HTTP/2 is one stream: CONNECT, or extended CONNECT (RFC 8441), which the codec shows as a request with
// Upgrade. To a receiver both look as over HTTP/1: the request ends with its head, and the tunnel begins with an answer
// whose head has Tunnel. On the wire the stream stays open both ways, and END_STREAM is the half close.

// openTunnel sends the head of an answer that makes a tunnel of the stream.
func (s *h2Stream) openTunnel(h *message.Head) error {
	if s.tunnel == stream.NoTunnel {
		return ErrOrder
	}
	if err := s.queueHead(h, false); err != nil {
		return err
	}
	s.tunnel, s.endDelivered, s.framing, s.owed = stream.TunnelOpen, false, stream.UntilClose, 0
	s.setDeadlineIn(0)
	s.link.end.onTunnel()
	if len(s.earlyBytes) > 0 || s.endReceived {
		s.postpone(toDeliver)
	}
	return nil
}

// request sends the head of a request.
func (s *h2Stream) request(h *message.Head, end bool) error {
	h.Chunked, h.Close = false, false // the head said so of the client's connection
	// An extended CONNECT has no content, and stands for GET only.
	h.Upgrade = h.Upgrade && end && h.Verb == message.VerbGet
	s.tunnel = stream.AsksForTunnel(h)
	s.verb = h.Verb
	switch {
	case end:
		h.Length, s.framing = 0, stream.Ended
	case h.Length >= 0:
		s.framing, s.left = stream.Counted, h.Length
	default:
		s.framing = stream.UntilClose
	}
	s.awaits100 = h.Continue && !end
	// What is queued before the connection stands leaves when it does, a request that was taken back by then, too.
	unsettled := h.Upgrade && !s.link.codec.ExtendedConnect() && !s.link.end.settingsKnown()
	if unsettled || !s.link.connected {
		s.postponeHead(h)
		return nil
	}
	s.send(h, end)
	return nil
}

// postponeHead keeps the head of a request until the connection stands, or SETTINGS come.
func (s *h2Stream) postponeHead(h *message.Head) {
	s.pendingHead = copyHead(h)
	s.link.end.setDeadline(s)
}

// copyHead returns a copy of h that shares nothing with it.
func copyHead(h *message.Head) *message.Head {
	c := *h
	c.Base = append([]byte(nil), h.Base...)
	c.Fields = append([]message.Field(nil), h.Fields...)
	return &c
}

// send queues the head of a request. A failure is told by OnReset.
func (s *h2Stream) send(h *message.Head, end bool) {
	if s.todo == toFail {
		return
	}
	switch err := s.queueHead(h, end && s.tunnel == stream.NoTunnel); err {
	case nil:
		if !s.inCallback {
			s.link.end.setDeadline(s)
		}
	case h2.ErrUnsettled:
		s.postponeHead(h)
	case ErrHeadSize:
		s.failLater(HeadSize, err)
	case h2.ErrNoExtendedConnect:
		s.failLater(NoUpgrade, err)
	case h2.ErrGoingAway, h2.ErrNoRoom:
		s.failLater(Refused, err)
	default:
		s.failLater(ConnectionLost, err)
	}
}

// sendPending sends a head that waited, and asks for the body.
func (s *h2Stream) sendPending() {
	h := s.pendingHead
	if h.Upgrade && !s.link.codec.ExtendedConnect() && !s.link.end.settingsKnown() {
		return // the connection stands, and SETTINGS have not come
	}
	s.pendingHead = nil
	if s.send(h, s.framing == stream.Ended); s.todo == nothing && s.framing != stream.Ended {
		s.unblock()
	}
}

// SendData sends body bytes: as many as the windows, the queue and the turns of other streams allow.
func (s *h2Stream) SendData(p []byte, end bool) (n int, err error) {
	s.mustOwn()
	if s.receiver == nil {
		return 0, ErrDead
	}
	switch s.framing {
	case stream.NoHead, stream.Ended:
		return 0, ErrOrder
	case stream.NoBody: // to HEAD, or with a status that forbids a body: body bytes are not sent
		n = len(p)
	case stream.Counted:
		if int64(len(p)) > s.left {
			return 0, ErrTooMuch
		}
		if end && int64(len(p)) < s.left {
			return 0, ErrTooLittle
		}
		fallthrough
	default:
		n, err = s.write(p, end)
		s.left -= int64(n)
	}
	s.sent(n == len(p) && end && err == nil, n)
	return n, err
}

// write queues p in DATA frames.
func (s *h2Stream) write(p []byte, end bool) (n int, err error) {
	l := s.link
	if s.codec == nil {
		return 0, nil // OnReset comes
	}
	if s.pendingHead != nil || s.blocked != unblocked && len(p) > 0 {
		return 0, nil // only an end without data leaves with the head
	}
	l.codec.Tick(l.conn.Reactor().Now())
	for len(p) > 0 || end {
		room := l.conn.Room() - frameRoom
		if len(p) > 0 && (room <= 0 || l.conn.Congested() || l.queueBlocked > 0 && (n > 0 || !l.inTurn)) {
			s.blockByQueue()
			break
		}
		piece := p[:min(len(p), quantum, max(room, 0))]
		last := end && len(piece) == len(p)
		b, k, err := l.codec.AppendData(l.conn.Reserve(len(piece)+frameRoom), s.codec, piece, last)
		l.conn.Commit(b)
		if err != nil {
			l.sendControlSoon() // a fault that AppendData found is told by the task
			return n, ErrDead
		}
		n, p = n+k, p[k:]
		if k < len(piece) {
			s.block(byWindow)
			break
		}
		if last {
			s.endSent = true
			s.forgetCodec()
			break
		}
	}
	return n, nil
}

// sent follows up on n bytes of data, and on the end. s may be another exchange's after it.
func (s *h2Stream) sent(end bool, n int) {
	if end {
		s.framing = stream.Ended
		s.clearBlock()
		if s.finish() {
			return
		}
	}
	if n > 0 && !s.link.server {
		s.awaits100 = false
	}
	if n > 0 {
		if s.answerPace.Started() {
			s.link.end.onBodySent(s, n)
		}
		s.answerMoves()
	}
	if !s.inCallback && (end || s.blocked != unblocked || s.tunnel == stream.TunnelOpen || s.unhurried) {
		s.link.end.setDeadline(s)
	}
}

// SendTrailers ends the message with h.
func (s *h2Stream) SendTrailers(h *message.Head) error {
	s.mustOwn()
	switch {
	case s.receiver == nil:
		return ErrDead
	case s.framing == stream.NoHead, s.framing == stream.Ended:
		return ErrOrder
	case s.framing == stream.Counted && s.left > 0:
		return ErrTooLittle
	case s.framing != stream.NoBody && s.codec != nil:
		l := s.link
		b, err := l.codec.AppendTrailers(l.conn.Reserve(len(h.Base)+headRoom), s.codec, h)
		l.conn.Commit(b)
		switch {
		case err == h2.ErrListSize && l.server:
			return ErrHeadSize
		case err == h2.ErrListSize:
			s.failLater(HeadSize, err)
			return ErrDead
		case err != nil:
			return ErrDead
		}
		s.endSent = true
		s.forgetCodec()
	}
	s.sent(true, 0)
	return nil
}

// Congested reports whether a window or the connection's queue is full, the connection is not established yet, or
// the head waits. Where the queue is full it blocks s, so that OnSendable comes.
func (s *h2Stream) Congested() bool {
	s.mustOwn()
	switch {
	case s.receiver == nil || s.framing == stream.Ended:
		return false
	case s.blocked != unblocked, s.pendingHead != nil:
		return true
	case s.codec == nil || s.link.connected && !s.link.conn.Congested():
		return false
	}
	s.blockByQueue()
	return true
}
