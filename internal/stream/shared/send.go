package shared

import (
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/message"
)

// SendHead sends a head: of the request or of an answer.
func (s *Stream) SendHead(h *message.Head, end bool) error {
	s.mustOwn()
	switch {
	case s.receiver == nil:
		return stream.ErrDead
	case s.framing != stream.NoHead:
		return stream.ErrOrder
	case s.link.server:
		return s.answer(h, end)
	}
	return s.request(h, end)
}

// queueHead queues h.
func (s *Stream) queueHead(h *message.Head, end bool) error {
	if s.handle == nil {
		return stream.ErrDead
	}
	err := s.link.wire.SendHead(s, h, end)
	if err == nil && end {
		s.endSent = true
		s.forgetHandle()
	}
	return err
}

// answer sends the head of an answer, or an interim one. RFC 9110 §6.4.1 says which have no content.
func (s *Stream) answer(h *message.Head, end bool) error {
	h.Chunked = false
	switch {
	case h.Tunnel:
		return s.openTunnel(h)
	case h.Status < 200:
		s.awaits100 = s.awaits100 && h.Status != 100
		if err := s.queueHead(h, false); err != nil && err != stream.ErrHeadSize {
			return err
		}
		if !s.inCallback {
			s.link.end.SetDeadline(s)
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

// A tunnel is one stream: CONNECT, or extended CONNECT (RFC 8441, RFC 9220), which the codec shows as a request with
// Upgrade. To a receiver both look as over HTTP/1: the request ends with its head, and the tunnel begins with an answer
// whose head has Tunnel. On the wire the stream stays open both ways, and the end of one is the half close.

// openTunnel sends the head of an answer that makes a tunnel of the stream.
func (s *Stream) openTunnel(h *message.Head) error {
	if s.tunnel == stream.NoTunnel {
		return stream.ErrOrder
	}
	if err := s.queueHead(h, false); err != nil {
		return err
	}
	s.tunnel, s.endDelivered, s.framing, s.owed = stream.TunnelOpen, false, stream.UntilClose, 0
	s.setDeadlineIn(0)
	s.link.end.OnTunnel()
	if len(s.earlyBytes) > 0 || s.endReceived {
		s.postpone(toDeliver)
	}
	return nil
}

// request sends the head of a request.
func (s *Stream) request(h *message.Head, end bool) error {
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
	unsettled := h.Upgrade && !s.link.wire.Settled()
	if unsettled || !s.link.connected {
		s.postponeHead(h)
		return nil
	}
	s.send(h, end)
	return nil
}

// postponeHead keeps the head of a request until the connection stands, or the settings of the peer come.
func (s *Stream) postponeHead(h *message.Head) {
	s.pendingHead = copyHead(h)
	s.link.end.SetDeadline(s)
}

// copyHead returns a copy of h that shares nothing with it.
func copyHead(h *message.Head) *message.Head {
	c := *h
	c.Base = append([]byte(nil), h.Base...)
	c.Fields = append([]message.Field(nil), h.Fields...)
	return &c
}

// send queues the head of a request. A failure is told by OnReset.
func (s *Stream) send(h *message.Head, end bool) {
	if s.todo == toFail {
		return
	}
	switch err := s.queueHead(h, end && s.tunnel == stream.NoTunnel); err {
	case nil:
		if !s.inCallback {
			s.link.end.SetDeadline(s)
		}
	case ErrUnsettled:
		s.postponeHead(h)
	case stream.ErrHeadSize:
		s.FailLater(stream.HeadSize, err)
	default:
		s.FailLater(s.link.wire.CodeOf(err), err)
	}
}

// sendPending sends a head that waited, and asks for the body.
func (s *Stream) sendPending() {
	h := s.pendingHead
	if h.Upgrade && !s.link.wire.Settled() {
		return // the connection stands, and the settings have not come
	}
	s.pendingHead = nil
	if s.send(h, s.framing == stream.Ended); s.todo == nothing && s.framing != stream.Ended {
		s.GotRoom()
	}
}

// SendData sends body bytes: as many as the windows, the queue and the turns of other streams allow.
func (s *Stream) SendData(p []byte, end bool) (n int, err error) {
	s.mustOwn()
	if s.receiver == nil {
		return 0, stream.ErrDead
	}
	switch s.framing {
	case stream.NoHead, stream.Ended:
		return 0, stream.ErrOrder
	case stream.NoBody: // to HEAD, or with a status that forbids a body: body bytes are not sent
		n = len(p)
	case stream.Counted:
		if int64(len(p)) > s.left {
			return 0, stream.ErrTooMuch
		}
		if end && int64(len(p)) < s.left {
			return 0, stream.ErrTooLittle
		}
		fallthrough
	default:
		n, err = s.write(p, end)
		s.left -= int64(n)
	}
	s.sent(n == len(p) && end && err == nil, n)
	return n, err
}

// write queues p.
func (s *Stream) write(p []byte, end bool) (n int, err error) {
	if s.handle == nil {
		return 0, nil // OnReset comes
	}
	if s.pendingHead != nil || s.blocked != Unblocked && len(p) > 0 {
		return 0, nil // only an end without data leaves with the head
	}
	n, why, err := s.link.wire.SendData(s, p, end)
	switch {
	case err != nil:
		return n, stream.ErrDead
	case why == ByQueue:
		s.blockByQueue()
	case why == ByWindow:
		s.block(ByWindow)
	case end:
		s.endSent = true
		s.forgetHandle()
	}
	return n, nil
}

// sent follows up on n bytes of data, and on the end. s may be another exchange's after it.
func (s *Stream) sent(end bool, n int) {
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
			s.link.end.OnBodySent(s, n)
		}
		s.answerMoves()
	}
	if !s.inCallback && (end || s.blocked != Unblocked || s.tunnel == stream.TunnelOpen || s.unhurried) {
		s.link.end.SetDeadline(s)
	}
}

// SendTrailers ends the message with h.
func (s *Stream) SendTrailers(h *message.Head) error {
	s.mustOwn()
	switch {
	case s.receiver == nil:
		return stream.ErrDead
	case s.framing == stream.NoHead, s.framing == stream.Ended:
		return stream.ErrOrder
	case s.framing == stream.Counted && s.left > 0:
		return stream.ErrTooLittle
	case s.framing != stream.NoBody && s.handle != nil:
		err := s.link.wire.SendTrailers(s, h)
		switch {
		case err == stream.ErrHeadSize && s.link.server:
			return err
		case err == stream.ErrHeadSize:
			s.FailLater(stream.HeadSize, err)
			return stream.ErrDead
		case err != nil:
			return stream.ErrDead
		}
		s.endSent = true
		s.forgetHandle()
	}
	s.sent(true, 0)
	return nil
}

// Congested reports whether a window or the connection's queue is full, the connection is not established yet, or
// the head waits. Where the queue is full it blocks s, so that OnSendable comes.
func (s *Stream) Congested() bool {
	s.mustOwn()
	switch {
	case s.receiver == nil || s.framing == stream.Ended:
		return false
	case s.blocked != Unblocked, s.pendingHead != nil:
		return true
	case s.handle == nil || s.link.connected && !s.link.wire.Congested():
		return false
	}
	s.blockByQueue()
	return true
}
