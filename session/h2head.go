package session

import (
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
)

// SendHead sends a head: of the request or of an answer.
func (s *h2Stream) SendHead(h *message.Head, end bool) error {
	s.mustOwn()
	switch {
	case s.receiver == nil:
		return ErrDead
	case s.framing != noHead:
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
		s.framing, bare = noBody, true
	case end:
		h.Length, s.framing = 0, noBody
	case h.Length >= 0:
		s.framing, s.left = counted, h.Length
	default:
		s.framing = untilClose
	}
	if err := s.queueHead(h, bare); err != nil {
		s.framing = noHead
		return err
	}
	if end {
		s.sent(true, 0)
		return nil
	}
	s.answerMoves()
	return nil
}

// request sends the head of a request.
func (s *h2Stream) request(h *message.Head, end bool) error {
	h.Chunked, h.Close = false, false // the head said so of the client's connection
	// An extended CONNECT has no content, and stands for GET only.
	h.Upgrade = h.Upgrade && end && h.Verb == message.VerbGet
	s.tunnel = asksForTunnel(h)
	s.verb = h.Verb
	switch {
	case end:
		h.Length, s.framing = 0, ended
	case h.Length >= 0:
		s.framing, s.left = counted, h.Length
	default:
		s.framing = untilClose
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

// send queues the head of a request. A failure is told by OnReset.
func (s *h2Stream) send(h *message.Head, end bool) {
	if s.todo == toFail {
		return
	}
	switch err := s.queueHead(h, end && s.tunnel == noTunnel); err {
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
	if s.send(h, s.framing == ended); s.todo == nothing && s.framing != ended {
		s.unblock()
	}
}

// copyHead returns a copy of h that shares nothing with it.
func copyHead(h *message.Head) *message.Head {
	c := *h
	c.Base = append([]byte(nil), h.Base...)
	c.Fields = append([]message.Field(nil), h.Fields...)
	return &c
}
